"""Chatterbox behind a service of its own: voices that are cloned, in 23 languages.

`chatterbox:http://127.0.0.1:8001?clone=segment&exaggeration=0.5&cfg_weight=0.4`. `clone` is `none` (the service's own
voice), `one` (one reference of each speaker, or the file `reference`) or `segment` (each line has its own). A call has at
most 300 characters, because the model stops after 40 s; calls go one by one, because it is not safe in threads. The model
keeps the last reference, so that a voice without one may sound like the call before: do not mix `none` with the others.
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speech.engines.line_synthesizer import Sound
from speech.engines.openai_speech import CHARACTERS_AT_ONCE, PAUSE_MS, chunks
from speech.engines.protocols import EngineChoice, EngineSpec
from speech.engines.speech_server import SpeechServer, sound_of
from speech.errors import BadOutput, EngineUnavailable, HttpServerError
from speech.script import without_sound_tags
from speech.types import Line

CLONE_MODES = ("none", "one", "segment")
LANGUAGES = frozenset(
    {"ar", "da", "de", "el", "en", "es", "fi", "fr", "he", "hi", "it", "ja", "ko", "ms", "nl", "no", "pl", "pt", "ru",
     "sv", "sw", "tr", "zh"}
)  # fmt: skip
LONGEST_S = 39.5
"""The model stops at 40 s: sound of this length was cut."""


def describe(choice: EngineChoice) -> EngineSpec:
    settings: dict[str, str | int | float | bool] = {
        "clone": choice.options.get("clone", "none"),
        "exaggeration": float(choice.options.get("exaggeration", 0.5)),
        "cfg_weight": float(choice.options.get("cfg_weight", 0.4)),
        "reference": _digest(choice.options.get("reference", "")),
    }
    return EngineSpec("chatterbox", "chatterbox", choice.options.get("revision", "as served"), settings, LANGUAGES)


def load(choice: EngineChoice, device: str) -> ChatterboxVoice:  # noqa: ARG001 - the server has the device
    clone = choice.options.get("clone", "none")
    if clone not in CLONE_MODES:
        raise EngineUnavailable(f"Chatterbox knows the clone modes {', '.join(CLONE_MODES)}, not {clone!r}.")
    timeout_s = float(choice.options.get("timeout_s", 300.0))
    reference = choice.options.get("reference", "")
    path = Path(reference).expanduser() if reference else None
    if path is not None and not path.is_file():
        raise EngineUnavailable(f"The reference {path} of the voice chatterbox does not exist.")
    return ChatterboxVoice(
        describe(choice), SpeechServer.at(choice.model, engine="chatterbox", timeout_s=timeout_s), path
    )


@dataclass(frozen=True)
class ChatterboxVoice:
    spec: EngineSpec
    server: SpeechServer
    reference: Path | None
    """The recording of every line, if the settings name one."""

    def say(self, line: Line) -> Sound:
        """The line in calls of at most 300 characters, each with the reference of the line."""
        clone = self.spec.settings["clone"]
        reference = None if clone == "none" else self.reference or line.reference
        if clone != "none" and reference is None:
            raise BadOutput(f"{line.episode_id} has no recording of its speaker to clone.")
        parts = list(chunks(without_sound_tags(line.text), CHARACTERS_AT_ONCE))
        said: list[np.ndarray] = []
        rate_hz = 0
        with self.server.leased():
            self._require_model()
            for number, part in enumerate(parts, start=1):
                sound = self._call(part, line, reference)
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

    def _require_model(self) -> None:
        health = self.server.request("GET", "/health").json()
        if not health.get("model_loaded"):
            raise HttpServerError(f"{self.server.url} has not loaded its model yet: {health}.")

    def _call(self, text: str, line: Line, reference: Path | None) -> Sound:
        settings = self.spec.settings
        body: dict[str, Any] = {
            "text": text, "language": line.language, "exaggeration": settings["exaggeration"],
            "cfg_weight": settings["cfg_weight"],
        }  # fmt: skip
        with ExitStack() as stack:
            if reference is None:
                answer = self.server.request("POST", "/api/tts/generate", json=body)
                content = _audio_of(answer.json(), self.server.url)
            else:
                file = stack.enter_context(reference.open("rb"))
                form = {name: str(value) for name, value in body.items()}
                files = {"reference_audio": (reference.name, file, "audio/wav")}
                content = self.server.request("POST", "/api/tts/generate-file", data=form, files=files).content
        sound = sound_of(content, self.server.url)
        if not np.any(sound.samples):
            raise BadOutput(f"{line.episode_id}: {self.server.url} answered with silence for {text[:60]!r}.")
        if len(sound.samples) >= LONGEST_S * sound.sample_rate_hz:
            raise BadOutput(f"{line.episode_id}: {self.server.url} was cut at 40 s in {text[:60]!r}.")
        return sound


def _audio_of(answer: Any, url: str) -> bytes:
    try:
        return base64.b64decode(answer["audio_base64"], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise BadOutput(f"{url} answered without audio_base64: {str(answer)[:100]}") from error


def _digest(reference: str) -> str:
    path = Path(reference).expanduser()
    if not reference or not path.is_file():
        return reference
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
