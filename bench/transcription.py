"""Accuracy of transcribers: `python -m bench.transcription [--transcriber whisper] …` (part of `make bench-accuracy`).

Word error rate with the field's normalization (that of Whisper's authors), errors of the word starts, calibration of
the word confidences, and speed, on the demo, on real readings in `../shared/data`, and on synthetic podcasts whose
word times are exact.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import jiwer
import numpy as np

from bench.accuracy import REAL, ROOT, decoded, normalised
from speech.engines.protocols import EngineChoice
from speech.engines.registry import load_transcriber
from speech.errors import PodlakeError
from speech.types import Recording, Transcript, Word, mapped_samples


@dataclass(frozen=True)
class Reading:
    """A recording and its words; `starts_ms` where their times are known."""

    group: str
    name: str
    waveform_path: Path
    text: str
    starts_ms: Sequence[tuple[str, int]] = ()


@dataclass
class Measured:
    """What is added up over a group."""

    errors: int = 0
    reference_words: int = 0
    late_ms: list[int] = field(default_factory=list)
    confidences: list[tuple[float, bool]] = field(default_factory=list)
    """Confidence of a word, and whether the word is right."""
    dropped_words: int = 0

    def __str__(self) -> str:
        rate = self.errors / self.reference_words
        edges = "–"
        if self.late_ms:
            errors = np.abs(self.late_ms)
            edges = f"{np.median(errors):.0f} / {np.percentile(errors, 90):.0f} ms"
        return f"{rate:8.1%} {edges:>16} {expected_calibration_error(self.confidences):>12.3f} {self.dropped_words:>8}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transcriber", action="append", help="engine[:model], as in PODLAKE_TRANSCRIBER")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        readings = [*demo(Path(folder)), *real(Path(folder)), *synthetic(Path(folder))]
        for transcriber in options.transcriber or ["whisper"]:
            report(transcriber, options.device, readings)


def report(transcriber: str, device: str, readings: Sequence[Reading]) -> None:
    groups: dict[str, Measured] = {}
    by_name = {reading.name: reading for reading in readings}
    with closing(load_transcriber(EngineChoice.parse(transcriber), device)) as engine:
        began, cpu_began = time.perf_counter(), time.process_time()
        for recording, result in engine.transcribe(Recording(r.name, "", r.waveform_path, "en") for r in readings):
            if isinstance(result, PodlakeError):
                raise result
            reading = by_name[recording.episode_id]
            add(groups.setdefault(reading.group, Measured()), reading, result)
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    audio_s = sum(len(mapped_samples(reading.waveform_path)) for reading in readings) / 16_000
    print(f"\n{transcriber} on {device}: {audio_s / wall_s:.1f} × real time, {audio_s / cpu_s:.1f} × per core")
    print(f"{'':28}{'WER':>8} {'start error':>16} {'calibration':>12} {'dropped':>8}")
    for group, measured in groups.items():
        print(f"{group:28}{measured}")


def add(measured: Measured, reading: Reading, found: Transcript) -> None:
    tokens = [(token, word) for word in found.words for token in normalised(word.text).split()]
    compared = jiwer.process_words(normalised(reading.text), " ".join(token for token, _ in tokens))
    measured.errors += compared.substitutions + compared.deletions + compared.insertions
    measured.reference_words += compared.hits + compared.substitutions + compared.deletions
    measured.dropped_words += found.dropped_words or 0
    right = {
        idx
        for chunk in compared.alignments[0]
        if chunk.type == "equal"
        for idx in range(chunk.hyp_start_idx, chunk.hyp_end_idx)
    }
    measured.confidences += [
        (word.confidence, idx in right) for idx, (_, word) in enumerate(tokens) if word.confidence is not None
    ]
    measured.late_ms += late_ms(reading.starts_ms, found.words)


def late_ms(spoken: Sequence[tuple[str, int]], heard: Sequence[Word]) -> list[int]:
    """How much later each word starts that was heard right."""
    if not spoken:
        return []
    plain = jiwer.Compose([jiwer.RemovePunctuation(), jiwer.ToLowerCase()])
    reference, hypothesis = (plain([word for word, _ in spoken]), plain([word.text for word in heard]))
    compared = jiwer.process_words(" ".join(reference), " ".join(word or "-" for word in hypothesis))
    return [
        heard[chunk.hyp_start_idx + i].start_ms - spoken[chunk.ref_start_idx + i][1]
        for chunk in compared.alignments[0]
        if chunk.type == "equal"
        for i in range(chunk.ref_end_idx - chunk.ref_start_idx)
    ]


def expected_calibration_error(confidences: Iterable[tuple[float, bool]], bins: int = 10) -> float:
    """Mean distance between confidence and accuracy over bins of equal width (Guo et al. 2017); NaN without any."""
    pairs = np.array(list(confidences), dtype=float).reshape(-1, 2)
    if not len(pairs):
        return float("nan")
    which = np.minimum((pairs[:, 0] * bins).astype(int), bins - 1)
    gaps = [abs(np.diff(pairs[which == b].mean(axis=0))[0]) * (which == b).sum() for b in np.unique(which)]
    return float(sum(gaps) / len(pairs))


def demo(folder: Path) -> Iterator[Reading]:
    for path in sorted((ROOT / "demo" / "reference").glob("*.json")):
        truth = json.loads(path.read_text())
        text = " ".join(turn["text"] for turn in truth["turns"])
        yield Reading("demo", path.stem, decoded(ROOT / "demo" / truth["file"], folder), text)


def real(folder: Path) -> Iterator[Reading]:
    """One reader and one text each."""
    manifest = REAL / "manifest.json"
    for entry in json.loads(manifest.read_text()) if manifest.exists() else ():
        if entry["path"].startswith(("asr/", "librispeech/")) and entry["text"]:
            waveform = decoded(REAL / entry["path"], folder)
            yield Reading("real readings", waveform.stem, waveform, entry["text"])


def synthetic(folder: Path) -> Iterator[Reading]:
    """Random sentences by espeak-ng: hard to understand, but with exact times."""
    for path in sorted((ROOT / "tests" / "nemo").glob("pod_*.json")):
        words = [word for turn in json.loads(path.read_text())["turns"] for word in turn["words"]]
        starts_ms = [(word, round(start_s * 1000)) for word, start_s, _ in words]
        text = " ".join(word for word, _ in starts_ms)
        yield Reading("synthetic, exact times", path.stem, decoded(path.with_suffix(".flac"), folder), text, starts_ms)


if __name__ == "__main__":
    main()
