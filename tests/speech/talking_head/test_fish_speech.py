"""The clone of a voice: which part of a recording it is made from, and what a server's answer has to be."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.head_servers import RATE_HZ, Pair, head_servers, talking_picture
from speech.errors import BadOutput, BadReference, HeadServiceFailed
from speech.stretches import RATE_HZ as REFERENCE_RATE_HZ
from speech.talking_head.device import HeadDevice, parse_devices
from speech.talking_head.fish_speech import Reference, joined, pieces, prepare, say
from speech.talking_head.heygem import Patience
from speech.talking_head.reference import best_span, choose_reference, picture_of
from speech.types import Span

TESTS = Path(__file__).parents[2]
FAST = Patience(poll_s=0.001)
PREPARED = Reference("format_me.wav", "what was said")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with head_servers(tmp_path_factory.mktemp("devices"), 1) as (pair,):
        (pair.device.speech_folder / "me.wav").write_bytes(b"RIFF")
        yield pair


def nothing() -> None: ...


def test_a_server_that_loads_is_asked_again_until_it_has_loaded(pair: Pair) -> None:
    pair.speech.cold = 3
    asked: list[int] = []
    found = prepare(pair.device, "me.wav", "en", FAST, lambda: asked.append(1))
    assert (found, len(asked)) == (PREPARED, 3)


def test_a_reference_that_the_server_does_not_find_is_an_error(pair: Pair) -> None:
    for name in ("nothing.wav", str(pair.device.speech_folder / "me.wav")):  # paths of the host are none of its own
        with pytest.raises(HeadServiceFailed, match="cannot prepare the reference"):
            prepare(pair.device, name, "en", FAST, nothing)


def test_a_text_is_said_in_pieces_that_are_joined(pair: Pair) -> None:
    pair.speech.texts.clear()
    text = " ".join(["This sentence has forty-five characters, I say."] * 14)
    sound = say(pair.device, text, PREPARED, nothing)
    assert all(len(piece) <= 300 for piece in pair.speech.texts)
    assert " ".join(pair.speech.texts) == text
    pauses = len(pair.speech.texts) - 1
    spoken = sum(len(piece) * RATE_HZ // 15 for piece in pair.speech.texts)
    assert len(sound.samples) == spoken + pauses * (RATE_HZ * 200 // 1000)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("no_wav", BadOutput, 'answered with no WAV file: {"code": -1'),
        ("tiny", BadOutput, "answered with a WAV file of 44 bytes"),
        ("short", BadOutput, "was not said as it is"),
        ("silence", BadOutput, "gave silence instead of"),
        ("500", HeadServiceFailed, "answered 500: Internal Server Error"),
    ],
)
def test_what_cannot_be_the_speech_is_refused(pair: Pair, fault: str, error: type[Exception], message: str) -> None:
    pair.speech.faults = [fault]
    with pytest.raises(error, match=message):
        say(pair.device, "A sentence that takes three seconds to say, or four.", PREPARED, nothing)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=400), st.integers(5, 80))
def test_pieces_are_the_whole_text_and_short_enough(text: str, longest: int) -> None:
    found = pieces(text, longest)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(0 < len(piece) <= longest for piece in found)


def test_sounds_of_different_rates_are_not_joined(pair: Pair) -> None:
    with pytest.raises(BadOutput, match="sample rates"):
        joined([])


@pytest.mark.parametrize(
    ("spans", "best"),
    [
        ([], None),
        ([(0, 2_000), (3_000, 9_000)], (0, 9_000)),
        ([(0, 1_000), (40_000, 60_000), (62_000, 69_000), (80_000, 82_000)], (40_000, 69_000)),
        ([(5_000, 90_000)], (5_000, 35_000)),
    ],
)
def test_the_stretch_with_the_most_speech_is_taken(spans: list[tuple[int, int]], best: tuple[int, int] | None) -> None:
    assert best_span([Span(*one) for one in spans]) == (Span(*best) if best else None)


def test_the_voice_of_a_video_is_its_reference(tmp_path: Path) -> None:
    video = tmp_path / "me.mp4"
    video.write_bytes(talking_picture((TESTS / "nemo" / "pod_solo.flac").read_bytes()))
    chosen = choose_reference(video)
    assert 3_000 < chosen.speech_ms <= chosen.span.duration_ms <= 30_000
    assert len(chosen.sound.samples) == chosen.span.duration_ms * REFERENCE_RATE_HZ // 1000
    picture = picture_of(video)
    assert (picture.width, picture.height, picture.codec) == (64, 64, "h264")


def test_what_holds_no_speech_or_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadReference, match=r"has 0\.0 s of speech"):
        choose_reference(TESTS / "audio" / "tone.opus")
    with pytest.raises(BadReference, match="has no moving picture"):
        picture_of(TESTS / "nemo" / "pod_solo.flac")
    page = tmp_path / "page.mp4"
    shutil.copyfile(TESTS / "audio" / "page.mp3", page)
    with pytest.raises(BadReference, match="is no video that podlake reads"):
        picture_of(page)


def test_devices_have_names_and_servers_of_their_own() -> None:
    one = HeadDevice("gpu0", "http://a:1", "http://a:2", Path("/v"), Path("/f"))
    assert parse_devices((one,)) == (one,)
    with pytest.raises(ValueError, match="same name"):
        parse_devices((one, one))
    for wrong in ({"name": "gpu 0"}, {"name": ""}, {"video_url": "/srv"}):
        with pytest.raises(ValueError, match=r"no name of a device|no address of a server"):
            HeadDevice(**{**one.__dict__, **wrong})
