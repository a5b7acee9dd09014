"""Selects the engine for each episode and runs it on the configured host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import Protocol

from partitions.languages import normalise_language
from speech.engines import registry
from speech.engines.protocols import EngineChoice, EngineResult, EngineSpec, Slot
from speech.errors import EngineUnavailable, LanguageWithoutEngine
from speech.types import Diarization

ASSUMED_LANGUAGE = "en"
"""The language of an episode without a declared one; `quality` compares it with the text."""


@dataclass(frozen=True)
class Audio:
    """An engine's input: a path, not samples."""

    episode_id: str
    audio_sha256: str
    path: Path
    language: str | None


@dataclass(frozen=True)
class WorkerIdentity:
    """A process on another machine that runs engines."""

    name: str
    host: str
    version: str


@dataclass(frozen=True)
class Done:
    """An episode's result, or the error that belongs to it."""

    audio: Audio
    result: EngineResult | None
    error: Exception | None
    spec: EngineSpec | None = None
    device: str | None = None
    peak_device_mb: float | None = None
    decode_ms: int | None = None
    audio_ms: int | None = None
    utilization: float | None = None
    """Share of the time since the engine began to load in which it worked: it waited neither for audio nor for landings."""
    ran_on: WorkerIdentity | None = None
    """The worker on which the engine ran; None: this machine, or a node of the cluster."""
    fingerprint: str | None = None
    """Of the rows, where it is not that of `spec`: two diarizers are set, and either may have made them."""
    redone_from: str | None = None
    """The diarizer whose result this one replaces, because it found as many speakers as it can."""


class Host(Protocol):
    """Where engines run."""

    def run(self, slot: Slot, choice: EngineChoice, spec: EngineSpec, audio: Iterable[Audio]) -> Iterator[Done]:
        """Each episode exactly once, in any order. Raises `EngineUnavailable`."""
        ...

    def preload(self, slot: Slot, choice: EngineChoice, spec: EngineSpec) -> None:
        """Load the engine, if the host can, so that it is warm when it is needed. Raises `EngineUnavailable`."""
        ...


@dataclass(frozen=True)
class Engines:
    """The engines that the settings choose, and the host that runs them."""

    diarizer: EngineChoice
    transcribers: Mapping[str, EngineChoice]
    """Language → engine; `*` for every other language that the engine knows."""
    host: Host
    saturated: EngineChoice | None = None
    """The diarizer that repeats the episodes in which the first one finds as many speakers as it can; None: none."""

    def diarizer_spec(self) -> EngineSpec:
        """With the second diarizer among the settings, if there is one: rows of both have one fingerprint."""
        return self._with_second(registry.describe_diarizer(self.diarizer))

    def transcriber_for(self, language: str | None) -> EngineChoice:
        """The transcriber for a language. Raises `LanguageWithoutEngine`."""
        choice = self.transcribers.get(language or ASSUMED_LANGUAGE) or self.transcribers.get("*")
        if choice is None:
            raise LanguageWithoutEngine(_no_engine(language, "no transcriber is set for it"))
        known = registry.describe_transcriber(choice).languages
        if known is not None and (language or ASSUMED_LANGUAGE) not in known:
            raise LanguageWithoutEngine(_no_engine(language, f"{choice.name} knows {', '.join(sorted(known))}"))
        return choice

    def transcriber_fingerprint(self, language: str | None) -> str | None:
        """Of the transcriber for a language; None without one."""
        with suppress(LanguageWithoutEngine):
            return registry.describe_transcriber(self.transcriber_for(language)).fingerprint
        return None

    def preload(self) -> None:
        """Begin to load the diarizer and the transcriber of most episodes. Errors are left to the runs."""
        wanted: list[tuple[Slot, EngineChoice]] = [("diarizer", self.diarizer)]
        if choice := self.transcribers.get("*") or next(iter(self.transcribers.values()), None):
            wanted.append(("transcriber", choice))

        def load() -> None:
            for slot, one in wanted:
                with suppress(EngineUnavailable):
                    self.host.preload(slot, one, registry.describe(slot, one))

        Thread(target=load, name="preload", daemon=True).start()

    def diarize(self, audio: Iterable[Audio]) -> Iterator[Done]:
        """Each episode exactly once, in any order. Raises `EngineUnavailable`."""
        first = registry.describe_diarizer(self.diarizer)
        if self.saturated is None:
            yield from self.host.run("diarizer", self.diarizer, first, audio)
            return
        full: dict[str, tuple[Audio, str]] = {}
        fingerprint = self.diarizer_spec().fingerprint
        for done in self.host.run("diarizer", self.diarizer, first, audio):
            spec = done.spec or first
            if _is_saturated(done.result):
                full[done.audio.episode_id] = done.audio, f"{spec.name} {spec.model} {spec.revision}"
            else:
                yield replace(done, fingerprint=self._with_second(spec).fingerprint)
        if full:
            second = registry.describe_diarizer(self.saturated)
            for done in self.host.run("diarizer", self.saturated, second, (one for one, _ in full.values())):
                yield replace(done, fingerprint=fingerprint, redone_from=full[done.audio.episode_id][1])

    def _with_second(self, spec: EngineSpec) -> EngineSpec:
        if self.saturated is None:
            return spec
        second = registry.describe_diarizer(self.saturated)
        return replace(spec, settings={**spec.settings, "saturated": f"{second.name} {second.fingerprint}"})

    def transcribe(self, audio: Iterable[Audio]) -> Iterator[Done]:
        """Each episode exactly once, in any order. Raises `EngineUnavailable`.

        One engine runs at a time. It starts with its first episode; episodes of other engines wait, as paths.
        """
        refused: list[Done] = []
        coming = self._routed(audio, refused)
        while (first := next(coming, None)) is not None:
            choice, later = first[1], list[tuple[Audio, EngineChoice]]()
            own = _of_engine(choice, chain([first], coming), later)
            yield from self.host.run("transcriber", choice, registry.describe_transcriber(choice), own)
            coming = iter(later)
        yield from refused

    def _routed(self, audio: Iterable[Audio], refused: list[Done]) -> Iterator[tuple[Audio, EngineChoice]]:
        """Each episode with its engine; episodes without an engine are added to `refused`."""
        for one in audio:
            try:
                yield one, self.transcriber_for(one.language)
            except LanguageWithoutEngine as error:
                refused.append(Done(one, None, error))


def _is_saturated(result: EngineResult | None) -> bool:
    if not isinstance(result, Diarization) or result.speaker_capacity is None:
        return False
    return len({segment.speaker for segment in result.segments}) >= result.speaker_capacity


def _of_engine(
    choice: EngineChoice,
    coming: Iterable[tuple[Audio, EngineChoice]],
    later: list[tuple[Audio, EngineChoice]],
) -> Iterator[Audio]:
    """Yield the audio of one engine. Audio of other engines is added to `later`."""
    for one, wanted in coming:
        if wanted == choice:
            yield one
        else:
            later.append((one, wanted))


def parse_transcribers(text: str) -> dict[str, EngineChoice]:
    """`nemo`, or `en=nemo,zh=firered:/models/FireRedASR-AED-L,*=whisper:large-v3-turbo`: language → engine, `*` for the others.

    Languages are normalised like those of feeds: `cn` is `zh`. Raises ValueError for an unknown language.
    """
    table = {}
    for part in text.split(","):
        language, found, engine = part.partition("=")
        table[_language(language) if found else "*"] = EngineChoice.parse(engine if found else part)
    return table


def _language(text: str) -> str:
    language = "*" if text.strip() == "*" else normalise_language(text)
    if language is None:
        raise ValueError(f"{text.strip()!r} names no language: use a tag such as `en` or `zh`, or `*` for the others")
    return language


def _no_engine(language: str | None, why: str) -> str:
    return (
        f"No transcriber for {language or 'an episode of unknown language'}: {why}. Set one with "
        "PODLAKE_TRANSCRIBER=<language>=<engine>, or give the feed's language with `podlake add --language`."
    )
