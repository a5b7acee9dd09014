"""What a diarizer, a transcriber, a synthesizer and a translator must do; nothing else in the code names an engine.

An engine is made by its module's `load(choice, device)` and is then warm. It takes a stream of
recordings, may put several of them into one batch, and yields each recording's result, or the error that
belongs to it alone, as soon as it is done, in any order. It reads ahead only as far as its
batches need, so that a long stream costs no more memory than a short one. During its work on a recording it
calls `recording.report` with the milliseconds that it has processed: users see the progress, and the work
ends there if its client has exited.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import parse_qsl

from speech.errors import PodlakeError
from speech.types import Diarization, Line, Recording, SpokenLine, Transcript, TranslatedLine, TranslationRequest

Slot = Literal["diarizer", "transcriber", "synthesizer", "translator"]
"""What an engine is for."""
EngineResult = Diarization | Transcript | SpokenLine


@dataclass(frozen=True)
class EngineSpec:
    """An engine, its model and its settings, as known without loading it."""

    name: str
    model: str
    """A package's model, a hub name, or a local path."""
    revision: str
    """Identifies the weights: a version, a commit, or a hash of the file."""
    settings: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    languages: frozenset[str] | None = None
    """Languages it transcribes, speaks or translates into; None where that does not apply or is not limited."""
    needs_gpu: bool = False
    """Whether it gains from a GPU, so that a device is leased for it."""
    gpu_package: str = "torch"
    """The package through which it uses a GPU."""
    longest_turn_characters: int | None = None
    """A synthesizer cannot say a longer turn; None: no limit."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits over name, model revision and settings. Rows of another fingerprint are outdated.

        The model's path is left out: the same weights elsewhere are the same engine.
        """
        settings = json.dumps(dict(sorted(self.settings.items())), separators=(",", ":"))
        return hashlib.sha256(f"{self.name}\n{self.revision}\n{settings}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class EngineChoice:
    """An engine as the user chose it: `name[:model]` and the options of that engine."""

    name: str
    model: str | None = None
    """None: the engine's default."""
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, **options: str) -> EngineChoice:
        """`nemo`, `nemo:nvidia/parakeet-tdt-0.6b-v3`, `nemo:/models/parakeet.nemo`."""
        name, _, model = text.strip().partition(":")
        return cls(name.strip(), model.strip() or None, options)

    @classmethod
    def parse_voice(cls, text: str) -> EngineChoice:
        """`piper`, `espeak:en-gb?variant=f2`, `openai:http://127.0.0.1:8880/v1?voice=af_sky`: what follows `?` are options."""
        engine, _, query = text.strip().partition("?")
        return cls.parse(engine, **dict(parse_qsl(query, strict_parsing=True) if query else ()))


@dataclass(frozen=True)
class DeviceUse:
    """The device of an engine, and the memory that it has used there."""

    name: str
    """`cpu`, or the device and its own name: `cuda:0 NVIDIA H200`."""
    peak_mb: float | None = None
    """The most that was allocated at once since the stream of recordings began; None on a CPU."""


ON_CPU = DeviceUse("cpu")


class Diarizer(Protocol):
    """Tells who speaks when."""

    @property
    def spec(self) -> EngineSpec: ...

    def diarize(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Diarization | PodlakeError]]:
        """Each recording exactly once, in any order."""
        ...

    def device_use(self) -> DeviceUse:
        """Use since the current stream began."""
        ...

    def close(self) -> None:
        """Give back processes and memory."""
        ...


class Transcriber(Protocol):
    """Writes down the words with their times."""

    @property
    def spec(self) -> EngineSpec: ...

    def transcribe(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Transcript | PodlakeError]]:
        """Each recording exactly once, in any order."""
        ...

    def device_use(self) -> DeviceUse:
        """Use since the current stream began."""
        ...

    def close(self) -> None:
        """Give back processes and memory."""
        ...


class Synthesizer(Protocol):
    """Says lines of a script. Each voice of a script is one synthesizer."""

    @property
    def spec(self) -> EngineSpec: ...

    def synthesize(self, lines: Iterable[Line]) -> Iterator[tuple[Line, SpokenLine | PodlakeError]]:
        """Each line exactly once, in any order. A line whose file is there already is not said again.

        A line that comes out silent, or much shorter or longer than its text, is an error.
        """
        ...

    def device_use(self) -> DeviceUse:
        """Use since the current stream began."""
        ...

    def close(self) -> None:
        """Give back processes and memory."""
        ...


class Translator(Protocol):
    """Translates the lines of a lesson."""

    @property
    def spec(self) -> EngineSpec: ...

    def translate(self, request: TranslationRequest) -> list[TranslatedLine]:
        """One result for each line, in their order. A line that cannot be translated has a problem and no text.

        Raises a `PodlakeError` if no line can be translated: the server is not there, or refuses all requests.
        """
        ...

    def shorten(self, request: TranslationRequest, line_idx: int, text: str, max_chars: int) -> TranslatedLine:
        """The translation `text` of a line in at most `max_chars` characters, or the problem that it cannot be."""
        ...

    def close(self) -> None:
        """Give back processes and connections."""
        ...
