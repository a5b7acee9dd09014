"""Servers that speak OpenAI's `/v1/audio/speech`: Kokoro, Chatterbox, and others.

`openai:http://127.0.0.1:8880/v1?voice=af_sky&model=kokoro&exaggeration=0.5`; options that podlake does not know are sent
to the server. PODLAKE_SPEECH_API_KEY is sent as a bearer token. A call has at most 300 characters: Chatterbox cuts or
invents speech after 40 s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from speech.engines.line_synthesizer import Sound
from speech.engines.protocols import EngineChoice, EngineSpec
from speech.engines.speech_server import SpeechServer, sound_of
from speech.errors import BadOutput
from speech.script import without_sound_tags
from speech.types import Line

CHARACTERS_AT_ONCE = 300
PAUSE_MS = 120
"""Between the parts of a long turn."""
KEY_VARIABLE = "PODLAKE_SPEECH_API_KEY"
_OWN_OPTIONS = frozenset({"languages", "timeout_s", "python"})
_BREAKS = (re.compile(r"(?<=[.!?。！？])\s*"), re.compile(r"(?<=[,;:，；：])\s*"), re.compile(r"\s+"))
"""Where a long text is cut: after sentences, else after clauses, else between words."""


def describe(choice: EngineChoice) -> EngineSpec:
    sent = {name: value for name, value in choice.options.items() if name not in _OWN_OPTIONS}
    languages = choice.options.get("languages")
    known = frozenset(languages.replace(" ", ",").split(",")) if languages else None
    return EngineSpec("openai", sent.get("model", "tts-1"), sent.get("revision", "as served"), sent, known)


def load(choice: EngineChoice, device: str) -> OpenAiVoice:  # noqa: ARG001 - the server has the device
    timeout_s = float(choice.options.get("timeout_s", 300.0))
    server = SpeechServer.at(
        choice.model, engine="openai", api_key=os.environ.get(KEY_VARIABLE, ""), timeout_s=timeout_s
    )
    return OpenAiVoice(describe(choice), server)


@dataclass(frozen=True)
class OpenAiVoice:
    spec: EngineSpec
    server: SpeechServer

    def say(self, line: Line) -> Sound:
        """The turn in calls of at most 300 characters, with a short pause between them."""
        parts = list(chunks(without_sound_tags(line.text)))
        said: list[np.ndarray] = []
        rate_hz = 0
        with self.server.leased():
            for number, part in enumerate(parts, start=1):
                sound = self._call(part, line)
                if said and sound.sample_rate_hz != rate_hz:
                    raise BadOutput(
                        f"{self.server.url} changed its sample rate from {rate_hz} to {sound.sample_rate_hz}."
                    )
                rate_hz = sound.sample_rate_hz
                said += [np.zeros(PAUSE_MS * rate_hz // 1000, np.int16)] if said else []
                said.append(sound.samples)
                line.report(line.duration_ms * number // len(parts))
        return Sound(np.concatenate(said), rate_hz)

    def close(self) -> None:
        self.server.close()

    def _call(self, text: str, line: Line) -> Sound:
        body: dict[str, object] = {
            "model": "tts-1",
            "voice": "alloy",
            **{name: _number_or_text(str(value)) for name, value in self.spec.settings.items() if name != "revision"},
            "input": text,
            "response_format": "wav",
            "seed": line.seed,  # devnen's server takes it; OpenAI ignores it
        }
        path = "/audio/speech" if self.server.url.endswith("/v1") else "/v1/audio/speech"
        sound = sound_of(self.server.request("POST", path, json=body).content, self.server.url)
        if not np.any(sound.samples):
            raise BadOutput(f"{line.episode_id}: {self.server.url} answered with silence for {text[:60]!r}.")
        return sound


def chunks(text: str, most: int = CHARACTERS_AT_ONCE) -> Iterator[str]:
    """The text in parts of at most `most` characters, cut where a speaker would breathe."""
    waiting = ""
    for part in _pieces(text.strip(), most, 0):
        if waiting and len(waiting) + 1 + len(part) > most:
            yield waiting
            waiting = ""
        waiting = f"{waiting} {part}" if waiting else part
    if waiting:
        yield waiting


def _pieces(text: str, most: int, level: int) -> Iterator[str]:
    if len(text) <= most:
        if text:
            yield text
    elif level == len(_BREAKS):
        yield from (text[start : start + most] for start in range(0, len(text), most))
    else:
        for part in _BREAKS[level].split(text):
            yield from _pieces(part.strip(), most, level + 1) if len(part) > most else filter(None, [part.strip()])


def _number_or_text(value: str) -> object:
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() else number
