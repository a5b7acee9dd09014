"""Loudness, peaks and files of a podcast, against pyloudnorm and FFmpeg."""

from __future__ import annotations

import io
import itertools

import av
import numpy as np
import pyloudnorm
import pytest

from speech.engines.line_synthesizer import Sound
from speech.errors import BadOutput
from speech.formats.chapters import Chapter, read_chapters, write_chapters
from speech.mastering import (
    LEAD_MS,
    OWN_PAUSE_MS,
    PAUSE_MS,
    SAMPLE_RATE_HZ,
    Spoken,
    assemble,
    closing_silence,
    limited,
    loudness_lufs,
    mastered,
    true_peak_dbtp,
)
from speech.podcast_files import encode_podcast, webm_clusters
from speech.spoken_turns import SpokenTurn, chapters_of, passage
from speech.webm import webm_header


def voice(seconds: float, level: float, rate_hz: int, pitch_hz: int = 140) -> Sound:
    """Pulses of a voice with pauses: a high peak for its loudness, as speech has."""
    at = np.arange(round(seconds * rate_hz))
    harmonics = sum(np.cos(2 * np.pi * pitch_hz * n * at / rate_hz) / n for n in range(1, 20))
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * at / rate_hz)
    return Sound((np.asarray(harmonics) / 4 * syllables * level * 32_000).astype(np.int16), rate_hz)


@pytest.fixture(scope="module")
def talk() -> tuple[tuple[str, Sound], ...]:
    return ("S1", voice(3, 0.9, 22_050)), ("S2", voice(4, 0.05, 24_000, 210)), ("S2", voice(2, 0.3, 16_000))


def test_turns_are_where_the_pauses_leave_them(talk: tuple[tuple[str, Sound], ...]) -> None:
    made = assemble(talk)
    assert [(span.start_ms, span.end_ms) for span in made.turns] == [
        (LEAD_MS, LEAD_MS + 3_000),
        (LEAD_MS + 3_000 + PAUSE_MS, LEAD_MS + 7_000 + PAUSE_MS),
        (LEAD_MS + 7_000 + PAUSE_MS + OWN_PAUSE_MS, LEAD_MS + 9_000 + PAUSE_MS + OWN_PAUSE_MS),
    ]
    assert len(made.samples) == (made.turns[-1].end_ms + LEAD_MS) * SAMPLE_RATE_HZ // 1000


def test_a_soft_voice_is_as_loud_as_a_loud_one(talk: tuple[tuple[str, Sound], ...]) -> None:
    made = assemble(talk)
    for span in made.turns:
        part = made.samples[span.start_ms * 48 : span.end_ms * 48]
        assert loudness_lufs(part, SAMPLE_RATE_HZ) == pytest.approx(-19, abs=0.3)


def test_loudness_is_that_of_pyloudnorm(talk: tuple[tuple[str, Sound], ...]) -> None:
    samples = assemble(talk).samples
    wanted = pyloudnorm.Meter(SAMPLE_RATE_HZ).integrated_loudness(samples.astype(np.float64))
    assert loudness_lufs(samples, SAMPLE_RATE_HZ) == pytest.approx(wanted, abs=0.1)


def test_a_true_peak_lies_between_samples() -> None:
    at = np.arange(48_000)
    tone = np.sin(2 * np.pi * 12_000 * at / 48_000 + np.pi / 4)  # its samples reach -3 dB only
    assert 20 * np.log10(np.abs(tone).max()) == pytest.approx(-3.01, abs=0.01)
    assert true_peak_dbtp(tone) == pytest.approx(0, abs=0.2)
    assert true_peak_dbtp(np.zeros(1000)) == -np.inf


def test_the_limiter_keeps_what_is_below_its_ceiling() -> None:
    quiet = np.full(48_000, 0.1, np.float32)
    assert limited(quiet, -1.0) is quiet
    loud = quiet.copy()
    loud[24_000:24_010] = 1.0
    done = limited(loud, -6.0)
    assert true_peak_dbtp(done) <= -6.0
    np.testing.assert_array_equal(done[:23_000], quiet[:23_000])


def test_silence_is_no_podcast() -> None:
    with pytest.raises(BadOutput, match="Turn 0 is silent"):
        assemble([("S1", Sound(np.zeros(22_050, np.int16), 22_050))])
    with pytest.raises(BadOutput, match="silent"):
        mastered(np.zeros(48_000, np.float32))


def test_both_files_have_loudness_peak_tags_and_chapters(talk: tuple[tuple[str, Sound], ...]) -> None:
    samples = assemble(talk).samples
    chapters = [Chapter(0, 4_000, "Ångström", None, None), Chapter(4_000, 10_000, "Two", None, None)]
    made = encode_podcast(samples, {"title": "A talk – première", "artist": "podlake"}, chapters)
    assert made.loudness_lufs == pytest.approx(-19, abs=0.3)
    assert made.true_peak_dbtp <= -1
    for content, codec in ((made.mp3, "mp3float"), (made.opus, "opus")):
        with av.open(io.BytesIO(content)) as file:
            stream = file.streams.audio[0]
            assert stream.codec_context.name.startswith(codec[:3]) or stream.codec_context.name == "libopus"
            assert (file.metadata | stream.metadata)["title"] == "A talk – première"
            assert [one["metadata"]["title"] for one in file.chapters()] == ["Ångström", "Two"]
            decoded = np.concatenate([frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)])
        assert true_peak_dbtp(decoded) <= -1
        measured = pyloudnorm.Meter(48_000).integrated_loudness(decoded.astype(np.float64))
        assert measured == pytest.approx(-19, abs=0.5)
    assert made.duration_ms == round(len(samples) / 48)


def test_a_stream_is_clusters_of_half_a_second(talk: tuple[tuple[str, Sound], ...]) -> None:
    samples = assemble(talk).samples
    clusters = webm_clusters(encode_podcast(samples, {"title": "A"}, []).opus)
    assert [one.start_ms for one in clusters] == [500 * index for index in range(len(clusters))]
    with av.open(io.BytesIO(webm_header() + b"".join(one.content for one in clusters))) as file:
        assert sum(frame.samples for frame in file.decode(audio=0)) == pytest.approx(len(samples), abs=1_000)
    late = webm_header() + b"".join(one.content for one in clusters[4:])  # a listener who joins late
    with av.open(io.BytesIO(late)) as file:
        first = next(iter(file.decode(audio=0)))
        assert float(first.pts * first.time_base) == pytest.approx(2, abs=0.03)


def test_turns_that_come_one_by_one_make_the_same_podcast(talk: tuple[tuple[str, Sound], ...]) -> None:
    made, spoken = assemble(talk), Spoken()
    parts, spans = zip(*(spoken.append(speaker, sound) for speaker, sound in talk), strict=True)
    assert spans == made.turns
    assert np.array_equal(np.concatenate([*parts, closing_silence()]), made.samples)


def test_chapters_are_turns_and_at_most_about_twenty() -> None:
    turns = [SpokenTurn("S1", 1_000 * n, 1_000 * n + 900, f"Turn {n} says something") for n in range(100)]
    few = chapters_of(turns[:4], 4_000)
    assert [(one.start_ms, one.end_ms, one.title) for one in few][:2] == [
        (0, 1_000, "S1: Turn 0 says something"), (1_000, 2_000, "S1: Turn 1 says something")
    ]  # fmt: skip
    assert few[-1].end_ms == 4_000
    assert len(chapters_of(turns, 100_000)) == 20
    assert read_chapters(write_chapters(few).encode()) == few


def test_words_of_a_turn_fill_its_time() -> None:
    words = passage(SpokenTurn("S1", 1_000, 2_000, "One <|sigh|> two three")).words
    assert [word.text for word in words] == ["One", "two", "three"]
    assert (words[0].start_ms, words[-1].end_ms) == (1_000, 2_000)
    assert all(one.end_ms == two.start_ms for one, two in itertools.pairwise(words))
    assert all(word.times_estimated for word in words)
