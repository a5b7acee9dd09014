"""Encodes parts of episodes in processes of their own, and keeps them in a folder of limited size."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections import OrderedDict
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from speech.cached_files import evict, mark_used
from speech.opus_stream import encode_part
from speech.signals import end_with_parent
from speech.waveforms import WaveformCache
from speech.webm import Cluster, read_clusters

PROCESSES = 2
_EVICT_EVERY = 500
"""Parts: to list the folder for each one would take longer than to read it."""


@dataclass(frozen=True)
class EpisodeAudio:
    """The bytes of an episode on this machine."""

    sha256: str
    path: Path
    is_damaged: bool
    """Audio is lost in it, or its clock jumps: only the decoded waveform has the times of the transcript."""


@dataclass
class _Gate:
    """Lets so many in at once; of those who wait, the urgent ones first."""

    n_free: int
    _urgent: OrderedDict[str, asyncio.Future[None]] = field(default_factory=OrderedDict)
    _patient: OrderedDict[str, asyncio.Future[None]] = field(default_factory=OrderedDict)

    @asynccontextmanager
    async def inside(self, name: str, *, is_urgent: bool) -> AsyncIterator[None]:
        if self.n_free:
            self.n_free -= 1
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            (self._urgent if is_urgent else self._patient)[name] = turn
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # it was its turn
                    self._next()
                raise
        try:
            yield
        finally:
            self._next()

    def hurry(self, name: str) -> None:
        """Who waits under this name is urgent from now on."""
        if turn := self._patient.pop(name, None):
            self._urgent[name] = turn

    def _next(self) -> None:
        for waiting in (self._urgent, self._patient):
            while waiting:
                _, turn = waiting.popitem(last=False)
                if not turn.done():  # not cancelled
                    turn.set_result(None)
                    return
        self.n_free += 1


@dataclass
class Parts:
    """`<cache>/listening/ab/<sha256>.<index>.webm`: the clusters of a part, one behind the other."""

    cache: Path
    limit_bytes: int
    waveforms_bytes: int
    _pool: ProcessPoolExecutor | None = None
    _since_evicted: int = 0
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _gate: _Gate = field(default_factory=lambda: _Gate(PROCESSES))

    async def read(self, audio: EpisodeAudio, index: int, *, is_urgent: bool = False) -> list[Cluster]:
        """The clusters of a part, which is encoded if it is not there; urgent ones first. Raises `PodlakeError`, OSError."""
        path = self._path(audio, index)
        try:
            return await asyncio.to_thread(_kept, path)
        except (FileNotFoundError, ValueError):  # a power failure may have left a part of a part
            async with self._gate.inside(path.name, is_urgent=is_urgent):
                clusters = await self._encoded(audio, index)
        self._since_evicted += 1
        is_due = self._since_evicted % _EVICT_EVERY == 1
        await asyncio.to_thread(self._keep, path, clusters, is_due=is_due)
        return clusters

    def hurry(self, audio: EpisodeAudio, index: int) -> None:
        """A part that waits to be encoded is urgent from now on."""
        self._gate.hurry(self._path(audio, index).name)

    def close(self) -> None:
        """End the processes, when the parts are made that they work on."""
        if (pool := self._pool) is not None:
            self._pool = None
            pool.shutdown(cancel_futures=True)

    @property
    def _folder(self) -> Path:
        return self.cache / "listening"

    def _path(self, audio: EpisodeAudio, index: int) -> Path:
        return self._folder / audio.sha256[:2] / f"{audio.sha256}.{index}.webm"

    async def _encoded(self, audio: EpisodeAudio, index: int) -> list[Cluster]:
        """Tried twice: a process that exits breaks the pool for others' parts too."""
        waveforms = (self.cache / "waveforms", self.waveforms_bytes)
        for is_last in (False, True):
            pool = await self._opened()
            try:
                return await asyncio.wrap_future(pool.submit(_encode, audio, index, *waveforms))
            except BrokenProcessPool:
                if self._pool is pool:
                    self._pool = None
                if is_last:
                    raise
        raise AssertionError

    async def _opened(self) -> ProcessPoolExecutor:
        async with self._opening:
            if self._pool is None:
                context = multiprocessing.get_context("spawn")
                pool = ProcessPoolExecutor(PROCESSES, context, end_with_parent, (os.getpid(),))
                # All start now. A pool that starts one while it finds that another has exited waits for it for ever.
                for _ in range(PROCESSES):
                    pool.submit(os.getpid)
                self._pool = pool
            return self._pool

    def _keep(self, path: Path, clusters: list[Cluster], *, is_due: bool) -> None:
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"".join(one.content for one in clusters))
        part.replace(path)
        if is_due:
            evict(self._folder.glob("*/*"), self.limit_bytes, keep=path)


def _kept(path: Path) -> list[Cluster]:
    clusters = list(read_clusters(path.read_bytes()))
    mark_used(path)
    return clusters


def _encode(audio: EpisodeAudio, index: int, waveforms: Path, limit_bytes: int) -> list[Cluster]:
    if not audio.is_damaged:
        return encode_part(audio.path, index)
    with WaveformCache(waveforms, limit_bytes).using(audio.sha256, audio.path) as (waveform, _):
        return encode_part(waveform, index)
