"""Accuracy of the embedded engines: `python -m bench.accuracy` (`make bench-accuracy`).

Word error rate, diarization error rate (0.25 s collar, overlap scored) and cpWER on the demo's
episodes; the same measures, as far as there are references, on real speech in `../shared/data`.
"""

from __future__ import annotations

import json
import tempfile
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from operator import add
from pathlib import Path
from typing import TypeVar

import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from bench.error_rates import DiarizationErrors, WordErrors, cpwer, der, wer
from speech.assignment import assign_speakers
from speech.decoding import decode_to_wav
from speech.engines.protocols import EngineChoice
from speech.engines.registry import load_diarizer, load_transcriber
from speech.errors import PodlakeError
from speech.types import Diarization, Recording, Segment, Transcript, mapped_samples

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data"
COLLAR_MS = 250
normalised = EnglishTextNormalizer()
"""The normalization that published word error rates use: spelling, numbers, contractions."""

Outcome = TypeVar("Outcome", Diarization, Transcript)
Errors = TypeVar("Errors", WordErrors, DiarizationErrors)


@dataclass(frozen=True)
class Case:
    """A recording and what is known to be true of it."""

    group: str
    name: str
    waveform_path: Path
    segments: tuple[Segment, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()
    """(speaker, text) in order; empty where nobody wrote the words down."""


@dataclass(frozen=True)
class Result:
    """What the engines made of a case; None where there is no reference to compare with."""

    case: Case
    words: WordErrors | None
    speech: DiarizationErrors | None
    speaker_words: WordErrors | None
    speakers: str
    """Found/true."""

    @property
    def speakers_right(self) -> bool:
        found, _, true = self.speakers.partition("/")
        return found == true


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cases = [*demo(Path(folder)), *readings(Path(folder)), *dialogues(Path(folder)), *meetings(Path(folder))]
        results = list(measured(cases))
    for group in dict.fromkeys(case.group for case in cases):
        print(f"\n{group}")
        print(f"{'':42}{'WER':>9}{'DER':>9}{'miss / false / confused':>24}{'cpWER':>9}{'speakers':>10}")
        members = [result for result in results if result.case.group == group]
        for result in members:
            print(line(result.case.name, result.words, result.speech, result.speaker_words, result.speakers))
        right = sum(result.speakers_right for result in members)
        print(
            line(
                "pooled",
                pooled(r.words for r in members),
                pooled(r.speech for r in members),
                pooled(r.speaker_words for r in members),
                f"{right} of {len(members)}" if members[0].speech else "",
            )
        )


def demo(folder: Path) -> Iterator[Case]:
    """The demo's episodes: synthetic voices, exact turns."""
    for path in sorted((ROOT / "demo" / "reference").glob("*.json")):
        reference = json.loads(path.read_text())
        segments = tuple(Segment(t["speaker"], t["start_ms"], t["end_ms"]) for t in reference["turns"])
        texts = tuple((t["speaker"], t["text"]) for t in reference["turns"])
        waveform = decoded(ROOT / "demo" / reference["file"], folder)
        yield Case("demo", path.stem, waveform, segments, texts)


def readings(folder: Path) -> Iterator[Case]:
    """One reader and one text each."""
    if REAL.exists():
        for entry in json.loads((REAL / "manifest.json").read_text()):
            if entry["path"].startswith("asr/") and entry["text"]:
                waveform = decoded(REAL / entry["path"], folder)
                yield Case("real readings", waveform.stem, waveform, texts=(("reader", entry["text"]),))


def dialogues(folder: Path) -> Iterator[Case]:
    """One to five LibriSpeech readers taking turns, every utterance half a second after the one before.

    A whole utterance is speech in this reference: pauses in it count as missed.
    """
    utterances: dict[str, list[Path]] = {}
    for path in sorted((REAL / "librispeech").glob("*.flac")):
        utterances.setdefault(path.name.partition("-")[0], []).append(path)
    for n in range(1, len(utterances) + 1):
        for readers in list(combinations(utterances, n))[:3]:
            turns = [(r, decoded(utterances[r][i], folder)) for i in range(5) for r in readers]
            yield dialogue(folder / f"{'-'.join(readers)}.wav", turns)


def dialogue(path: Path, turns: list[tuple[str, Path]]) -> Case:
    pause_ms = 500
    sound, segments, now_ms = [np.zeros(pause_ms * 16, np.int16)], [], pause_ms
    for reader, waveform in turns:
        samples = mapped_samples(waveform)
        segments.append(Segment(reader, now_ms, now_ms + len(samples) // 16))
        sound += [samples[: len(samples) // 16 * 16], sound[0]]
        now_ms = segments[-1].end_ms + pause_ms
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        wav.writeframes(np.concatenate(sound).tobytes())
    return Case("real readers in dialogue", path.stem, path, tuple(segments))


def meetings(folder: Path) -> Iterator[Case]:
    """AMI, 30 s each: far microphones, overlap, up to five people."""
    truth: dict[str, list[Segment]] = {}
    for row in (row for rttm in sorted((REAL / "diar").glob("*.rttm")) for row in rttm.read_text().splitlines()):
        _, recording, _, start_s, length_s, _, _, speaker, *_ = row.split()
        start_ms, length_ms = round(float(start_s) * 1000), round(float(length_s) * 1000)
        truth.setdefault(recording, []).append(Segment(speaker, start_ms, start_ms + length_ms))
    for path in sorted((REAL / "diar").glob("*.wav")):
        yield Case("real meetings", path.stem, decoded(path, folder), tuple(truth[path.stem]))


def measured(cases: list[Case]) -> Iterator[Result]:
    diarizer = load_diarizer(EngineChoice("campplus"), "cpu")
    transcriber = load_transcriber(EngineChoice("whisper"), "cpu")
    spoken = by_name(diarizer.diarize(recording_of(case) for case in cases if case.segments))
    written = by_name(transcriber.transcribe(recording_of(case) for case in cases if case.texts))
    diarizer.close()
    transcriber.close()
    for case in cases:
        yield result(case, spoken.get(case.name), written.get(case.name))


def result(case: Case, spoken: Diarization | None, written: Transcript | None) -> Result:
    words = speech = speaker_words = None
    speakers = ""
    if written:
        words = wer(
            normalised(" ".join(text for _, text in case.texts)), normalised(" ".join(w.text for w in written.words))
        )
    if spoken:
        speech = der(case.segments, spoken.segments, COLLAR_MS)
        speakers = f"{len({s.speaker for s in spoken.segments})}/{len({s.speaker for s in case.segments})}"
    if spoken and written:
        assigned = assign_speakers(written.words, spoken.segments)
        heard = per_speaker((str(a.speaker), w.text) for a, w in zip(assigned, written.words, strict=True))
        speaker_words = cpwer(per_speaker(case.texts), heard)
    return Result(case, words, speech, speaker_words, speakers)


def by_name(outcomes: Iterable[tuple[Recording, Outcome | PodlakeError]]) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for recording, outcome in outcomes:
        if isinstance(outcome, PodlakeError):
            raise outcome
        found[recording.episode_id] = outcome
    return found


def per_speaker(said: Iterable[tuple[str, str]]) -> dict[str, str]:
    texts: dict[str, list[str]] = {}
    for speaker, text in said:
        texts.setdefault(speaker, []).append(text)
    return {speaker: normalised(" ".join(parts)) for speaker, parts in texts.items()}


def recording_of(case: Case) -> Recording:
    return Recording(case.name, "", case.waveform_path, "en")


def decoded(path: Path, folder: Path) -> Path:
    target = folder / f"{path.stem}.wav"
    if not target.exists():
        decode_to_wav(path, target)
    return target


def pooled(errors: Iterable[Errors | None]) -> Errors | None:
    known = [e for e in errors if e is not None]
    return reduce(add, known) if known else None


def line(
    name: str,
    words: WordErrors | None,
    speech: DiarizationErrors | None,
    speaker_words: WordErrors | None,
    speakers: str,
) -> str:
    kinds = "–"
    if speech:
        parts = (speech.missed_ms, speech.false_alarm_ms, speech.confused_ms)
        kinds = " / ".join(f"{part / speech.reference_ms:.1%}" for part in parts)
    rates = [f"{e.rate:.1%}" if e else "–" for e in (words, speech, speaker_words)]
    return f"{name:42}{rates[0]:>9}{rates[1]:>9}{kinds:>24}{rates[2]:>9}{speakers:>10}"


if __name__ == "__main__":
    main()
