"""espeak-ng: a small, fast, robotic voice in a hundred languages. The same text always gives the same samples.

`espeak:en-gb?variant=f2&words_per_minute=150&pitch=60`; without a model, the voice is that of the line's language.
"""

from __future__ import annotations

from dataclasses import dataclass

from speech.engines import espeak_library
from speech.engines.installed import require, revision
from speech.engines.line_synthesizer import Sound
from speech.engines.protocols import EngineChoice, EngineSpec
from speech.script import without_sound_tags
from speech.types import Line

WORDS_PER_MINUTE = 150
PITCH = 50
_VOICES = {"en": "en-us", "en-gb": "en", "zh": "cmn", "no": "nb"}
"""Language → espeak-ng's name of its voice, where it is another one."""


def describe(choice: EngineChoice) -> EngineSpec:
    settings: dict[str, str | int | float | bool] = {
        "variant": choice.options.get("variant", ""),
        "words_per_minute": int(choice.options.get("words_per_minute", WORDS_PER_MINUTE)),
        "pitch": int(choice.options.get("pitch", PITCH)),
        "voice": choice.model or "",
    }
    spoken = None if choice.model else _languages()
    return EngineSpec("espeak", choice.model or "espeak-ng", revision(espeak_library.PACKAGE), settings, spoken)


def load(choice: EngineChoice, device: str) -> EspeakVoice:  # noqa: ARG001 - it has no device
    require("studio", espeak_library.PACKAGE)
    return EspeakVoice(describe(choice), choice.model)


def _languages() -> frozenset[str] | None:
    """The languages that it speaks without a model; None if it is not installed."""
    known = espeak_library.languages()
    return known and known | {language for language, voice in _VOICES.items() if voice in known}


@dataclass(frozen=True)
class EspeakVoice:
    spec: EngineSpec
    name: str | None

    def say(self, line: Line) -> Sound:
        settings = self.spec.settings
        voice = self.name or line.language
        voice = _VOICES.get(voice, voice)
        variant = f"+{settings['variant']}" if settings["variant"] else ""
        return espeak_library.speak(
            without_sound_tags(line.text), voice + variant,
            words_per_minute=int(settings["words_per_minute"]), pitch=int(settings["pitch"]),
        )  # fmt: skip

    def close(self) -> None:
        """Nothing to give back: the library stays loaded."""
