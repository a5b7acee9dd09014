"""The voices of scripts: which synthesizer says what each speaker says, and lines said by several of them at once."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from resources.engines.devices import Devices
from resources.engines.run_ahead import run_ahead
from resources.gpu_server.servers import GpuServers
from speech.cores import usable_cores
from speech.engines import registry
from speech.engines.hosted_engine import HostedEngine
from speech.engines.protocols import EngineChoice, EngineSpec
from speech.errors import EngineUnavailable, GpuServerUnavailable, PodlakeError, VoiceUnavailable
from speech.script import SPEAKERS, ScriptRefused, ScriptTurn
from speech.types import Line, SpokenLine

FIRST_SPEAKER = "S1"
"""Whose voice says an audiogram, and the first one who speaks in a lesson."""
SAID_AHEAD = 64
"""Lines that wait to be landed at most, for each voice."""
_SHOWN_LANGUAGES = 30
_NEXT = re.compile(r",\s*(?=(?:[a-z]{2}\.)?S\d\s*=)")


class NoVoice(ValueError):
    """What a user asks for has no voice on this machine. `code` says so to programs, the message what to do."""

    code = "no_voice"


@dataclass(frozen=True)
class Said:
    """A line's result, or the error that belongs to it."""

    line: Line
    spec: EngineSpec
    result: SpokenLine | PodlakeError


@dataclass(frozen=True)
class Voices:
    """The voices that the settings choose. They run in host processes of this machine, under leases of its devices."""

    choices: Mapping[str, EngineChoice]
    """`S1` or `en.S1` → voice. The one with the language comes first."""
    devices: Devices
    idle_s: float = 600.0
    gpu_servers: GpuServers = field(default_factory=GpuServers)
    """Those on which voices behind HTTP may have their services."""

    def choice_for(self, speaker: str, language: str) -> EngineChoice:
        """Raises `VoiceUnavailable` where no voice is set, or the voice that is set does not speak the language."""
        choice = self.choices.get(f"{language}.{speaker}") or self.choices.get(speaker)
        if choice is None:
            raise VoiceUnavailable(f"No voice is set for {speaker}. Set one: PODLAKE_VOICES={speaker}=piper.")
        known = registry.describe("synthesizer", choice).languages
        if known is not None and language not in known:
            instead = "a service that speaks it, openai:http://…" if choice.name == "espeak" else "espeak"
            spoken = ", ".join(sorted(known)) if len(known) <= _SHOWN_LANGUAGES else f"{len(known)} languages"
            raise VoiceUnavailable(
                f"The voice of {speaker}, {choice.name}, speaks {spoken}, not {language}. "
                f"Set another one: PODLAKE_VOICES={language}.{speaker}={instead}."
            )
        return choice

    def check_voice(self, speaker: str, language: str) -> EngineChoice:
        """The voice of a request that is not admitted yet. Raises `NoVoice`."""
        try:
            return self.choice_for(speaker, language)
        except (VoiceUnavailable, EngineUnavailable) as error:
            raise NoVoice(str(error)) from error

    def check(self, turns: Sequence[ScriptTurn], language: str) -> None:
        """Raise `ScriptRefused` for turns that the voices cannot say."""
        for number, turn in enumerate(turns, start=1):
            try:
                choice = self.check_voice(turn.speaker, language)
            except NoVoice as error:
                raise ScriptRefused(error.code, str(error)) from error
            longest = registry.describe("synthesizer", choice).longest_turn_characters
            if longest is not None and len(turn.text) > longest:
                raise ScriptRefused(
                    "turn_too_long",
                    f"Turn {number} has {len(turn.text):,} characters; the voice of {turn.speaker} says at most "
                    f"{longest:,} in a turn. Divide it.",
                )

    @cached_property
    def fingerprint(self) -> str:
        """Changes with every voice that is set."""
        specs = [
            f"{name}={registry.describe('synthesizer', one).fingerprint}" for name, one in sorted(self.choices.items())
        ]
        return hashlib.sha256("\n".join(specs).encode()).hexdigest()[:16]

    def say(self, lines: Sequence[tuple[EngineChoice, Line]]) -> Generator[Said]:
        """The results in the order of the lines. Each voice works ahead of the others, in a process of its own.

        A voice that cannot load is the error of its lines.
        """
        own: dict[str, list[Line]] = {}
        voices: dict[str, EngineChoice] = {}
        for choice, line in lines:
            voices.setdefault(repr(choice), choice)
            own.setdefault(repr(choice), []).append(line)
        with ExitStack() as stack:
            coming = {
                name: stack.enter_context(
                    closing(run_ahead(self._said_by(voices[name], own[name]), name="voice", most=SAID_AHEAD))
                )
                for name in own
            }
            early: dict[str, deque[Said]] = {name: deque() for name in own}
            for choice, line in lines:
                yield _result_of(line, coming[repr(choice)], early[repr(choice)])

    def _said_by(self, choice: EngineChoice, lines: Sequence[Line]) -> Generator[Said]:
        spec = registry.describe("synthesizer", choice)
        answered = set[int]()
        try:
            with self._loaded(choice, spec) as engine:
                for line, result in engine.synthesize(lines):
                    answered.add(id(line))
                    yield Said(line, spec, result)
        except (EngineUnavailable, GpuServerUnavailable) as error:
            failure = error if isinstance(error, PodlakeError) else VoiceUnavailable(str(error))
            for line in lines:
                if id(line) not in answered:
                    yield Said(line, spec, failure)

    @contextmanager
    def _loaded(self, choice: EngineChoice, spec: EngineSpec) -> Iterator[HostedEngine]:
        with (
            self.gpu_servers.in_use([choice.model], f"the voice {spec.name}"),
            self.devices.lease(wants_gpu=spec.needs_gpu) as device,
            closing(
                HostedEngine("synthesizer", choice, spec, device, idle_s=self.idle_s, threads=usable_cores())
            ) as engine,
        ):
            yield engine


def parse_voices(text: str) -> dict[str, EngineChoice]:
    """`S1=piper,de.S1=piper:/voices/thorsten.onnx,S2=espeak?variant=f2`. Raises ValueError for anything else."""
    found = {}
    for part in _NEXT.split(text.strip()):
        name, is_given, voice = part.partition("=")
        language, _, speaker = name.strip().rpartition(".")
        if not is_given or speaker not in SPEAKERS or (language and not re.fullmatch("[a-z]{2}", language)):
            raise ValueError(f"{part!r} names no voice: write S1=piper or de.S1=espeak, separated by commas")
        choice = EngineChoice.parse_voice(voice)
        if choice.name not in registry.SYNTHESIZERS:
            raise ValueError(f"{choice.name!r} is no synthesizer: choose one of {', '.join(registry.SYNTHESIZERS)}")
        found[name.strip()] = choice
    return found


def _result_of(line: Line, coming: Iterator[Said], early: deque[Said]) -> Said:
    """The result of this line; an engine may answer in another order."""
    for said in early:
        if said.line is line:
            early.remove(said)
            return said
    for said in coming:
        if said.line is line:
            return said
        early.append(said)
    raise RuntimeError(f"{line.episode_id}: the voice gave no result.")
