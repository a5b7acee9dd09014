"""A Ray actor with one loaded engine, on the device that Ray assigns to its process.

The actor decodes on its own node. It reads audio from a shared volume, or downloads it from the home's object store.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from resources.engines import progress
from resources.engines.local_host import work
from resources.engines.progress import AtWork
from resources.engines.routing import Audio, Done, Slot
from resources.fetch.audio_store import AudioStore
from resources.lake.home import Home
from speech.decoding import DecodeReport
from speech.engines import registry
from speech.engines.protocols import Diarizer, EngineChoice, Synthesizer, Transcriber
from speech.errors import EngineUnavailable, PodlakeError, StorageError
from speech.waveforms import WaveformCache


@dataclass(frozen=True)
class ActorSpec:
    """The engine and the settings of an actor."""

    slot: Slot
    choice: EngineChoice
    home: str
    """The lake's home: a folder on a volume that all nodes mount, or `s3://bucket/prefix`."""
    cache: str
    """A local folder on the node, for waveforms; `~` is the home folder there."""
    cache_limit_bytes: int
    idle_s: float
    """The actor exits after this long without work."""

    @property
    def digest(self) -> str:
        """8 hex digits of a hash of all fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]


class EngineActor:
    """An engine in a Ray process. Calls of `work` and `load` run in order; the other methods run concurrently."""

    def __init__(self, spec: ActorSpec) -> None:
        self._spec = spec
        cache = Path(spec.cache).expanduser()
        self._waveforms = NodeWaveforms(cache, spec.cache_limit_bytes, spec.home)
        self._engine: Diarizer | Transcriber | Synthesizer | None = None
        self._device = _device()
        self._working = threading.Lock()
        self._last_worked = time.monotonic()
        threading.Thread(target=self._exit_when_idle, name="exit-when-idle", daemon=True).start()

    def load(self) -> EngineUnavailable | None:
        """Load the engine unless it is loaded. Returns the error of an engine that cannot be loaded."""
        with self._busy():
            try:
                self._engine = self._engine or registry.load(self._spec.slot, self._spec.choice, self._device)
            except EngineUnavailable as unavailable:
                return EngineUnavailable(f"{unavailable} (on the Ray node {socket.gethostname()})")
        return None

    def work(self, group: Sequence[Audio]) -> Iterator[Done]:
        """Yield the result of each episode when it is done. Stops when the group is cancelled."""
        import ray

        assert self._engine is not None, "load() comes first"
        with self._busy():
            for done in work(self._spec.slot, self._engine, self._waveforms, group):
                yield replace(done, error=_portable(done.error))
                if ray.get_runtime_context().is_canceled():
                    return

    def decode(self, group: Sequence[Audio]) -> None:
        """Fill the waveform cache for a waiting group. Errors are ignored: `work` decodes again and reports them."""
        for one in group:
            with suppress(PodlakeError), self._waveforms.using(one.audio_sha256, one.path):
                pass

    def idle_s(self) -> float:
        """Seconds since the last work; 0 during work."""
        return 0.0 if self._working.locked() else time.monotonic() - self._last_worked

    def at_work(self) -> list[AtWork]:
        """What the engine works on, and how far it is."""
        return progress.at_work()

    def pid(self) -> int:
        """The actor's process on its node."""
        return os.getpid()

    @contextmanager
    def _busy(self) -> Iterator[None]:
        with self._working:
            try:
                yield
            finally:
                self._last_worked = time.monotonic()

    def _exit_when_idle(self) -> None:
        """Runs in a thread. A call that arrives during the exit gets `RayActorError`, and the host retries it."""
        import ray

        while (left_s := self._spec.idle_s - self.idle_s()) > 0:
            time.sleep(left_s)
        self._working.acquire()
        if self._engine is not None:
            self._engine.close()
        ray.kill(ray.get_runtime_context().current_actor)


class NodeWaveforms(WaveformCache):
    """The node's waveform cache. Audio that is not on its file system is downloaded, decoded and deleted."""

    def __init__(self, cache: Path, limit_bytes: int, home: str) -> None:
        super().__init__(cache / "waveforms", limit_bytes)
        self._cache = cache
        self._home = home

    def get(self, audio_sha256: str, source: Path) -> tuple[Path, DecodeReport]:
        """As `WaveformCache.get`. Raises `StorageError` if the node cannot read the audio."""
        if source.exists() or (self._cache / "waveforms" / f"{audio_sha256}.wav").exists():
            return super().get(audio_sha256, source)
        if "://" not in self._home:
            raise StorageError(
                f"The Ray node {socket.gethostname()} does not see {source}. PODLAKE_HOME has to lie on a volume "
                "that every node mounts at the same path, or in an object store (s3://bucket/prefix)."
            )
        folder = self._cache / f"fetched-{os.getpid()}-{threading.get_ident()}"
        fetched = AudioStore(Home.at(self._home), folder, self._limit_bytes).local("/".join(source.parts[-3:]))
        try:
            return super().get(audio_sha256, fetched)
        finally:
            fetched.unlink(missing_ok=True)


def _device() -> str:
    """Ray hides the GPUs of other processes: the first visible one belongs to this actor."""
    import ray

    return "cuda:0" if ray.get_gpu_ids() else "cpu"


def _portable(error: Exception | None) -> Exception | None:
    """A `PodlakeError` unchanged; any other error as text, because not every exception can be unpickled."""
    if error is None or isinstance(error, PodlakeError):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
