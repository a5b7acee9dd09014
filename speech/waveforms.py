"""Decoded waveforms: memory-mapped, and kept in a cache that is limited in size and shared by processes."""

from __future__ import annotations

import fcntl
import json
import os
import time
import wave
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import numpy as np

from speech.decoding import DecodeReport, decode_to_wav
from speech.errors import StorageError
from speech.types import SAMPLE_RATE_HZ

ABANDONED_AFTER_S = 86_400.0
"""An unfinished file this old belongs to a process that died at work."""


def mapped_samples(path: Path) -> np.ndarray:
    """The waveform as a read-only int16 memory map, shape (n,). Raises ValueError for any other kind of WAV.

    The map stays readable after the file is evicted: the bytes live until the last map is gone.
    """
    with path.open("rb") as file:
        with wave.open(file, "rb") as wav:
            kind = (wav.getframerate(), wav.getnchannels(), wav.getsampwidth())
            n_samples = wav.getnframes()
        if kind != (SAMPLE_RATE_HZ, 1, 2):
            raise ValueError(f"{path} is {kind[0]} Hz, {kind[1]} channels, {8 * kind[2]} bits, not 16 kHz mono int16.")
        file.seek(0)
        start = _data_start(file.read(4096))
    if n_samples == 0:
        return np.zeros(0, np.int16)
    return np.memmap(path, dtype="<i2", mode="r", offset=start, shape=(n_samples,))


class WaveformCache:
    """`<audio_sha256>.wav` and its report `<audio_sha256>.json`, made when missing, least recently used out first.

    What `get` returned is held by this process until `release`, or until it ends, in whatever way: the hold is a
    shared lock on the file, which the operating system drops, and only what nobody holds is evicted. Files appear
    whole: two processes that miss the same waveform both decode it, and the first one's file is kept.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """`limit_bytes` is kept to except for what is held."""
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._holds: defaultdict[str, list[int]] = defaultdict(list)

    def get(self, audio_sha256: str, source: Path) -> tuple[Path, DecodeReport]:
        """The waveform of `source`, whose bytes have this SHA-256. Raises what `decode_to_wav` raises."""
        wav, sidecar = self._paths(audio_sha256)
        while True:
            hold = _held(wav)
            if hold is not None and (report := _read_report(sidecar)) is not None:
                break
            if hold is not None:
                os.close(hold)
            self._make(audio_sha256, source)
        self._holds[audio_sha256].append(hold)
        os.utime(wav)
        return wav, report

    def release(self, audio_sha256: str) -> None:
        """Undo one `get`: the waveform may be evicted from now on."""
        if holds := self._holds.get(audio_sha256):
            os.close(holds.pop())

    @contextmanager
    def using(self, audio_sha256: str, source: Path) -> Iterator[tuple[Path, DecodeReport]]:
        """`get`, and `release` afterwards."""
        try:
            yield self.get(audio_sha256, source)
        finally:
            self.release(audio_sha256)

    def _paths(self, audio_sha256: str) -> tuple[Path, Path]:
        return self._folder / f"{audio_sha256}.wav", self._folder / f"{audio_sha256}.json"

    def _make(self, audio_sha256: str, source: Path) -> None:
        """Never replace a file that is there: somebody may hold it."""
        wav, sidecar = self._paths(audio_sha256)
        own_wav, own_sidecar = (path.with_name(f"{path.name}.{uuid4().hex}.part") for path in (wav, sidecar))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            own_sidecar.write_text(json.dumps(asdict(decode_to_wav(source, own_wav))))
            with suppress(FileExistsError):
                os.link(own_wav, wav)
            own_sidecar.replace(sidecar)
        except OSError as error:
            raise StorageError(f"{wav} could not be written: {error}. Check disk space and rights.") from error
        finally:
            own_wav.unlink(missing_ok=True)
            own_sidecar.unlink(missing_ok=True)
        self._evict(keep=wav)

    def _evict(self, keep: Path) -> None:
        files = sorted(((stat.st_mtime, stat.st_size, path) for path, stat in _listed(self._folder)), reverse=True)
        total = 0
        for mtime, size, path in files:
            if path.suffix == ".part" and time.time() - mtime > ABANDONED_AFTER_S:
                path.unlink(missing_ok=True)
            elif path.suffix == ".wav":
                total += size
                if total > self._limit_bytes and path != keep and _removed(path):
                    total -= size


def _listed(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in folder.iterdir():
        try:
            yield path, path.stat()
        except FileNotFoundError:  # another process evicts at the same time
            continue


def _held(wav: Path) -> int | None:
    """A descriptor with a shared lock on the file; None where there is no such file."""
    try:
        descriptor = os.open(wav, os.O_RDONLY)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), wav.stat()):
            return descriptor
    os.close(descriptor)  # evicted between the two calls
    return None


def _removed(wav: Path) -> bool:
    """Remove a waveform that nobody holds."""
    try:
        descriptor = os.open(wav, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        wav.with_suffix(".json").unlink(missing_ok=True)
        wav.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _read_report(sidecar: Path) -> DecodeReport | None:
    """None where it is missing, or was written by a version with other fields."""
    try:
        return DecodeReport(**json.loads(sidecar.read_text()))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def _data_start(head: bytes) -> int:
    """Where the samples begin: behind the header of the RIFF chunk `data`."""
    at = 12
    while head[at : at + 4] != b"data":
        at += 8 + (size := int.from_bytes(head[at + 4 : at + 8], "little")) + size % 2
        if at + 8 > len(head):
            raise ValueError("The samples do not begin within the first 4096 bytes.")
    return at + 8
