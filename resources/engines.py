"""Engines at work: a step hands over audio and gets each episode's result, wherever the engine lives.

While the engine works on one recording, the next are decoded: bounded in number, and in memory by being
memory-mapped files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from speech.waveforms import WaveformCache

from resources.devices import Devices
from speech.engines import registry
from speech.engines.protocols import Diarizer, EngineChoice, EngineSpec, Transcriber
from speech.errors import LanguageWithoutEngine, PodlakeError
from speech.types import Diarization, Recording, Transcript

DECODE_AHEAD = 4
"""Recordings decoded before the engine asks for them."""

ASSUMED_LANGUAGE = "en"
"""An episode whose language nobody declared is transcribed as English; `quality` compares with the text."""

Result = TypeVar("Result", Diarization, Transcript)


@dataclass(frozen=True)
class Audio:
    """What an engine is asked to work on: bytes by path, not samples."""

    episode_id: str
    audio_sha256: str
    path: Path
    language: str | None


@dataclass(frozen=True)
class Done(Generic[Result]):
    """An episode's result, or the error that belongs to it."""

    audio: Audio
    result: Result | None
    error: Exception | None
    spec: EngineSpec | None = None
    device: str | None = None
    peak_device_mb: float | None = None
    decode_ms: int | None = None
    audio_ms: int | None = None
    busy: float | None = None
    """Share of the engine phase so far in which the engine did not wait for audio."""


@dataclass(frozen=True)
class Engines:
    """The engines that the settings choose, in this process, on a leased device."""

    diarizer: EngineChoice
    transcribers: Mapping[str, EngineChoice]
    """Language → engine; `*` for every other language that the engine knows."""
    waveforms: WaveformCache
    devices: Devices

    def diarizer_spec(self) -> EngineSpec:
        return registry.describe_diarizer(self.diarizer)

    def transcriber_for(self, language: str | None) -> EngineChoice:
        """The transcriber for a language. Raises `LanguageWithoutEngine`."""
        choice = self.transcribers.get(language or ASSUMED_LANGUAGE) or self.transcribers.get("*")
        if choice is None:
            raise LanguageWithoutEngine(self._no_engine(language, "no transcriber is set for it"))
        known = registry.describe_transcriber(choice).languages
        if known is not None and (language or ASSUMED_LANGUAGE) not in known:
            raise LanguageWithoutEngine(self._no_engine(language, f"{choice.name} knows {', '.join(sorted(known))}"))
        return choice

    def diarize(self, audio: Iterable[Audio]) -> Iterator[Done[Diarization]]:
        """Each episode exactly once, in any order. Raises `EngineUnavailable`."""
        spec = self.diarizer_spec()
        return self._run(spec, lambda device: registry.load_diarizer(self.diarizer, device), _diarize, audio)

    def transcribe(self, audio: Iterable[Audio]) -> Iterator[Done[Transcript]]:
        """Each episode exactly once, in any order; an engine at a time, and only those that are needed."""
        by_choice: dict[EngineChoiceKey, list[Audio]] = {}
        choices: dict[EngineChoiceKey, EngineChoice] = {}
        for one in audio:
            try:
                choice = self.transcriber_for(one.language)
            except LanguageWithoutEngine as error:
                yield Done(one, None, error)
                continue
            key = (choice.name, choice.model)
            choices[key] = choice
            by_choice.setdefault(key, []).append(one)
        for key, group in by_choice.items():
            spec = registry.describe_transcriber(choices[key])
            load = _loading(choices[key])
            yield from self._run(spec, load, _transcribe, group)

    @staticmethod
    def _no_engine(language: str | None, why: str) -> str:
        return (
            f"No transcriber for {language or 'an episode of unknown language'}: {why}. Set one with "
            "PODLAKE_TRANSCRIBER=<language>=<engine>, or give the feed's language with `podlake add --language`."
        )

    def _run(
        self,
        spec: EngineSpec,
        load: Callable[[str], Diarizer | Transcriber],
        work: Callable[..., Iterator[tuple[Recording, Result | PodlakeError]]],
        audio: Iterable[Audio],
    ) -> Iterator[Done[Result]]:
        with self.devices.lease(wants_gpu=spec.needs_gpu) as device, closing(load(device)) as engine:
            ahead = Decoded(self.waveforms, audio)
            started = time.monotonic()
            for recording, result in work(engine, ahead):
                wall_s = time.monotonic() - started
                one, decode_ms, audio_ms = ahead.taken[recording.episode_id]
                ok = not isinstance(result, Exception)
                yield Done(
                    one,
                    result if ok else None,
                    None if ok else result,
                    engine.spec,
                    device_name(device),
                    peak_device_mb(device),
                    decode_ms,
                    audio_ms,
                    max(0.0, 1 - ahead.waited_s / wall_s) if wall_s > 0 else None,
                )
            for one, error in ahead.failed:
                yield Done(one, None, error)


EngineChoiceKey = tuple[str, str | None]


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


def parse_transcribers(text: str, default_options: Mapping[str, str] | None = None) -> dict[str, EngineChoice]:
    """`nemo`, or `en=pocketsphinx,zh=firered:/models/FireRedASR-AED-L,*=nemo`."""
    table = {}
    for part in text.split(","):
        language, found, engine = part.partition("=")
        key = language.strip().lower() if found else "*"
        table[key] = EngineChoice.parse(engine if found else part, **(default_options or {}))
    return table


def device_name(device: str) -> str:
    """`cpu`, or the GPU's own name."""
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device} {torch.cuda.get_device_name(device)}"


def peak_device_mb(device: str) -> float | None:
    """Peak memory that this process had allocated on a GPU; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    import torch

    return float(torch.cuda.max_memory_allocated(device) / 2**20)


def _diarize(
    engine: Diarizer, recordings: Iterable[Recording]
) -> Iterator[tuple[Recording, Diarization | PodlakeError]]:
    return engine.diarize(recordings)


def _transcribe(
    engine: Transcriber, recordings: Iterable[Recording]
) -> Iterator[tuple[Recording, Transcript | PodlakeError]]:
    return engine.transcribe(recordings)


def _loading(choice: EngineChoice) -> Callable[[str], Transcriber]:
    return lambda device: registry.load_transcriber(choice, device)
