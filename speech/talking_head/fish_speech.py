"""The client of fish-speech, which says a text with the voice of a recording."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from speech.engines.line_synthesizer import FASTEST_PER_S, SILENT_DBFS, SLACK_S, SLOWEST_PER_S, Sound
from speech.engines.speech_server import sound_of
from speech.errors import BadOutput, HeadServiceFailed
from speech.talking_head.device import HeadDevice
from speech.talking_head.heygem import Patience
from speech.talking_head.service import asked, client, code_of, json_of, shown

LANGUAGES = frozenset({"en", "zh"})
"""That it understands in a reference."""
LONGEST_PIECE = 300
"""Characters in a call: longer ones lose words."""
PAUSE_MS = 200
"""Between pieces."""
WARM_UPS = 24
"""Answers of a server whose recognition is still loading, before the client gives up: two minutes."""
PREPARE_S, SAY_S = 120.0, 600.0
SMALLEST_BYTES = 1_000
"""A WAV file that is smaller holds no word."""


@dataclass(frozen=True)
class Reference:
    """A recording that the server has prepared."""

    audio: str
    """As the server names it."""
    text: str
    """What it has understood."""


def prepare(
    device: HeadDevice, reference: str, language: str, patience: Patience, goes_on: Callable[[], None]
) -> Reference:
    """Let the server prepare a recording, named relative to its folder. Raises `HeadServiceFailed`.

    A server that has just started answers with -1 until its recognition is loaded.
    """
    answer = {}
    for number in range(WARM_UPS):
        if number:
            patience.sleep()
            goes_on()
        with client(PREPARE_S) as http:
            task = {"format": "wav", "reference_audio": reference, "lang": language}
            answer = json_of(asked(http, "POST", f"{device.speech_url}/v1/preprocess_and_tran", json=task))
        if code_of(answer) == 0:
            audio, text = answer.get("asr_format_audio_url"), answer.get("reference_audio_text")
            if isinstance(audio, str) and audio and isinstance(text, str):
                return Reference(audio, text)
            break
    raise HeadServiceFailed(f"{device.speech_url} cannot prepare the reference: {shown(str(answer))}")


def say(device: HeadDevice, text: str, reference: Reference, goes_on: Callable[[], None]) -> Sound:
    """The text with the voice of the reference. Raises `BadOutput` for what cannot be it, and `HeadServiceFailed`."""
    sounds = []
    for piece in pieces(text):
        goes_on()
        sounds.append(_said(device, piece, reference))
    return joined(sounds)


def joined(sounds: Sequence[Sound]) -> Sound:
    """The pieces with pauses between them. Raises `BadOutput` if there are none, or their sample rates differ."""
    rates = {sound.sample_rate_hz for sound in sounds}
    if len(rates) != 1:
        raise BadOutput(f"The pieces of a text have the sample rates {sorted(rates)}.")
    (rate_hz,) = rates
    pause = np.zeros(rate_hz * PAUSE_MS // 1000, np.int16)
    parts = [part for sound in sounds for part in (pause, sound.samples)]
    return Sound(np.concatenate(parts[1:]), rate_hz)


def pieces(text: str, longest: int = LONGEST_PIECE) -> list[str]:
    """The text in pieces of at most so many characters, cut after sentences, else after commas, else between words."""
    found: list[str] = []
    for sentence in re.findall(r"[^.!?。！？]+[.!?。！？]*\s*|[.!?。！？]+\s*", text.strip()):
        for part in _short(sentence, longest):
            if found and len(found[-1]) + len(part) <= longest:
                found[-1] += part
            else:
                found.append(part)
    return [piece.strip() for piece in found if piece.strip()]


def _short(sentence: str, longest: int) -> list[str]:
    parts = []
    while len(sentence) > longest:
        cuts = [match.end() for match in re.finditer(r"[,;:，；：]\s*", sentence[:longest])]
        spaces = [match.end() for match in re.finditer(r"\s+", sentence[:longest])]
        at = next((cut for cut in reversed(cuts) if cut > longest // 3), spaces[-1] if spaces else longest)
        parts.append(sentence[:at])
        sentence = sentence[at:]
    return [*parts, sentence]


def _said(device: HeadDevice, piece: str, reference: Reference) -> Sound:
    task = {
        "speaker": uuid.uuid4().hex, "text": piece, "format": "wav", "topP": 0.7, "max_new_tokens": 1024,
        "chunk_length": 100, "repetition_penalty": 1.2, "temperature": 0.7, "need_asr": False, "streaming": False,
        "is_fixed_seed": 0, "is_norm": 0, "reference_audio": reference.audio, "reference_text": reference.text,
    }  # fmt: skip
    url = f"{device.speech_url}/v1/invoke"
    with client(SAY_S) as http:
        content = asked(http, "POST", url, json=task).content
    if content[:4] == b"RIFF" and len(content) < SMALLEST_BYTES:
        raise BadOutput(f"{url} answered with a WAV file of {len(content)} bytes, which holds no word.")
    if content[:4] != b"RIFF":
        raise BadOutput(f"{url} answered with no WAV file: {shown(content[:200].decode('utf-8', 'replace'))}")
    sound = sound_of(content, url)
    check_length(sound, piece, url)
    return sound


def check_length(sound: Sound, text: str, source: str) -> None:
    """Raise `BadOutput` if the sound is silent, or too short or too long to be the text."""
    spoken = sum(char.isalnum() for char in text)
    seconds = len(sound.samples) / sound.sample_rate_hz
    power = float(np.square(sound.samples.astype(np.float64) / 32_768).mean()) if len(sound.samples) else 0.0
    if power < 10 ** (SILENT_DBFS / 10):
        raise BadOutput(f"{source} gave silence instead of {text[:60]!r}.")
    if not spoken / FASTEST_PER_S <= seconds <= SLACK_S + spoken / SLOWEST_PER_S:
        raise BadOutput(f"{source} gave {seconds:.1f} s for {spoken} letters: {text[:60]!r} was not said as it is.")
