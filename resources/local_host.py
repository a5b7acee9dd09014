"""Engines in this process, on a leased device.

While the engine works on one recording, the next are decoded: bounded in number, and in memory by being
memory-mapped files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from resources.devices import Devices
from resources.engines import Audio, Done, EngineResult, Slot
from speech.engines import registry
from speech.engines.protocols import Diarizer, EngineChoice, EngineSpec, Transcriber
from speech.errors import PodlakeError
from speech.types import Recording
from speech.waveforms import WaveformCache

DECODE_AHEAD = 4
"""Recordings decoded before the engine asks for them."""


@dataclass(frozen=True)
class LocalHost:
    """Loads the engine for a batch, and gives its memory back afterwards."""

    waveforms: WaveformCache
    devices: Devices

    def run(self, slot: Slot, choice: EngineChoice, spec: EngineSpec, audio: Iterable[Audio]) -> Iterator[Done]:
        """Each episode exactly once, in any order. Raises `EngineUnavailable`."""
        with self.devices.lease(wants_gpu=spec.needs_gpu) as device, closing(load(slot, choice, device)) as engine:
            yield from work(slot, engine, self.waveforms, audio)


def load(slot: Slot, choice: EngineChoice, device: str) -> Diarizer | Transcriber:
    """A warm engine. Raises `EngineUnavailable`."""
    return registry.load_diarizer(choice, device) if slot == "diarizer" else registry.load_transcriber(choice, device)


def work(
    slot: Slot, engine: Diarizer | Transcriber, waveforms: WaveformCache, audio: Iterable[Audio]
) -> Iterator[Done]:
    """Decode ahead, let the engine work, and say of each episode what it gave and cost."""
    ahead = Decoded(waveforms, audio)
    started = time.monotonic()
    for recording, result in _results(slot, engine, ahead):
        wall_s = time.monotonic() - started
        one, decode_ms, audio_ms = ahead.taken[recording.episode_id]
        waveforms.release(one.audio_sha256)
        use = engine.device_use()
        yield Done(
            one,
            None if isinstance(result, Exception) else result,
            result if isinstance(result, Exception) else None,
            engine.spec,
            use.name,
            use.peak_mb,
            decode_ms,
            audio_ms,
            max(0.0, 1 - ahead.waited_s / wall_s) if wall_s > 0 else None,
        )
    for one, error in ahead.failed:
        yield Done(one, None, error)


def _results(
    slot: Slot, engine: Diarizer | Transcriber, recordings: Iterable[Recording]
) -> Iterator[tuple[Recording, EngineResult | PodlakeError]]:
    work: Callable[..., Iterator[tuple[Recording, EngineResult | PodlakeError]]]
    work = engine.diarize if slot == "diarizer" else engine.transcribe  # type: ignore[union-attr]
    return work(recordings)


@dataclass
class Decoded:
    """Audio as a stream of recordings, decoded ahead of its consumer; what cannot be decoded is set aside."""

    waveforms: WaveformCache
    audio: Iterable[Audio]
    taken: dict[str, tuple[Audio, int, int]] = field(default_factory=dict)
    """Episode → its audio, the time that decoding took, and its length, both in ms."""
    failed: list[tuple[Audio, Exception]] = field(default_factory=list)
    waited_s: float = 0.0
    """How long the consumer has waited."""

    def __iter__(self) -> Iterator[Recording]:
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="decode") as pool:
            for one, future in ahead(pool, self._decode, self.audio, DECODE_AHEAD):
                waiting = time.monotonic()
                error = future.exception()
                self.waited_s += time.monotonic() - waiting
                if isinstance(error, Exception):
                    self.failed.append((one, error))
                    continue
                path, decode_ms, audio_ms = future.result()
                self.taken[one.episode_id] = (one, decode_ms, audio_ms)
                yield Recording(one.episode_id, one.audio_sha256, path, one.language)

    def _decode(self, one: Audio) -> tuple[Path, int, int]:
        started = time.monotonic()
        path, report = self.waveforms.get(one.audio_sha256, one.path)
        return path, round(1000 * (time.monotonic() - started)), report.duration_ms


Item = TypeVar("Item")
Made = TypeVar("Made")


def ahead(
    pool: ThreadPoolExecutor, make: Callable[[Item], Made], items: Iterable[Item], count: int
) -> Iterator[tuple[Item, Future[Made]]]:
    """Items in order, each with the future that makes something of it; at most `count` are begun early."""
    begun: list[tuple[Item, Future[Made]]] = []
    for item in items:
        begun.append((item, pool.submit(make, item)))
        if len(begun) > count:
            yield begun.pop(0)
    yield from begun
