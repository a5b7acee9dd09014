"""Recordings with references, by data set: the demo, synthetic podcasts, and real speech in `../shared/data`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import spliced
from bench.spliced import REAL, Plan
from speech.decoding import decode_to_wav
from speech.types import Segment

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Case:
    """A recording and what is known of it."""

    data_set: str
    name: str
    waveform_path: Path
    segments: tuple[Segment, ...] = ()
    """Empty where the turns are not known, or one reader says all."""
    texts: tuple[tuple[str, str], ...] = ()
    """(speaker, text) in order; empty where the words are not known."""
    starts_ms: tuple[tuple[str, int], ...] = ()
    """(word, start) where word times are exact."""


def demo(folder: Path) -> Iterator[Case]:
    """The demo's episodes: synthetic voices, exact turns."""
    for path in sorted((ROOT / "demo" / "reference").glob("*.json")):
        truth = json.loads(path.read_text())
        segments = tuple(Segment(turn["speaker"], turn["start_ms"], turn["end_ms"]) for turn in truth["turns"])
        texts = tuple((turn["speaker"], turn["text"]) for turn in truth["turns"])
        yield Case("demo", path.stem, _decoded(ROOT / "demo" / truth["file"], folder), segments, texts)


def synthetic(folder: Path) -> Iterator[Case]:
    """Random sentences by espeak-ng: hard to understand, but with exact times."""
    for path in sorted((ROOT / "tests" / "nemo").glob("pod_*.json")):
        words = [word for turn in json.loads(path.read_text())["turns"] for word in turn["words"]]
        starts_ms = tuple((word, round(start_s * 1000)) for word, start_s, _ in words)
        texts = (("", " ".join(word for word, _ in starts_ms)),)
        waveform = _decoded(path.with_suffix(".flac"), folder)
        yield Case("synthetic", path.stem, waveform, texts=texts, starts_ms=starts_ms)


def readings(folder: Path) -> Iterator[Case]:
    """One reader and one text each."""
    for reader, utterances in spliced.readers(transcribed=True).items() if REAL.exists() else ():
        for utterance in utterances:
            waveform = _decoded(utterance.path, folder)
            yield Case("readings", waveform.stem, waveform, texts=((reader, utterance.text),))


def meetings(folder: Path) -> Iterator[Case]:
    """AMI, 30 to 60 s each: far microphones, overlap, up to five people."""
    truth: dict[str, list[Segment]] = {}
    for row in (row for rttm in sorted((REAL / "diar").glob("*.rttm")) for row in rttm.read_text().splitlines()):
        _, recording, _, start_s, length_s, _, _, speaker, *_ = row.split()
        start_ms, length_ms = round(float(start_s) * 1000), round(float(length_s) * 1000)
        truth.setdefault(recording, []).append(Segment(speaker, start_ms, start_ms + length_ms))
    for path in sorted((REAL / "diar").glob("*.wav")):
        yield Case("meetings", path.stem, _decoded(path, folder), tuple(truth[path.stem]))


def dialogues(folder: Path) -> Iterator[Case]:
    """Real readers, spliced (`bench.spliced`); one of the dialogues has a reference of its words."""
    for plan in (*spliced.DIALOGUES, spliced.TRANSCRIBED) if REAL.exists() else ():
        yield _dialogue("dialogues", plan, folder)


def quick_turns(folder: Path) -> Iterator[Case]:
    """The same with quick overlapping turns."""
    for plan in spliced.QUICK if REAL.exists() else ():
        yield _dialogue("quick turns", plan, folder)


def calls(folder: Path) -> Iterator[Case]:
    """Two readers on a telephone line."""
    for plan in spliced.CALLS if REAL.exists() else ():
        yield _dialogue("calls", plan, folder)


def one_room(folder: Path) -> Iterator[Case]:
    """Readers through one microphone in a room, with noise."""
    for plan in spliced.ONE_ROOM if REAL.exists() else ():
        yield _dialogue("one room", plan, folder)


def test_calls(folder: Path) -> Iterator[Case]:
    """Calls of other pairs."""
    for plan in spliced.TEST_CALLS if REAL.exists() else ():
        yield _dialogue("test calls", plan, folder)


def test_room(folder: Path) -> Iterator[Case]:
    """Other groups of readers in another room."""
    for plan in spliced.TEST_ROOM if REAL.exists() else ():
        yield _dialogue("test room", plan, folder)


DATA_SETS: Mapping[str, Callable[[Path], Iterator[Case]]] = {
    "demo": demo,
    "synthetic": synthetic,
    "readings": readings,
    "meetings": meetings,
    "dialogues": dialogues,
    "quick turns": quick_turns,
    "calls": calls,
    "one room": one_room,
    "test calls": test_calls,
    "test room": test_room,
}
"""No threshold is chosen on the last two; on the others some were. Each writes decoded waveforms to a folder. Those of real speech are empty without `../shared/data`."""


def _dialogue(data_set: str, plan: Plan, folder: Path) -> Case:
    made = spliced.splice(plan)
    spliced.write(folder / f"{plan.name}.wav", made.samples)
    return Case(data_set, plan.name, folder / f"{plan.name}.wav", made.segments, made.texts)


def _decoded(path: Path, folder: Path) -> Path:
    target = folder / f"{path.stem}.wav"
    if not target.exists():
        decode_to_wav(path, target)
    return target
