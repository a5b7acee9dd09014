"""Tables of the accuracy benchmark on results that are known, and dialogues that are always the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("whisper_normalizer", reason="needs the extra `dev`")

from bench import spliced
from bench.accuracy import diarization_table, results, speaker_word_table, transcription_tables
from bench.channels import CHANNELS
from bench.recordings import Case
from speech.engines.protocols import EngineSpec
from speech.types import Diarization, Recording, Segment, Transcript, Word

ANN, BOB = Segment("ann", 0, 10_000), Segment("bob", 10_000, 20_000)
CASES = [
    Case("calls", "one", Path("one.wav"), (ANN, BOB), (("ann", "good morning"), ("bob", "hello"))),
    Case("calls", "two", Path("two.wav"), (ANN,)),
]
SPOKEN = {
    "one": Diarization((Segment("S1", 0, 10_500), Segment("S2", 10_500, 20_000))),
    "two": Diarization((Segment("S1", 0, 5_000), Segment("S2", 5_000, 10_000))),
}
WORDS = (Word("Good", 0, 500, 0.9), Word("mourning,", 500, 900, 0.3), Word("hello.", 11_000, 12_000, 0.8))


def test_errors_of_diarizers_are_pooled_by_data_set() -> None:
    *_, one, two, pooled = diarization_table("d", CASES, SPOKEN, each=True)
    assert one == "| · one | 1.3% | 2.5% | 1.3% | 0.0% / 0.0% / 1.3% | 1 of 1 | 0.00 |"
    assert two == "| · two | 50.0% | 50.0% | 50.0% | 0.0% / 0.0% / 50.0% | 0 of 1 | 1.00 |"
    assert pooled == "| calls | 17.5% | 18.3% | 17.5% | 0.0% / 0.0% / 17.5% | 1 of 2 | 0.50 |"


def test_words_their_confidences_and_their_speakers_are_compared() -> None:
    found = {"one": Transcript(WORDS, 10_000, dropped_words=2)}
    table = list(transcription_tables("t", CASES, found, each=False))
    assert table[2] == "| calls | 33.3% | – | 0.200 | 2 |"
    assert list(speaker_word_table(CASES, {"d": SPOKEN}, {"t": found}))[-1] == "| calls | d | t | 33.3% |"


@pytest.mark.skipif(not spliced.REAL.exists(), reason="the shared recordings are not here")
def test_a_dialogue_is_spliced_from_its_plan_alone() -> None:
    plan = spliced.Plan(3, 1, (-500, 100), (800, 3_500))
    one, other = spliced.splice(plan), spliced.splice(plan)
    assert one.segments == other.segments
    assert np.array_equal(one.samples, other.samples)
    assert len(one.samples) == 60 * 16_000
    assert {segment.speaker for segment in one.segments} == {"1688", "2033", "2609"}
    assert all(800 <= segment.end_ms - segment.start_ms < 3_500 for segment in one.segments)
    assert all(a.speaker != b.speaker for a, b in zip(one.segments, one.segments[1:], strict=False))


def test_an_evaluation_that_was_ended_continues_where_it_was(tmp_path: Path) -> None:
    cases = [Case("calls", name, tmp_path / f"{name}.wav", (ANN,)) for name in ("one", "two")]
    for case in cases:
        spliced.write(case.waveform_path, np.full(16_000, len(case.name) + ord(case.name[0]), np.int16))
    asked: list[str] = []

    def work(recordings: Iterable[Recording], *, stop_after: int) -> Iterator[tuple[Recording, Diarization]]:
        for recording in recordings:
            asked.append(recording.episode_id)
            yield recording, Diarization((Segment("S1", 0, 900, 0.5),), embeddings={"S1": np.ones(2, np.float32)})
            if len(asked) == stop_after:
                raise KeyboardInterrupt

    def found(revision: str, stop_after: int = 0) -> dict[str, Diarization]:
        spec = EngineSpec("d", "model", revision, {})
        return results("diarizer", spec, lambda some: work(some, stop_after=stop_after), cases, tmp_path / "kept")

    with pytest.raises(KeyboardInterrupt):
        found("first", stop_after=1)
    assert {name: one.segments for name, one in found("first").items()} == {
        name: (Segment("S1", 0, 900, 0.5),) for name in ("one", "two")
    }
    assert asked == ["one", "two"]
    spliced.write(cases[0].waveform_path, np.zeros(16_000, np.int16))
    found("first")
    assert asked[2:] == ["one"], "the samples have changed"
    found("second")
    assert asked[3:] == ["one", "two"], "the engine has changed"


def test_channels_keep_the_length_and_the_words_of_a_recording() -> None:
    rng = np.random.default_rng(0)
    envelope = (np.arange(32_000) // 4_000 % 2).astype(np.float32)
    spoken = 8_000 * envelope * np.sin(2 * np.pi * 1_000 * np.arange(32_000) / 16_000)
    for channel in CHANNELS.values():
        heard = channel(spoken, rng)
        assert len(heard) == len(spoken)
        loud, was_loud = (np.abs(one).reshape(-1, 1_000).mean(axis=1) for one in (heard, spoken))
        assert np.corrcoef(loud, was_loud)[0, 1] > 0.8
    above = CHANNELS["telephone"](8_000 * np.sin(2 * np.pi * 6_000 * np.arange(32_000) / 16_000), rng)
    assert np.abs(above[1_000:-1_000]).max() < 200, "a telephone has nothing above 4 kHz"
