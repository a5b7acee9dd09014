"""A dialogue script: `[S1] Hello. [S2] Hi!`. It is read without loss: its turns, joined, are the script again."""

from __future__ import annotations

import re
from dataclasses import dataclass

from speech.plain_text import is_text

MAX_CHARACTERS = 10_000
"""A script has fewer."""
SPEAKERS = ("S1", "S2", "S3", "S4")
_TAG = re.compile(r"\[(S\d+)\]")
_SOUND_TAG = re.compile(r"<\|[a-zA-Z_]+\|>")
"""`<|laughter|>`: a sound, or a dialect, that some voices know."""


class ScriptRefused(ValueError):
    """The script is against a rule: a code for programs, and a message that says what to change."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class ScriptTurn:
    """What one speaker says before the next tag."""

    speaker: str
    text: str
    """As written, without white space at its ends. It may have line breaks and brackets."""

    def __str__(self) -> str:
        return f"[{self.speaker}] {self.text}"


def parse_script(script: str) -> tuple[ScriptTurn, ...]:
    """The turns of a script. Raises `ScriptRefused`."""
    _check_whole(script)
    parts = _TAG.split(script)
    if parts[0].strip():
        raise ScriptRefused(
            "text_before_first_speaker", f"Begin with a speaker's tag, such as [S1]: {_shown(parts[0])} has no speaker."
        )
    turns = tuple(ScriptTurn(speaker, text.strip()) for speaker, text in zip(parts[1::2], parts[2::2], strict=True))
    for number, turn in enumerate(turns, start=1):
        if turn.speaker not in SPEAKERS:
            raise ScriptRefused(
                "too_many_speakers", f"Turn {number} is by {turn.speaker}: the speakers are {', '.join(SPEAKERS)}."
            )
        if not any(character.isalnum() for character in without_sound_tags(turn.text)):
            raise ScriptRefused(
                "empty_turn", f"Turn {number}, by {turn.speaker}, says nothing. Write a text or remove it."
            )
    if not {"S1", "S2"} & {turn.speaker for turn in turns}:
        raise ScriptRefused("no_speaker", "Let [S1] or [S2] speak: the script has neither.")
    return turns


def joined(turns: tuple[ScriptTurn, ...]) -> str:
    """The script of these turns."""
    return " ".join(map(str, turns))


def is_same_script(left: str, right: str) -> bool:
    """Whether two scripts differ at most in white space."""
    return _TAG.sub(r" \g<0> ", left).split() == _TAG.sub(r" \g<0> ", right).split()


def without_sound_tags(text: str) -> str:
    """The text for a voice that would read the tags aloud."""
    return " ".join(_SOUND_TAG.sub(" ", text).split())


def _check_whole(script: str) -> None:
    if not script.strip():
        raise ScriptRefused("empty_script", "The script is empty. Write turns such as: [S1] Hello. [S2] Hi!")
    if len(script) >= MAX_CHARACTERS:
        raise ScriptRefused(
            "script_too_long",
            f"The script has {len(script):,} characters; it may have fewer than {MAX_CHARACTERS:,}. Shorten or divide it.",
        )
    if not is_text(script):
        raise ScriptRefused("not_text", "The script has control characters. Save it as plain text in UTF-8.")
    if not _TAG.search(script):
        raise ScriptRefused("no_speaker", "Name who speaks: begin each turn with [S1] or [S2].")


def _shown(text: str) -> str:
    words = " ".join(text.split())
    return repr(words if len(words) <= 40 else f"{words[:40]}…")
