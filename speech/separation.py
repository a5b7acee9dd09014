"""How the voices and the background of a recording are told apart, as the settings say. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from speech.errors import EngineUnavailable

Method = Literal["demucs", "duck"]
DEFAULT_MODEL = "htdemucs"


@dataclass(frozen=True)
class Separation:
    """What the settings say: `auto`, `duck`, `demucs` or `demucs:<model>`, a name or `<folder>/<name>`."""

    choice: str = "auto"

    @classmethod
    def parse(cls, text: str) -> Separation:
        """Raises ValueError for anything else."""
        name, _, model = text.partition(":")
        if name not in ("auto", "duck", "demucs") or (model and name != "demucs"):
            raise ValueError(f"{text!r} is none of auto, duck, demucs and demucs:<model>")
        return cls(text)

    @property
    def method(self) -> Method:
        """Raises `EngineUnavailable` where Demucs is wanted and not installed."""
        name = self.choice.partition(":")[0]
        has_demucs = find_spec("demucs") is not None
        if name == "demucs" and not has_demucs:
            raise EngineUnavailable("PODLAKE_STEMS wants demucs, which is not installed: pip install demucs.")
        return "demucs" if has_demucs and name != "duck" else "duck"

    @property
    def model(self) -> str:
        return self.choice.partition(":")[2] or DEFAULT_MODEL
