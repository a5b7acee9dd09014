"""Accuracy of engines per data set: `python -m bench.accuracy` (`make bench-accuracy`).

    python -m bench.accuracy --diarizer campplus --diarizer nemo:/models/sortformer.nemo --transcriber whisper
    python -m bench.accuracy --data demo --data meetings --each

continues where an earlier run was ended, and prints Markdown tables: DER with and without collar and overlap, speaker counts, WER with the field's normalization,
errors of word starts, calibration of the word confidences, and cpWER of each pair of engines.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bench.error_rates import DiarizationErrors, WordErrors, cpwer, der
from bench.kept_results import keep, kept
from bench.recordings import DATA_SETS, ROOT, Case
from bench.transcription import TranscriptErrors, expected_calibration_error, normalised, reliability
from speech.assignment import assign_speakers
from speech.engines.protocols import EngineChoice, EngineSpec, Slot
from speech.engines.registry import describe_diarizer, describe_transcriber, load_diarizer, load_transcriber
from speech.errors import PodlakeError
from speech.types import Diarization, Recording, Transcript

COLLAR_MS = 250
Outcome = TypeVar("Outcome", Diarization, Transcript)
Errors = TypeVar("Errors", WordErrors, DiarizationErrors)


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        cases = [case for name in options.data or DATA_SETS for case in DATA_SETS[name](Path(folder))]
        spoken = {name: diarized(name, options, cases) for name in options.diarizer or ["campplus"]}
        written = {name: transcribed(name, options, cases) for name in options.transcriber or ["whisper"]}
    for diarizer, found in spoken.items():
        print("\n".join(["", *diarization_table(diarizer, cases, found, each=options.each)]))
    for transcriber, texts in written.items():
        print("\n".join(["", *transcription_tables(transcriber, cases, texts, each=options.each)]))
    print("\n".join(["", *speaker_word_table(cases, spoken, written)]))


def diarized(name: str, options: argparse.Namespace, cases: Sequence[Case]) -> dict[str, Diarization]:
    choice = EngineChoice.parse(name)

    def work(recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Diarization | PodlakeError]]:
        with closing(load_diarizer(choice, options.device)) as engine:
            yield from engine.diarize(recordings)

    return results(
        "diarizer", describe_diarizer(choice), work, [case for case in cases if case.segments], options.results
    )


def transcribed(name: str, options: argparse.Namespace, cases: Sequence[Case]) -> dict[str, Transcript]:
    choice = EngineChoice.parse(name)

    def work(recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Transcript | PodlakeError]]:
        with closing(load_transcriber(choice, options.device)) as engine:
            yield from engine.transcribe(recordings)

    return results(
        "transcriber", describe_transcriber(choice), work, [case for case in cases if case.texts], options.results
    )


def results(
    slot: Slot,
    spec: EngineSpec,
    work: Callable[[Iterable[Recording]], Iterator[tuple[Recording, Outcome | PodlakeError]]],
    cases: Sequence[Case],
    folder: Path,
) -> dict[str, Outcome]:
    """Results by recording, from `folder` where an earlier run left them. Raises the first error of a recording."""
    recordings = [Recording(case.name, "", case.waveform_path, "en") for case in cases]
    found: dict[str, Any] = {one.episode_id: kept(folder, slot, spec, one) for one in recordings}
    missing = [one for one in recordings if found[one.episode_id] is None]
    done = f"{spec.name}: {len(recordings) - len(missing)} of {len(recordings)} recordings are known"
    print(done, file=sys.stderr, flush=True)
    began_s, cpu_began_s, audio_s = time.perf_counter(), time.process_time(), 0.0
    for recording, outcome in work(missing) if missing else ():
        if isinstance(outcome, PodlakeError):
            raise outcome
        keep(folder, spec, recording, outcome)
        found[recording.episode_id] = outcome
        audio_s += recording.duration_ms / 1000
        wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_began_s
        speed = f"{audio_s / wall_s:.1f} × real time, {audio_s / cpu_s:.1f} × per CPU second"
        print(
            f"{spec.name}: {recording.episode_id}, {audio_s / 60:.0f} min so far, {speed}", file=sys.stderr, flush=True
        )
    return found


def diarization_table(
    engine: str, cases: Sequence[Case], found: Mapping[str, Diarization], *, each: bool
) -> Iterator[str]:
    yield f"| {engine} | DER | no collar | no overlap | missed / false / confused | speakers right | count error |"
    yield "|---|---|---|---|---|---|---|"
    for name, members in _groups(cases, found, each=each):
        with_collar = _pooled(der(case.segments, found[case.name].segments, COLLAR_MS) for case in members)
        no_collar = _pooled(der(case.segments, found[case.name].segments) for case in members)
        single = _pooled(
            der(case.segments, found[case.name].segments, COLLAR_MS, skip_overlap=True) for case in members
        )
        parts = (with_collar.missed_ms, with_collar.false_alarm_ms, with_collar.confused_ms)
        kinds = " / ".join(f"{part / max(with_collar.reference_ms, 1):.1%}" for part in parts)
        off = [
            abs(len({s.speaker for s in found[case.name].segments}) - len({s.speaker for s in case.segments}))
            for case in members
        ]
        yield (
            f"| {name} | {with_collar.rate:.1%} | {no_collar.rate:.1%} | {single.rate:.1%} | {kinds} "
            f"| {off.count(0)} of {len(off)} | {np.mean(off):.2f} |"
        )


def transcription_tables(
    engine: str, cases: Sequence[Case], found: Mapping[str, Transcript], *, each: bool
) -> Iterator[str]:
    yield f"| {engine} | WER | word starts, median / 90th percentile | calibration error | dropped words |"
    yield "|---|---|---|---|---|"
    bins = []
    for name, members in _groups(cases, found, each=each):
        errors = TranscriptErrors()
        for case in members:
            errors.add(" ".join(text for _, text in case.texts), case.starts_ms, found[case.name])
        late = np.abs(errors.late_ms) if errors.late_ms else None
        edges = f"{np.median(late):.0f} / {np.percentile(late, 90):.0f} ms" if late is not None else "–"
        calibration = expected_calibration_error(errors.confidences)
        yield f"| {name} | {errors.words.rate:.1%} | {edges} | {calibration:.3f} | {errors.dropped_words} |"
        bins += [(name, one) for one in reliability(errors.confidences) if len(members) > 1]
    yield ""
    yield f"| {engine}: reliability | words | mean confidence | right |"
    yield "|---|---|---|---|"
    for name, one in bins:
        yield f"| {name} | {one.words} | {one.mean_confidence:.2f} | {one.share_right:.2f} |"


def speaker_word_table(
    cases: Sequence[Case],
    spoken: Mapping[str, Mapping[str, Diarization]],
    written: Mapping[str, Mapping[str, Transcript]],
) -> Iterator[str]:
    yield "| | diarizer | transcriber | cpWER |"
    yield "|---|---|---|---|"
    both = [case for case in cases if case.segments and case.texts]
    for diarizer, diarizations in spoken.items():
        for transcriber, transcripts in written.items():
            for name, members in _groups(both, diarizations, each=False):
                errors = _pooled(
                    _speaker_words(case, diarizations[case.name], transcripts[case.name]) for case in members
                )
                yield f"| {name} | {diarizer} | {transcriber} | {errors.rate:.1%} |"


def _speaker_words(case: Case, spoken: Diarization, written: Transcript) -> WordErrors:
    assigned = assign_speakers(written.words, spoken.segments)
    words = ((str(one.speaker), word.text) for one, word in zip(assigned, written.words, strict=True))
    return cpwer(_per_speaker(case.texts), _per_speaker(words))


def _per_speaker(said: Iterable[tuple[str, str]]) -> dict[str, str]:
    texts: dict[str, list[str]] = {}
    for speaker, text in said:
        texts.setdefault(speaker, []).append(text)
    return {speaker: normalised(" ".join(parts)) for speaker, parts in texts.items()}


def _groups(cases: Sequence[Case], found: Mapping[str, object], *, each: bool) -> Iterator[tuple[str, Sequence[Case]]]:
    """The recordings with a result by data set; with `each`, every recording alone before its data set."""
    known = [case for case in cases if case.name in found]
    for data_set in dict.fromkeys(case.data_set for case in known):
        members = [case for case in known if case.data_set == data_set]
        if each:
            yield from ((f"· {case.name}", [case]) for case in members)
        yield data_set, members


def _pooled(errors: Iterable[Errors]) -> Errors:
    return reduce(add, errors)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--diarizer", action="append", help="engine[:model], as in PODLAKE_DIARIZER; repeatable")
    parser.add_argument("--transcriber", action="append", help="engine[:model], as in PODLAKE_TRANSCRIBER; repeatable")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N")
    parser.add_argument("--data", action="append", choices=DATA_SETS, help="a data set; repeatable; default: all")
    parser.add_argument("--results", type=Path, default=ROOT / "data" / "accuracy", help="folder that keeps results")
    parser.add_argument("--each", action="store_true", help="a line per recording too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
