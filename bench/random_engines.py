"""Engines with random weights, measured: in this process, or in the environment that has the packages of an engine.

    python -m bench.random_engines nemo cuda:0 rows.json folder/episode0.wav …

is what the other environment runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench import random_models, random_whisper
from bench.timing import Measured, measured
from speech.engines import nemo_parakeet, nemo_sortformer, whisper
from speech.engines.protocols import EngineChoice
from speech.errors import OutOfMemory
from speech.types import Recording

ROOT = Path(__file__).parents[1]
PACKAGES = {"nemo": "nemo", "whisper": "faster_whisper", "campplus": "onnxruntime"}
"""Engines → the package without which they do not run."""
WHISPER_BATCH = 2
"""Chunks in a batch on a CPU, where the engine itself decodes one at a time."""


def stages(device: str, recordings: Sequence[Recording], audio_s: float, *, tiny: bool) -> Iterator[Measured]:
    """All engines; a line on the terminal for each whose packages are in no environment."""
    for name, package in PACKAGES.items():
        if find_spec(package):
            yield from ENGINES[name](device, recordings, audio_s, tiny)
        elif name == "nemo" and (python := _nemo_python()):
            yield from _elsewhere(python, name, device, recordings, tiny)
        else:
            print(f"{name}: not measured, since {package} is not installed")


def bottleneck(rows: Iterable[Measured]) -> str:
    """The rate of one device that diarizes, then transcribes, and what takes most of its time."""
    rates = {row.stage: row.rtfx for row in rows}
    pairs = [("diarize (Sortformer)", "transcribe (Parakeet)"), ("diarize (CAM++)", "transcribe (Whisper)")]
    lines = []
    for pair in pairs:
        if all(stage in rates for stage in pair):
            rate = 1 / sum(1 / rates[stage] for stage in pair)
            lines.append(
                f"{' + '.join(pair)}: {rate:.1f} x real time; {min(pair, key=rates.__getitem__)} takes most of it"
            )
    return "\n".join(lines)


def _nemo(device: str, recordings: Sequence[Recording], audio_s: float, tiny: bool) -> Iterator[Measured]:
    import torch

    sizes = random_models.TINY if tiny else random_models.PUBLISHED
    kind = device.partition(":")[0]
    diarizer = nemo_sortformer.Sortformer(
        nemo_sortformer.describe(EngineChoice("nemo", "random/sortformer")), random_models.sortformer(device, sizes)
    )
    _warm(diarizer.diarize, recordings)
    yield measured("diarize (Sortformer)", audio_s, lambda: _all(diarizer.diarize(recordings)))
    with torch.autocast(kind, dtype=torch.bfloat16):
        _warm(diarizer.diarize, recordings)
        yield measured("diarize (Sortformer, bf16)", audio_s, lambda: _all(diarizer.diarize(recordings)))
    diarizer.close()

    model = random_models.parakeet(device, sizes)
    nemo_parakeet.set_decoding(model, cuda_graphs=False)
    spec = nemo_parakeet.describe(EngineChoice("nemo", "random/parakeet"))
    transcriber = nemo_parakeet.Parakeet(spec, model, nemo_parakeet.BATCH_S[kind])
    _warm(transcriber.transcribe, recordings)
    yield measured("transcribe (Parakeet)", audio_s, lambda: _all(transcriber.transcribe(recordings)))
    before_s = transcriber.batch_s
    with _short_of_memory(device):
        row = measured("", audio_s, lambda: _all(transcriber.transcribe(recordings)))
    name = f"(Parakeet, out of memory, batch {before_s:.0f} → {transcriber.batch_s:.0f} s)"
    yield Measured(f"transcribe {name}", row.audio_s, row.wall_s)
    transcriber.close()


def _whisper(device: str, recordings: Sequence[Recording], audio_s: float, tiny: bool) -> Iterator[Measured]:
    with tempfile.TemporaryDirectory() as folder:
        size = random_whisper.TINY if tiny else random_whisper.LARGE_V3_TURBO
        options = {"batch_chunks": str(WHISPER_BATCH)} if device == "cpu" else {}
        model = str(random_whisper.write(Path(folder) / "model", size))
        transcriber = whisper.load(EngineChoice("whisper", model, options), device)
        _warm(transcriber.transcribe, recordings)
        yield measured("transcribe (Whisper)", audio_s, lambda: _all(transcriber.transcribe(recordings)))
        before, decode = transcriber.batch_chunks, whisper.decode_chunks
        whisper.decode_chunks = _refusing(decode, before // 2, RuntimeError("CUDA failed with error out of memory"))
        try:
            row = measured("", audio_s, lambda: _all(transcriber.transcribe(recordings)))
        finally:
            whisper.decode_chunks = decode
        name = f"(Whisper, out of memory, batch {before} → {transcriber.batch_chunks})"
        yield Measured(f"transcribe {name}", row.audio_s, row.wall_s)
        transcriber.close()


def _campplus(device: str, recordings: Sequence[Recording], audio_s: float, tiny: bool) -> Iterator[Measured]:  # noqa: ARG001 – it has one size
    from speech.engines import campplus

    diarizer = campplus.load(EngineChoice("campplus"), device)
    _warm(diarizer.diarize, recordings)
    yield measured("diarize (CAM++)", audio_s, lambda: _all(diarizer.diarize(recordings)))
    diarizer.close()


ENGINES = {"nemo": _nemo, "whisper": _whisper, "campplus": _campplus}


@contextmanager
def _short_of_memory(device: str) -> Iterator[None]:
    """On a GPU, half of the memory that batches took so far; on a CPU, batches of more than one chunk are refused."""
    import torch

    if device != "cpu":
        held, most = torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction((held + (most - held) / 2) / total, device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device)
        return
    decode = nemo_parakeet.decode
    nemo_parakeet.decode = _refusing(decode, 1, torch.OutOfMemoryError("CUDA out of memory."))
    try:
        yield
    finally:
        nemo_parakeet.decode = decode


def _refusing(decode: Callable[..., Any], most: int, error: Exception) -> Callable[..., Any]:
    """`decode`, which raises the error for more than so many chunks at once."""

    def limited(model: Any, chunks: Sequence[np.ndarray], *more: Any) -> Any:
        if len(chunks) > most:
            raise error
        return decode(model, chunks, *more)

    return limited


def _warm(
    run: Callable[[Sequence[Recording]], Iterator[tuple[Recording, Any]]], recordings: Sequence[Recording]
) -> None:
    list(run(recordings[:1]))


def _all(outcomes: Iterable[tuple[Recording, Any]]) -> None:
    """Raises what an engine says of a lack of memory; that random weights find no words is no error."""
    for _, result in outcomes:
        if isinstance(result, OutOfMemory):
            raise result


def _nemo_python() -> str | None:
    """As `PODLAKE_NEMO_PYTHON` says, or that of `make nemo`."""
    python = os.environ.get("PODLAKE_NEMO_PYTHON", str(ROOT / ".venv-nemo" / "bin" / "python"))
    return python if Path(python).exists() else None


def _elsewhere(python: str, name: str, device: str, recordings: Sequence[Recording], tiny: bool) -> Iterator[Measured]:
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "rows.json"
        paths = [str(recording.waveform_path) for recording in recordings]
        arguments = [name, device, str(found), *(["--tiny"] if tiny else []), *paths]
        subprocess.run(
            [python, "-m", "bench.random_engines", *arguments], cwd=ROOT, check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        yield from (Measured(**row) for row in json.loads(found.read_text()))


def main() -> None:
    name, device, target, *paths = sys.argv[1:]
    tiny = "--tiny" in paths
    recordings = [Recording(Path(path).stem, Path(path).stem, Path(path)) for path in paths if path != "--tiny"]
    audio_s = sum(recording.duration_ms for recording in recordings) / 1000
    rows = ENGINES[name](device, recordings, audio_s, tiny)
    Path(target).write_text(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    main()
