"""Translation by a chat model: `ollama:http://127.0.0.1:11434?model=qwen2.5:14b`, `openai:https://host/v1?model=name`.

Ten lines at a time are translated, then looked at and adapted. Each line is checked here: a wrong answer is asked for again,
then with strict rules, then for half of the lines; what is wrong after that is named. Only valid lines are cached.
PODLAKE_TRANSLATION_API_KEY is sent as a bearer token.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from speech.engines.chat_server import ChatServer, Dialect
from speech.engines.installed import require
from speech.engines.lesson_translation import LessonTranslation
from speech.engines.protocols import EngineChoice, EngineSpec
from speech.engines.translation_cache import TranslationCache
from speech.engines.translation_prompts import PROMPT_VERSION
from speech.errors import EngineUnavailable, PodlakeError, policy_of
from speech.types import TranslatedLine, TranslationRequest

KEY_VARIABLE = "PODLAKE_TRANSLATION_API_KEY"
_FAILED_IN_A_ROW = 2
"""So many parts of a lesson that get no answer at all mean that the server is not there."""


def describe(choice: EngineChoice) -> EngineSpec:
    model = choice.options.get("model", "")
    settings: dict[str, str | int | float | bool] = {"reflect": _is_on(choice, "reflect"), "prompts": PROMPT_VERSION}
    return EngineSpec(choice.name, model or "none", f"{model} {choice.options.get('revision', 'as served')}", settings)


def load(choice: EngineChoice, device: str) -> ChatTranslator:  # noqa: ARG001 - the server has the device
    """Raises `EngineUnavailable` without an address or model. The server is not asked yet."""
    require("studio", "num2words")
    model = choice.options.get("model")
    if not model:
        raise EngineUnavailable(
            f"The translator {choice.name} needs a model: "
            f"PODLAKE_TRANSLATOR={choice.name}:{choice.model or 'http://127.0.0.1:11434'}?model=qwen2.5:14b"
        )
    dialect: Dialect = "ollama" if choice.name == "ollama" else "openai"
    server = ChatServer(
        choice.model or "", dialect, model, os.environ.get(KEY_VARIABLE, ""),
        timeout_s=float(choice.options.get("timeout_s", 300.0)),
        context_tokens=int(choice.options.get("context", 8_192)), sends_schema=_is_on(choice, "schema"),
    )  # fmt: skip
    folder = choice.options.get("cache")
    return ChatTranslator(describe(choice), server, TranslationCache(Path(folder) if folder else None))


def _is_on(choice: EngineChoice, option: str) -> bool:
    return choice.options.get(option, "yes") not in ("no", "false", "0")


@dataclass(frozen=True)
class ChatTranslator:
    spec: EngineSpec
    server: ChatServer
    cache: TranslationCache

    def translate(self, request: TranslationRequest) -> list[TranslatedLine]:
        """The lines that are not in the cache, ten at a time, each part with the lines around it.

        A part whose server gives no answer has failed lines; two such parts in a row, or an answer that no repetition
        changes (401, no such model), raise their error.
        """
        lesson = self._lesson(request)
        lesson.choose_terms()
        failures: list[PodlakeError] = []
        for part in lesson.parts():
            try:
                lesson.translate(part)
                failures.clear()
            except PodlakeError as error:
                failures.append(error)
                if len(failures) == _FAILED_IN_A_ROW or not policy_of(error.error_class).retryable:
                    raise
                lesson.fail(part, str(error))
            request.report(len(lesson.done))
        if failures and not any(line.text for line in lesson.done.values()):
            raise failures[0]
        return [lesson.done[index] for index in range(len(request.lines))]

    def shorten(self, request: TranslationRequest, line_idx: int, text: str, max_chars: int) -> TranslatedLine:
        """Raises the server's `PodlakeError`."""
        return self._lesson(request).shortened(line_idx, text, max_chars)

    def close(self) -> None:
        self.server.close()

    def _lesson(self, request: TranslationRequest) -> LessonTranslation:
        return LessonTranslation(self.spec, self.server, self.cache.of(request.owner), request)
