"""The engines by name: one line per engine, which names its module.

A module is imported when its engine is used. It has `describe(choice) -> EngineSpec`, cheap and without heavy
imports, and `load(choice, device) -> engine`. With the option `python`, the engine runs in a host process under that
interpreter.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from speech.cores import usable_cores
from speech.engines.embedding_diarizer import EmbeddingDiarizer
from speech.engines.hosted_engine import HostedEngine
from speech.engines.line_synthesizer import LineSynthesizer
from speech.engines.protocols import (
    Diarizer,
    EngineChoice,
    EngineSpec,
    Slot,
    Synthesizer,
    Transcriber,
    Translator,
)
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
SYNTHESIZERS = {
    "piper": "speech.engines.piper",
    "espeak": "speech.engines.espeak",
    "soulx": "speech.engines.soulx",
    "openai": "speech.engines.openai_speech",
    "chatterbox": "speech.engines.chatterbox",
}
"""Their `load` gives a voice, which says one line at a time; `LineSynthesizer` does the rest."""
TRANSLATORS = {
    "apertium": "speech.engines.apertium",
    "ollama": "speech.engines.chat_translator",
    "openai": "speech.engines.chat_translator",
}

_SLOTS: dict[Slot, tuple[dict[str, str], str]] = {
    "diarizer": (DIARIZERS, "PODLAKE_DIARIZER"),
    "transcriber": (TRANSCRIBERS, "PODLAKE_TRANSCRIBER"),
    "synthesizer": (SYNTHESIZERS, "PODLAKE_VOICES"),
    "translator": (TRANSLATORS, "PODLAKE_TRANSLATOR"),
}
_REMOVED = {"mfcc": "campplus", "pocketsphinx": "whisper"}
"""Engines of earlier versions, and what replaces them."""


def describe_diarizer(choice: EngineChoice) -> EngineSpec:
    return describe("diarizer", choice)


def describe_transcriber(choice: EngineChoice) -> EngineSpec:
    return describe("transcriber", choice)


def load_diarizer(choice: EngineChoice, device: str) -> Diarizer:
    return EmbeddingDiarizer(_load("diarizer", choice, device))


def load_transcriber(choice: EngineChoice, device: str) -> Transcriber:
    return _load("transcriber", choice, device)


def load_synthesizer(choice: EngineChoice, device: str) -> Synthesizer:
    if "python" in choice.options:
        return HostedEngine(
            "synthesizer", choice, describe("synthesizer", choice), device, idle_s=0.0, threads=usable_cores()
        )
    return LineSynthesizer(_module("synthesizer", choice.name).load(choice, device))


def load_translator(choice: EngineChoice) -> Translator:
    """Raises `EngineUnavailable`. The option `cache` is the folder of answers."""
    translator: Translator = _module("translator", choice.name).load(choice, "cpu")
    return translator


def describe(slot: Slot, choice: EngineChoice) -> EngineSpec:
    return _module(slot, choice.name).describe(choice)


def load(slot: Slot, choice: EngineChoice, device: str) -> Diarizer | Transcriber | Synthesizer:
    """A warm engine. Raises `EngineUnavailable`."""
    if slot == "synthesizer":
        return load_synthesizer(choice, device)
    return load_diarizer(choice, device) if slot == "diarizer" else load_transcriber(choice, device)


def _load(slot: Slot, choice: EngineChoice, device: str) -> Any:
    if "python" in choice.options:
        return HostedEngine(slot, choice, describe(slot, choice), device, idle_s=0.0, threads=usable_cores())
    return _module(slot, choice.name).load(choice, device)


def _module(slot: Slot, name: str) -> ModuleType:
    modules, setting = _SLOTS[slot]
    if name in _REMOVED:
        raise EngineUnavailable(f"{setting} names the {slot} {name!r}, which was removed. Use {_REMOVED[name]!r}.")
    if name not in modules:
        raise EngineUnavailable(
            f"{setting} names the {slot} {name!r}, which does not exist. Choose one of: {', '.join(modules)}."
        )
    return import_module(modules[name])
