"""Dialogues spliced from real readers in `../shared/data`: exact turns, 2 to 10 speakers, 7 to 30 minutes.

    python -m bench.spliced FOLDER

writes a WAV, an RTTM and a text (`speaker<TAB>words`) for each plan. The same plan always gives the same samples. A whole
utterance is speech in the reference, its pauses too.
"""

from __future__ import annotations

import json
import sys
import wave
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from bench.channels import CHANNELS
from speech.decoding import decode_to_wav
from speech.types import SAMPLE_RATE_HZ, Segment, mapped_samples

REAL = Path(__file__).parents[2] / "shared" / "data"
PER_MS = SAMPLE_RATE_HZ // 1000


@dataclass(frozen=True)
class Plan:
    """What a dialogue is like. Gaps between turns are drawn from a range; a negative one is an overlap."""

    readers: int
    minutes: int
    gap_ms: tuple[int, int] = (100, 900)
    fragment_ms: tuple[int, int] | None = None
    """Turns are fragments of utterances of this length; None: whole utterances."""
    transcribed: bool = False
    """Only utterances whose words are known."""
    channel: str | None = None
    """One of `CHANNELS`, the same for all readers."""
    draw: int = 0
    """Another draw of turns, without so many of the first readers."""
    apart: int = 1
    """From each reader to the next, in the list of all."""

    @property
    def name(self) -> str:
        kinds = ("quick turns" if self.fragment_ms else "transcribed" if self.transcribed else None, self.channel)
        draw = f"draw {self.draw}" if self.draw else None
        apart = f"{self.apart} apart" if self.apart > 1 else None
        return ", ".join(filter(None, (f"{self.readers} readers", f"{self.minutes} min", *kinds, draw, apart)))


@dataclass(frozen=True)
class Dialogue:
    """A spliced recording and its reference."""

    samples: np.ndarray
    """int16, 16 kHz, shape (n,)."""
    segments: tuple[Segment, ...]
    texts: tuple[tuple[str, str], ...]
    """(speaker, words) per turn; empty unless all are known."""


@dataclass(frozen=True)
class Utterance:
    """What a reader says in one file."""

    path: Path
    text: str
    """Empty where it is not known."""


DIALOGUES = tuple(Plan(readers, minutes) for readers, minutes in
    ((2, 7), (3, 7), (4, 8), (5, 10), (6, 10), (7, 12), (8, 12), (10, 15), (2, 30))
)  # fmt: skip
QUICK = tuple(Plan(readers, 7, (-500, 100), (800, 3_500)) for readers in (2, 3, 4))
"""Most turns overlap the one before."""
TRANSCRIBED = Plan(5, 7, transcribed=True)
CALLS = tuple(Plan(2, 5, (-300, 700), channel="telephone", draw=draw) for draw in (1, 2, 3, 4, 5, 6, 8))
ONE_ROOM = tuple(Plan(readers, minutes, channel="room", draw=1) for readers, minutes in ((3, 7), (5, 8), (9, 12)))
TEST_CALLS = tuple(
    Plan(2, 5, (-300, 700), channel="telephone", draw=draw, apart=apart) for draw, apart in ((0, 3), (1, 3), (0, 4))
)
"""Other pairs of the five readers with ten recordings each."""
TEST_ROOM = tuple(Plan(readers, minutes, channel="room", draw=2) for readers, minutes in ((3, 7), (5, 8), (8, 12)))


def splice(plan: Plan) -> Dialogue:
    """Turns of the plan's readers, never two of one reader in succession, at levels that differ by up to 6 dB."""
    rng = np.random.default_rng([plan.readers, plan.minutes, plan.fragment_ms is not None, *[plan.draw][: plan.draw]])
    cast = readers(transcribed=plan.transcribed)
    names = list(cast)[plan.draw :: plan.apart][: plan.readers]
    turns = {name: _turns(cast[name], plan, rng) for name in names}
    gains = dict(zip(names, 10 ** rng.uniform(-0.3, 0, len(names)), strict=True))
    samples = np.zeros(plan.minutes * 60 * SAMPLE_RATE_HZ, np.float32)
    segments, texts, now_ms, last = [], [], 500, ""
    while True:
        last = str(rng.choice([name for name in names if name != last]))
        sound, text = next(turns[last])
        start_ms = max(0, now_ms + int(rng.integers(*plan.gap_ms)))
        end_ms = start_ms + len(sound) // PER_MS
        if end_ms > plan.minutes * 60_000:
            break
        samples[start_ms * PER_MS : end_ms * PER_MS] += gains[last] * sound[: (end_ms - start_ms) * PER_MS]
        segments.append(Segment(last, start_ms, end_ms))
        texts.append((last, text))
        now_ms = end_ms
    if plan.channel:
        samples = CHANNELS[plan.channel](samples, rng)
    known = tuple(texts) if all(text for _, text in texts) else ()
    return Dialogue(samples.clip(-32_768, 32_767).astype(np.int16), tuple(segments), known)


def _turns(utterances: Sequence[Utterance], plan: Plan, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, str]]:
    """What one reader says, turn by turn, in another order in every round; all utterances equally loud."""
    while True:
        for i in rng.permutation(len(utterances)):
            sound, text = _sound(utterances[i].path), utterances[i].text
            if plan.fragment_ms is None:
                yield sound, text
                continue
            at = 0
            while at + plan.fragment_ms[0] * PER_MS <= len(sound):
                length = int(rng.integers(*plan.fragment_ms)) * PER_MS
                yield _faded(sound[at : at + length]), ""
                at += length


@cache
def readers(*, transcribed: bool) -> Mapping[str, list[Utterance]]:
    """Every reader's utterances, those with the most files first."""
    texts = {entry["path"]: entry["text"] for entry in json.loads((REAL / "manifest.json").read_text())}
    found: dict[str, list[Utterance]] = {}
    for path in sorted([*(REAL / "librispeech").glob("*.flac"), *(REAL / "asr").iterdir()]):
        text = texts.get(str(path.relative_to(REAL))) or ""
        if text or not transcribed:
            reader = path.stem.removeprefix("libri-").partition("-")[0]
            found.setdefault(reader, []).append(Utterance(path, text))
    return dict(sorted(found.items(), key=lambda one: (-len(one[1]), one[0])))


@cache
def _sound(path: Path) -> np.ndarray:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        decode_to_wav(path, Path(folder) / "decoded.wav")
        sound = np.array(mapped_samples(Path(folder) / "decoded.wav"), np.float32)
    return sound * (2_500 / np.sqrt(np.square(sound).mean()))


def _faded(sound: np.ndarray) -> np.ndarray:
    """Without clicks at the cuts."""
    ramp = np.minimum(np.arange(len(sound)), np.arange(len(sound))[::-1]) / (10 * PER_MS)
    return sound * ramp.clip(max=1).astype(np.float32)


def write(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", "not compressed"))
        wav.writeframes(samples.tobytes())


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for plan in (*DIALOGUES, *QUICK, TRANSCRIBED, *CALLS, *ONE_ROOM, *TEST_CALLS, *TEST_ROOM):
        dialogue, name = splice(plan), plan.name.replace(", ", "-").replace(" ", "-")
        write(folder / f"{name}.wav", dialogue.samples)
        rttm = [
            f"SPEAKER {name} 1 {s.start_ms / 1000:.3f} {(s.end_ms - s.start_ms) / 1000:.3f} <NA> <NA> {s.speaker} <NA> <NA>"
            for s in dialogue.segments
        ]
        (folder / f"{name}.rttm").write_text("\n".join(rttm) + "\n")
        (folder / f"{name}.txt").write_text("".join(f"{speaker}\t{text}\n" for speaker, text in dialogue.texts))
        print(f"{name}: {len(dialogue.segments)} turns")


if __name__ == "__main__":
    main()
