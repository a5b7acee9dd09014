"""The engines by name: one line per engine, which names its module.

A module is imported when its engine is used. It has `describe(choice) -> EngineSpec`, cheap and without heavy
imports, and `load(choice, device) -> engine`. With the option `python`, the registry loads the engine in a process of
its own under that interpreter.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from speech.engines import subprocess_engine
from speech.engines.embedding_diarizer import EmbeddingDiarizer
from speech.engines.protocols import Diarizer, EngineChoice, EngineSpec, Transcriber
from speech.errors import EngineUnavailable

DIARIZERS = {
    "campplus": "speech.engines.campplus",
    "nemo": "speech.engines.nemo_sortformer",
}
TRANSCRIBERS = {
    "whisper": "speech.engines.whisper",
    "nemo": "speech.engines.nemo_parakeet",
    "firered": "speech.engines.firered",
}


_REMOVED = {"mfcc": "campplus", "pocketsphinx": "whisper"}
"""Engines of earlier versions, and what replaces them."""


def describe_diarizer(choice: EngineChoice) -> EngineSpec:
    return _module(DIARIZERS, choice.name, "diarizer", "PODLAKE_DIARIZER").describe(choice)


def load_diarizer(choice: EngineChoice, device: str) -> Diarizer:
    module = _module(DIARIZERS, choice.name, "diarizer", "PODLAKE_DIARIZER")
    engine = (
        subprocess_engine.load("diarizer", choice, device)
        if "python" in choice.options
        else module.load(choice, device)
    )
    return EmbeddingDiarizer(engine)


def describe_transcriber(choice: EngineChoice) -> EngineSpec:
    return _module(TRANSCRIBERS, choice.name, "transcriber", "PODLAKE_TRANSCRIBER").describe(choice)


def load_transcriber(choice: EngineChoice, device: str) -> Transcriber:
    module = _module(TRANSCRIBERS, choice.name, "transcriber", "PODLAKE_TRANSCRIBER")
    return (
        subprocess_engine.load("transcriber", choice, device)
        if "python" in choice.options
        else module.load(choice, device)
    )


def _module(modules: dict[str, str], name: str, slot: str, setting: str) -> ModuleType:
    if name in _REMOVED:
        raise EngineUnavailable(f"{setting} names the {slot} {name!r}, which was removed. Use {_REMOVED[name]!r}.")
    if name not in modules:
        raise EngineUnavailable(
            f"{setting} names the {slot} {name!r}, which does not exist. Choose one of: {', '.join(modules)}."
        )
    return import_module(modules[name])
