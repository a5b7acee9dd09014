"""Decoded waveforms: memory maps, and a cache of them with a size limit that processes share."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BufferedReader
from pathlib import Path
from uuid import uuid4

from speech.cached_files import add, evict, mark_used
from speech.decoding import DecodeReport, decode_to_wav
from speech.errors import StorageError
from speech.file_locks import is_file_at, open_shared


@dataclass(frozen=True, slots=True)
class _Sidecar:
    """The content of `<audio_sha256>.json`."""

    report: DecodeReport
    wav_bytes: int

    @classmethod
    def read(cls, path: Path) -> _Sidecar | None:
        """None if it is missing, or another version wrote it."""
        try:
            content = json.loads(path.read_text())
            return cls(DecodeReport(**content["report"]), content["wav_bytes"])
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return None


class WaveformCache:
    """`<audio_sha256>.wav` and its report `<audio_sha256>.json`, decoded when missing or damaged.

    A waveform that `get` returned is not evicted until `release`, or until this process exits. If two processes
    decode the same audio, the first one's file stays.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Waveforms in use may exceed `limit_bytes`."""
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._in_use: defaultdict[str, list[BufferedReader]] = defaultdict(list)
        self._verified: dict[str, tuple[int, int]] = {}
        """SHA-256 → inode and modification time of the file whose content this process has compared."""

    def get(self, audio_sha256: str, source: Path) -> tuple[Path, DecodeReport]:
        """The waveform of `source`, whose bytes have this SHA-256. Raises what `decode_to_wav` raises."""
        wav, sidecar = self._paths(audio_sha256)
        n_damaged = 0
        while True:
            file, known = open_shared(wav), _Sidecar.read(sidecar)
            if file is not None and known is not None:
                if self._is_intact(audio_sha256, file, known):
                    break
                n_damaged += 1
                if n_damaged > 2:
                    raise StorageError(f"{wav} is damaged each time it is written. Check the disk.")
                if is_file_at(file, wav):
                    wav.unlink(missing_ok=True)
            if file is not None:
                file.close()
            self._decode(audio_sha256, source)
        self._in_use[audio_sha256].append(file)
        mark_used(wav)
        return wav, known.report

    def release(self, audio_sha256: str) -> None:
        """Undo one `get`: the waveform may be evicted from now on."""
        if files := self._in_use.get(audio_sha256):
            files.pop().close()

    @contextmanager
    def using(self, audio_sha256: str, source: Path) -> Iterator[tuple[Path, DecodeReport]]:
        """`get`, and `release` afterwards."""
        waveform = self.get(audio_sha256, source)
        try:
            yield waveform
        finally:
            self.release(audio_sha256)

    def _paths(self, audio_sha256: str) -> tuple[Path, Path]:
        return self._folder / f"{audio_sha256}.wav", self._folder / f"{audio_sha256}.json"

    def _is_intact(self, audio_sha256: str, file: BufferedReader, known: _Sidecar) -> bool:
        """Compare the size, and once per process the samples: after a power failure, blocks of a file can be zero."""
        stat = os.fstat(file.fileno())
        if stat.st_size != known.wav_bytes:
            return False
        state = (stat.st_ino, stat.st_mtime_ns)
        if self._verified.get(audio_sha256) != state:
            file.seek(44)  # behind the header that the module `wave` writes
            if hashlib.file_digest(file, "sha256").hexdigest() != known.report.pcm16k_sha256:
                return False
            self._verified[audio_sha256] = state
        return True

    def _decode(self, audio_sha256: str, source: Path) -> None:
        wav, sidecar = self._paths(audio_sha256)
        own_wav, own_sidecar = (path.with_name(f"{path.name}.{uuid4().hex}.part") for path in (wav, sidecar))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            report = decode_to_wav(source, own_wav)
            own_sidecar.write_text(json.dumps(asdict(_Sidecar(report, own_wav.stat().st_size))))
            add(wav, own_wav)
            own_sidecar.replace(sidecar)
            evict((path for path in self._folder.iterdir() if path.suffix != ".json"), self._limit_bytes, keep=wav)
        except OSError as error:
            raise StorageError(f"{wav} could not be written: {error}. Check disk space and rights.") from error
        finally:
            own_wav.unlink(missing_ok=True)
            own_sidecar.unlink(missing_ok=True)
