"""Engines in this process, on a leased device.

Three things go on at once, each ahead of the next and bounded: recordings are decoded, the engine works, and
whoever asked lands the results. Memory is bounded too, waveforms being memory-mapped files.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from resources.engines.devices import Devices
from resources.engines.routing import Audio, Done, EngineResult, Slot
from resources.engines.run_ahead import run_ahead
from speech.engines import registry
from speech.engines.protocols import Diarizer, EngineChoice, EngineSpec, Transcriber
from speech.errors import PodlakeError
from speech.types import Recording
from speech.waveforms import WaveformCache

DECODERS = 2
DECODED_AHEAD = 4
"""Recordings that wait for the engine, beside those that are being decoded …"""
DECODED_AHEAD_BYTES = 2 * 10**9
"""… and what their waveforms take on the disk: 17 hours of audio. One that is longer waits alone."""
RESULTS_AHEAD = 8
"""Results that wait to be landed before the engine does."""


@dataclass(frozen=True)
class LocalHost:
    """Loads the engine for a batch, and gives its memory back afterwards."""

    waveforms: WaveformCache
    devices: Devices

    def run(self, slot: Slot, choice: EngineChoice, spec: EngineSpec, audio: Iterable[Audio]) -> Generator[Done]:
        """Each episode exactly once, in any order. Raises `EngineUnavailable`.

        The engine lives in a thread of its own, and works while the caller is busy with earlier results.
        """
        return run_ahead(self._run(slot, choice, spec, audio), name="engine", most=RESULTS_AHEAD)

    def _run(self, slot: Slot, choice: EngineChoice, spec: EngineSpec, audio: Iterable[Audio]) -> Generator[Done]:
        with self.devices.lease(wants_gpu=spec.needs_gpu) as device, closing(load(slot, choice, device)) as engine:
            yield from work(slot, engine, self.waveforms, audio)


def load(slot: Slot, choice: EngineChoice, device: str) -> Diarizer | Transcriber:
    """A warm engine. Raises `EngineUnavailable`."""
    return registry.load_diarizer(choice, device) if slot == "diarizer" else registry.load_transcriber(choice, device)


def work(
    slot: Slot, engine: Diarizer | Transcriber, waveforms: WaveformCache, audio: Iterable[Audio]
) -> Generator[Done]:
    """Decode ahead, let the engine work, and say of each episode what it gave and cost."""
    started, held_up_s = time.monotonic(), 0.0
    with closing(Decoded(waveforms, audio)) as decoded:
        for recording, result in _results(slot, engine, decoded):
            one = decoded.let_go(recording.episode_id)
            use = engine.device_use()
            now = time.monotonic()
            idle_s = decoded.waited_s + held_up_s
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
    slot: Slot, engine: Diarizer | Transcriber, recordings: Iterable[Recording]
) -> Iterator[tuple[Recording, EngineResult | PodlakeError]]:
    work: Callable[..., Iterator[tuple[Recording, EngineResult | PodlakeError]]]
    work = engine.diarize if slot == "diarizer" else engine.transcribe  # type: ignore[union-attr]
    return work(recordings)


@dataclass(frozen=True)
class Waveform:
    """Decoded audio, held in the cache."""

    audio: Audio
    path: Path
    bytes: int
    decode_ms: int
    audio_ms: int


class Decoded:
    """Audio as a stream of recordings, decoded ahead of its consumer; what cannot be decoded is set aside."""

    def __init__(self, waveforms: WaveformCache, audio: Iterable[Audio]) -> None:
        self.failed: list[tuple[Audio, Exception]] = []
        self.waited_s = 0.0
        """How long the consumer has waited."""
        self._waveforms = waveforms
        self._audio = audio
        self._held: dict[str, Waveform] = {}
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
                yield Recording(one.episode_id, one.audio_sha256, made.path, one.language)
            else:
                self.failed.append(made)

    def let_go(self, episode_id: str) -> Waveform:
        """The consumer is done with a recording."""
        waveform = self._held.pop(episode_id)
        self._waveforms.release(waveform.audio.audio_sha256)
        return waveform

    def close(self) -> None:
        """End the threads, and let go of what is left."""
        self._coming.close()
        for episode_id in list(self._held):
            self.let_go(episode_id)

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
