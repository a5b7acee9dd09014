"""The translator that the settings choose, and the users' list of terms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from resources.gpu_server.servers import GpuServers
from speech.engines import registry
from speech.engines.protocols import EngineChoice, EngineSpec, Translator
from speech.terminology import read_terms
from speech.types import Term


@dataclass(frozen=True)
class Translators:
    """Translates lessons, in the process of the run."""

    choice: EngineChoice
    cache: Path
    """A local folder of valid answers, so that a run that is tried again asks for the others only."""
    terms_file: Path | None = None
    gpu_servers: GpuServers = field(default_factory=GpuServers)
    """Those on which the model may run."""

    @property
    def spec(self) -> EngineSpec:
        return registry.describe("translator", self.choice)

    @contextmanager
    def loaded(self) -> Iterator[Translator]:
        """Raises `EngineUnavailable`, or `GpuServerUnavailable` if the model's server does not start."""
        choice = replace(self.choice, options={**self.choice.options, "cache": str(self.cache)})
        with (
            closing(registry.load_translator(choice)) as translator,
            self.gpu_servers.in_use([choice.model], f"the translator {choice.name}"),
        ):
            yield translator

    def terms(self) -> list[Term]:
        """What users have decided. Raises `TermsRefused` for a list that cannot be read."""
        return read_terms(self.terms_file) if self.terms_file else []


def parse_translator(text: str) -> EngineChoice:
    """`apertium`, or `ollama:http://127.0.0.1:11434?model=qwen2.5:14b`. Raises ValueError for anything else."""
    choice = EngineChoice.parse_voice(text)
    if choice.name not in registry.TRANSLATORS:
        raise ValueError(f"{choice.name!r} is no translator: choose one of {', '.join(registry.TRANSLATORS)}")
    return choice
