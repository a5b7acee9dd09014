"""What a chat model is asked: to translate lines, to look at its translation and adapt it, to shorten; and its answers.

Every question has numbered lines, and every answer must have exactly these.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from speech.engines.chat_server import BadAnswer, Message
from speech.types import Term

PROMPT_VERSION = "2"
"""Raised with every change of the prompts: part of the engine's fingerprint and of the cache's keys."""

Task = Literal["terms", "translate", "adapt", "shorten"]
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "integer"},
                    "note": {"type": "string"},
                    "translation": {"type": "string"},
                },
                "required": ["id", "note", "translation"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["lines"],
    "additionalProperties": False,
}
_FENCE = re.compile(r"^```\w*\s*|\s*```$")
_TASKS: Mapping[Task, str] = {
    "terms": (
        "Each line of `lines` is a name or a term of the lesson, which is shown in part as context. Give the translation that "
        "experts of the field use. A name of a person or product stays as it is. Leave `note` empty."
    ),
    "translate": "Translate each line of `lines`. Leave `note` empty.",
    "adapt": (
        "Each line of `lines` has a `translation`. Write into `note`, in at most fifteen words, what is wrong or unnatural "
        "in it when it is spoken. Then write the better translation; keep it if nothing is wrong."
    ),
    "shorten": (
        "The `translation` of each line is too long to be spoken in its time. Say the same in at most `max_characters` "
        "characters: leave out what the listener can do without. Leave `note` empty."
    ),
}
_STRICT = (
    "Your answers were refused several times. Translate word by word if you must. Copy every number as digits and every "
    "name as it is. Answer with nothing but the JSON object."
)


@dataclass(frozen=True, slots=True)
class AskedLine:
    """A line as the model sees it."""

    text: str
    translation: str | None = None
    """What was made of it so far."""
    max_characters: int | None = None
    problem: str | None = None
    """Why the last answer was refused."""


@dataclass(frozen=True, slots=True)
class Question:
    """Lines of a lesson, and what is beside them."""

    task: Task
    source_language: str
    target_language: str
    lines: tuple[AskedLine, ...]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    is_strict: bool = False

    def messages(self) -> list[Message]:
        """The rules, and the lines as JSON."""
        content: dict[str, Any] = {
            "context_before": list(self.before),
            "lines": [_asked(number, line) for number, line in enumerate(self.lines, start=1)],
            "context_after": list(self.after),
        }
        if self.terms:
            content["terms"] = [
                {
                    name: value
                    for name, value in (("source", term.source), ("target", term.target), ("note", term.note))
                    if value
                }
                for term in self.terms
            ]
        return [Message("system", self._rules()), Message("user", json.dumps(content, ensure_ascii=False))]

    def _rules(self) -> str:
        source, target = _language_name(self.source_language), _language_name(self.target_language)
        rules = [
            f"You translate what is said in a video lesson from {source} to {target}. The translation is spoken and shown as "
            "subtitles, so it is natural speech, and as short as the source.",
            _TASKS[self.task],
            f"Answer with a JSON object: {{\"lines\": [{{\"id\": 1, \"note\": \"\", \"translation\": \"…\"}}]}}, with exactly "
            f"the ids 1 to {len(self.lines)}, each once, in this order. Never join, split or leave out lines.",
            "Keep every number. Keep names of people, products and places. Use the `target` of a term wherever its `source` "
            "occurs. Do not translate the context; it is there to be understood.",
            "Keep to `max_characters` where a line has them. If a line has a `problem`, your last answer was refused for it.",
        ]  # fmt: skip
        return "\n".join([*rules, *([_STRICT] if self.is_strict else [])])


class _AnsweredLine(BaseModel):
    id: int
    translation: str


class _Answer(BaseModel):
    lines: list[_AnsweredLine]


def translations(answer: str, n_lines: int) -> list[str]:
    """The translations of an answer, in the order of the question. Raises `BadAnswer` unless each line has one.

    Models wrap the object in a list or a code fence, or repeat `lines` alone: that is understood.
    """
    try:
        content = json.loads(_FENCE.sub("", answer.strip()))
    except ValueError as error:
        raise BadAnswer(f"The answer is no JSON: {error}") from error
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict) and "lines" in content[0]:
        content = content[0]
    if isinstance(content, list):
        content = {"lines": content}
    try:
        lines = _Answer.model_validate(content).lines
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BadAnswer(f"The answer is not of the wanted form: {place}: {first['msg']}.") from error
    ids = [line.id for line in lines]
    if sorted(ids) != list(range(1, n_lines + 1)):
        raise BadAnswer(f"The answer has the lines {_spans(ids)} instead of 1 to {n_lines}.")
    by_id = {line.id: line.translation for line in lines}
    return [" ".join(by_id[number].split()) for number in range(1, n_lines + 1)]


def _asked(number: int, line: AskedLine) -> dict[str, Any]:
    fields = {
        "id": number, "text": line.text, "translation": line.translation, "max_characters": line.max_characters,
        "problem": line.problem,
    }  # fmt: skip
    return {name: value for name, value in fields.items() if value is not None}


def _language_name(language: str) -> str:
    import langcodes

    return str(langcodes.Language.get(language).display_name())


def _spans(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids[:30])) or "none"
