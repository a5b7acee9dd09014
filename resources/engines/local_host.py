"""Runs engines in host processes of this machine, on leased devices.

Three threads work at once: one decodes recordings, one feeds the engine, and the caller lands the results. Each is ahead
of the next by a bounded number of episodes and bytes. Waveforms are memory-mapped files.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from resources.engines import progress
from resources.engines.devices import CPU, Devices
from resources.engines.progress import AtWork
from resources.engines.routing import Audio, Done, EngineResult, Slot
from resources.engines.run_ahead import run_ahead
from speech.cores import usable_cores
from speech.engines import hosts
from speech.engines.embedding_diarizer import EmbeddingDiarizer
from speech.engines.hosted_engine import HostedEngine
from speech.engines.protocols import Diarizer, EngineChoice, EngineSpec, Synthesizer, Transcriber
from speech.errors import EngineFailed, EngineUnavailable, PodlakeError
from speech.types import Recording
from speech.waveforms import WaveformCache

DECODERS = 2
DECODED_AHEAD = 4
"""Decoded recordings that wait for the engine at most …"""
DECODED_AHEAD_BYTES = 2 * 10**9
"""… and the size of their waveforms: 17 hours of audio. A longer one waits alone."""
RESULTS_AHEAD = 8
"""Results that wait to be landed at most; then the engine waits."""


@dataclass(frozen=True)
class LocalHost:
    """Leases a device for a batch, and runs the engine in the host process of that device."""

    waveforms: WaveformCache
    devices: Devices
    idle_s: float = 600.0
    """How long an engine stays warm after its last use."""

    def run(self, slot: Slot, choice: EngineChoice, spec: EngineSpec, audio: Iterable[Audio]) -> Generator[Done]:
        """Each episode exactly once, in any order. Raises `EngineUnavailable`.

        A thread feeds the engine, so that it works while the caller lands earlier results.
        """
        return run_ahead(self._run(slot, choice, spec, audio), name="engine", most=RESULTS_AHEAD)

    def preload(self, slot: Slot, choice: EngineChoice, spec: EngineSpec) -> None:
        """Load the engine if a device is free. Raises `EngineUnavailable`."""
        with (
            suppress(TimeoutError),
            self._lease(slot, spec, wait_s=0.0) as device,
            closing(self._load(slot, choice, spec, device)) as engine,
        ):
            engine.wait_until_ready()

    def _run(self, slot: Slot, choice: EngineChoice, spec: EngineSpec, audio: Iterable[Audio]) -> Generator[Done]:
        with self._lease(slot, spec) as device:
            started = time.monotonic()
            with closing(self._load(slot, choice, spec, device)) as hosted:
                engine = EmbeddingDiarizer(hosted) if slot == "diarizer" else hosted
                yield from work(slot, engine, self.waveforms, audio, started, lambda: hosted.waited_s)

    def _lease(self, slot: Slot, spec: EngineSpec, **limits: float) -> AbstractContextManager[str]:
        """Prefers the devices on which the engine is warm."""
        wanted, warm = (slot, spec.fingerprint), set[str]()
        if spec.needs_gpu and len(self.devices.names) > 1:
            for status in hosts.statuses():
                if wanted in [(engine["slot"], engine["fingerprint"]) for engine in status["engines"]]:
                    warm.add(status["device"])
        return self.devices.lease(wants_gpu=spec.needs_gpu, preferred=warm, **limits)

    def _load(self, slot: Slot, choice: EngineChoice, spec: EngineSpec, device: str) -> HostedEngine:
        threads = max(1, usable_cores() // (1 if device == CPU else len(self.devices.names)))
        return HostedEngine(slot, choice, spec, device, idle_s=self.idle_s, threads=threads)


def work(
    slot: Slot,
    engine: Diarizer | Transcriber | Synthesizer,
    waveforms: WaveformCache,
    audio: Iterable[Audio],
    started: float | None = None,
    waited_s: Callable[[], float] = float,
) -> Generator[Done]:
    """Decode ahead, run the engine, and return each episode's result and cost.

    `started` is the monotonic time at which the engine began to load; now by default. `waited_s` says how long it has
    loaded since then. Raises `EngineFailed` for an unexpected error, with the episode that the engine worked on.
    """
    started, held_up_s = time.monotonic() if started is None else started, 0.0
    waiting_s = time.monotonic() - started  # while the engine loaded
    with closing(Decoded(waveforms, audio, slot)) as decoded:
        for recording, result in _results(slot, engine, decoded):
            one = decoded.release(recording.episode_id)
            use = engine.device_use()
            now = time.monotonic()
            idle_s = waiting_s + waited_s() + decoded.waited_s + held_up_s
            yield Done(
                one.audio,
                None if isinstance(result, Exception) else result,
                result if isinstance(result, Exception) else None,
                engine.spec,
                use.name,
                use.peak_mb,
                one.decode_ms,
                one.audio_ms,
                max(0.0, 1 - idle_s / (now - started)),
            )
            held_up_s += time.monotonic() - now
    for audio_of, error in decoded.failed:
        yield Done(audio_of, None, error)


def _results(
    slot: Slot, engine: Diarizer | Transcriber | Synthesizer, recordings: Decoded
) -> Iterator[tuple[Recording, EngineResult | PodlakeError]]:
    run: Callable[..., Iterator[tuple[Recording, EngineResult | PodlakeError]]]
    run = engine.diarize if slot == "diarizer" else engine.transcribe  # type: ignore[union-attr]
    try:
        yield from run(recordings)
    except EngineUnavailable:
        raise
    except Exception as error:
        if recordings.oldest is None:
            raise
        raise EngineFailed(recordings.oldest, error) from error


@dataclass(frozen=True)
class Waveform:
    """Decoded audio, held in the cache."""

    audio: Audio
    path: Path
    bytes: int
    decode_ms: int
    audio_ms: int


class Decoded:
    """Audio as a stream of recordings, decoded ahead of the engine. Audio that cannot be decoded is in `failed`."""

    def __init__(self, waveforms: WaveformCache, audio: Iterable[Audio], slot: Slot) -> None:
        self._slot = slot
        self.failed: list[tuple[Audio, Exception]] = []
        self.waited_s = 0.0
        """How long the engine has waited for a recording."""
        self._waveforms = waveforms
        self._audio = audio
        self._held: dict[str, Waveform] = {}
        self._taken: dict[str, AtWork] = {}
        """Recordings that the engine has taken, in order."""
        self._coming = run_ahead(
            self._decoded(), name="decode", most=DECODED_AHEAD, most_bytes=DECODED_AHEAD_BYTES, size_of=_bytes
        )

    def __iter__(self) -> Iterator[Recording]:
        while True:
            waiting = time.monotonic()
            made = next(self._coming, None)
            self.waited_s += time.monotonic() - waiting
            if made is None:
                return
            if isinstance(made, Waveform):
                one = made.audio
                self._taken[one.episode_id] = at_work = progress.begin(one.episode_id, self._slot, made.audio_ms)
                yield Recording(one.episode_id, one.audio_sha256, made.path, one.language, at_work.report)
            else:
                self.failed.append(made)

    @property
    def oldest(self) -> str | None:
        """The recording that the engine took first, of those without a result; None if it has all results."""
        return next(iter(self._taken), None)

    def release(self, episode_id: str) -> Waveform:
        """Give up a recording that the engine has finished. Returns its waveform."""
        if episode_id in self._taken:
            progress.end(self._taken.pop(episode_id))
        waveform = self._held.pop(episode_id)
        self._waveforms.release(waveform.audio.audio_sha256)
        return waveform

    def close(self) -> None:
        """End the threads and release the remaining recordings."""
        self._coming.close()
        for episode_id in list(self._held):
            self.release(episode_id)

    def _decoded(self) -> Generator[Waveform | tuple[Audio, Exception]]:
        """In the order of the audio, `DECODERS` at once."""
        under_way: deque[tuple[Audio, Future[Waveform]]] = deque()
        with ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as pool:
            for one in self._audio:
                under_way.append((one, pool.submit(self._decode, one)))
                if len(under_way) == DECODERS:
                    yield _outcome(*under_way.popleft())
            while under_way:
                yield _outcome(*under_way.popleft())

    def _decode(self, one: Audio) -> Waveform:
        started = time.monotonic()
        path, report = self._waveforms.get(one.audio_sha256, one.path)
        decode_ms = round(1000 * (time.monotonic() - started))
        self._held[one.episode_id] = Waveform(one, path, path.stat().st_size, decode_ms, report.duration_ms)
        return self._held[one.episode_id]


def _outcome(one: Audio, decoding: Future[Waveform]) -> Waveform | tuple[Audio, Exception]:
    error = decoding.exception()
    return (one, error) if isinstance(error, Exception) else decoding.result()


def _bytes(made: Waveform | tuple[Audio, Exception]) -> int:
    return made.bytes if isinstance(made, Waveform) else 0
