"""A bare worker for `bench.side_by_side`: both NeMo models in one process, then one episode after the other.

    python -m bench.bare_worker SORTFORMER PARAKEET URL …

The shape of Podcast Pile's worker, without its tables, retries and classifiers: stream the file to the disk, hash it,
decode it, diarize it, write each segment to a WAV, transcribe these, measure their levels, and print a line of JSON.
It imports only what NeMo's environment has.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

BLOCK = 4_096


def main(sortformer: str, parakeet: str, *urls: str) -> None:
    began_s = time.monotonic()
    from nemo.collections.asr.models import ASRModel, SortformerEncLabelModel

    diarizer = SortformerEncLabelModel.restore_from(sortformer, map_location="cpu").eval()
    modules = diarizer.sortformer_modules
    modules.chunk_len, modules.chunk_right_context, modules.fifo_len = 124, 1, 124
    modules.spkcache_update_period, modules.spkcache_len = 124, 188
    transcriber = ASRModel.restore_from(parakeet, map_location="cpu").eval()
    loaded_s = time.monotonic() - began_s
    for url in urls:
        with tempfile.TemporaryDirectory() as folder:
            result = worked(diarizer, transcriber, url, Path(folder))
        print(json.dumps(result), flush=True)
    print(json.dumps({"loaded_s": loaded_s, "all_s": time.monotonic() - began_s}), flush=True)


def worked(diarizer: Any, transcriber: Any, url: str, folder: Path) -> dict[str, Any]:
    import librosa
    import numpy as np
    import soundfile

    path = folder / url.rpartition("/")[2]
    with urlopen(url) as answer, path.open("wb") as file:
        while block := answer.read(8_192):
            file.write(block)
    hashes = {name: _hash(path, name) for name in ("sha256", "md5")}
    samples, rate_hz = librosa.load(path, sr=16_000, mono=True)
    whole = folder / "whole.wav"
    soundfile.write(whole, samples, rate_hz)
    segments = []
    for line in diarizer.diarize(audio=[str(whole)], batch_size=1, verbose=False)[0]:
        start_s, end_s, speaker = line.split()
        segments.append({"start": float(start_s), "end": float(end_s), "speaker": speaker})
    segments.sort(key=lambda one: one["start"])
    files = []
    for number, segment in enumerate(segments):
        part = samples[int(segment["start"] * rate_hz) : int(segment["end"] * rate_hz)]
        segment["rms"], segment["peak"] = float(np.sqrt(np.mean(part**2))), float(np.abs(part).max())
        files.append(str(folder / f"{number}.wav"))
        soundfile.write(files[-1], part, rate_hz)
    texts = transcriber.transcribe(files, verbose=False) if files else []
    for segment, text in zip(segments, texts, strict=True):
        segment["transcription"] = text.text
    return {"url": url, "duration": len(samples) / rate_hz, "file_hashes": hashes, "segments": segments}


def _hash(path: Path, name: str) -> str:
    digest = hashlib.new(name)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    main(*sys.argv[1:])
