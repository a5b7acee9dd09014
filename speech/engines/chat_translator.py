"""Translation by a chat model: `ollama:http://127.0.0.1:11434?model=qwen2.5:14b`, `openai:https://host/v1?model=name`.

Ten lines at a time are translated, then looked at and adapted. Each line is checked here: a wrong answer is asked for again,
then with strict rules, then for half of the lines; what is wrong after that is named. Only valid lines are cached.
PODLAKE_TRANSLATION_API_KEY is sent as a bearer token.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from speech.engines.chat_server import BadAnswer, ChatServer, Dialect
from speech.engines.installed import require
from speech.engines.protocols import EngineChoice, EngineSpec
from speech.engines.translation_cache import TranslationCache, cache_key
from speech.engines.translation_prompts import PROMPT_VERSION, SCHEMA, AskedLine, Question, Task, translations
from speech.errors import EngineUnavailable, PodlakeError, policy_of
from speech.names_in_text import Name, names
from speech.translation_checks import Problem, problems, terms_in
from speech.types import Term, TranslatedLine, TranslationRequest

KEY_VARIABLE = "PODLAKE_TRANSLATION_API_KEY"
LINES_AT_ONCE, CHARACTERS_AT_ONCE = 10, 600
LINES_BEFORE, LINES_AFTER = 3, 2
"""Context of the lines that are translated together."""
TRIES = 3
"""Before the strict one."""
_TEMPERATURES = (0.0, 0.3, 0.6)
"""The same question would get the same wrong answer."""
_TRIES_OF_HALVES = 1
_TRIES_TO_IMPROVE = 1
"""Where there is a valid translation already, a wrong answer costs less."""
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
        lesson = _Lesson(self, request)
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
        return _Lesson(self, request).shortened(line_idx, text, max_chars)

    def close(self) -> None:
        self.server.close()


@dataclass(frozen=True, slots=True)
class _Found:
    """A line's best translation so far, and how many answers it took."""

    text: str | None
    problem: str | None
    n_tries: int


@dataclass
class _Lesson:
    """The work on one request."""

    translator: ChatTranslator
    request: TranslationRequest
    done: dict[int, TranslatedLine] = field(default_factory=dict)
    named: Sequence[Sequence[Name]] = field(init=False)
    terms: Sequence[Sequence[Term]] = field(init=False)

    def __post_init__(self) -> None:
        self.named = names(self.request.lines, self.request.source_language)
        self.terms = [terms_in(line, self.request.terms) for line in self.request.lines]

    def parts(self) -> Iterator[list[int]]:
        """The lines to translate, ten or 600 characters at a time. Cached ones, and those without words, are done."""
        part: list[int] = []
        for index, line in enumerate(self.request.lines):
            if not any(one.isalnum() for one in line):
                self.done[index] = TranslatedLine(index, None, "The line has no words.", n_tries=0)
                continue
            cached = self.translator.cache.get(self._key(index))
            if cached is not None and not self._problems(index, cached) and self._fits(index, cached):
                self.done[index] = TranslatedLine(index, cached, n_tries=0)
                continue
            n_characters = sum(len(self.request.lines[one]) for one in part)
            if part and (len(part) == LINES_AT_ONCE or n_characters + len(line) > CHARACTERS_AT_ONCE):
                yield part
                part = []
            part.append(index)
        if part:
            yield part

    def translate(self, part: Sequence[int]) -> None:
        """Translate, adapt, and shorten what is too long. Raises the server's `PodlakeError`."""
        found = self._asked("translate", part, {}, TRIES, halves=True)
        valid = [index for index in part if found[index].text]
        if valid and self.translator.spec.settings["reflect"]:
            self._improve("adapt", valid, found)
        long = [index for index in valid if not self._fits(index, found[index].text or "")]
        if long:
            self._improve("shorten", long, found)
        for index in part:
            self._finish(index, found[index])

    def fail(self, part: Sequence[int], problem: str) -> None:
        for index in part:
            self.done[index] = TranslatedLine(index, None, problem)

    def shortened(self, index: int, text: str, max_chars: int) -> TranslatedLine:
        if len(text) <= max_chars:
            return TranslatedLine(index, text, n_tries=0)
        key = self._key(index, "shorten", text, max_chars)
        cached = self.translator.cache.get(key)
        if cached is not None and len(cached) <= max_chars and not self._problems(index, cached):
            return TranslatedLine(index, cached, n_tries=0)
        start = {index: _Found(text, None, 0)}
        found = self._asked("shorten", [index], start, TRIES, halves=False, limits={index: max_chars})[index]
        if found.text is None:
            return TranslatedLine(index, None, f"It could not be shortened. {found.problem}", found.n_tries)
        if found.problem is None:
            self.translator.cache.put(key, found.text)
        return TranslatedLine(index, found.text, found.problem, found.n_tries)

    def _finish(self, index: int, found: _Found) -> None:
        problem = found.problem
        if found.text is not None:
            if not self._fits(index, found.text):
                limit = f"The line has {len(found.text)} characters, {self.request.limit(index)} fit."
                problem = f"{problem} {limit}" if problem else limit
            if problem is None:
                self.translator.cache.put(self._key(index), found.text)
        self.done[index] = TranslatedLine(index, found.text, problem, found.n_tries)

    def _improve(self, task: Task, part: Sequence[int], found: dict[int, _Found]) -> None:
        """Replace translations by better ones, where the answers are valid; no valid one by one with a problem."""
        limits = {index: self.request.limit(index) for index in part} if task == "shorten" else {}
        try:
            new = self._asked(task, part, found, _TRIES_TO_IMPROVE, halves=False, limits=limits)
        except PodlakeError as error:
            if not policy_of(error.error_class).retryable:
                raise
            return  # the server has just answered: what it said then is valid
        for index in part:
            old, better = found[index], new[index]
            n_tries = old.n_tries + better.n_tries
            is_taken = better.text is not None and not (old.problem is None and better.problem)
            found[index] = (
                _Found(better.text, better.problem, n_tries) if is_taken else _Found(old.text, old.problem, n_tries)
            )

    def _asked(
        self,
        task: Task,
        part: Sequence[int],
        known: Mapping[int, _Found],
        tries: int,
        *,
        halves: bool,
        limits: Mapping[int, int | None] | None = None,
    ) -> dict[int, _Found]:
        """What the model makes of the lines: so many tries, a strict one, then half of what is still wrong at a time."""
        limits = limits or {}
        found: dict[int, _Found] = {index: _Found(None, None, 0) for index in part}
        waiting = list(part)
        for attempt in range(tries + 1):
            is_strict = attempt == tries
            for index, text in self._answer(task, waiting, known, found, attempt, is_strict, limits).items():
                wrong = self._problems(index, text)
                said = " ".join(one.message for one in wrong)
                limit = limits.get(index)
                if limit is not None and len(text) > limit:
                    said = f"{said} The line has {len(text)} characters, {limit} fit.".strip()
                    is_certain = True
                else:
                    is_certain = any(one.is_certain for one in wrong)
                is_taken = not said or (is_strict and not is_certain)
                found[index] = _Found(text if is_taken else None, said or None, found[index].n_tries)
            waiting = [index for index in waiting if found[index].text is None]
            if not waiting:
                return found
        if halves and len(waiting) > 1:
            middle = len(waiting) // 2
            for half in (waiting[:middle], waiting[middle:]):
                again = self._asked(task, half, known, _TRIES_OF_HALVES, halves=True, limits=limits)
                for index in half:
                    before = found[index].n_tries
                    found[index] = _Found(again[index].text, again[index].problem, before + again[index].n_tries)
        return found

    def _answer(
        self,
        task: Task,
        waiting: Sequence[int],
        known: Mapping[int, _Found],
        found: dict[int, _Found],
        attempt: int,
        is_strict: bool,
        limits: Mapping[int, int | None],
    ) -> dict[int, str]:
        """One question. An answer that is wrong as a whole gives nothing, and is noted for each line."""
        lines = tuple(
            AskedLine(
                self.request.lines[index], known[index].text if index in known else None,
                limits.get(index, self.request.limit(index)), found[index].problem,
            )
            for index in waiting
        )  # fmt: skip
        first, last = min(waiting), max(waiting)
        question = Question(
            task, self.request.source_language, self.request.target_language, lines,
            before=self.request.lines[max(0, first - LINES_BEFORE) : first],
            after=self.request.lines[last + 1 : last + 1 + LINES_AFTER],
            terms=tuple(dict.fromkeys(term for index in waiting for term in self.terms[index])), is_strict=is_strict,
        )  # fmt: skip
        for index in waiting:
            found[index] = _Found(None, found[index].problem, found[index].n_tries + 1)
        temperature = _TEMPERATURES[min(attempt, len(_TEMPERATURES) - 1)]
        try:
            answer = self.translator.server.ask(question.messages(), SCHEMA, temperature=temperature, seed=attempt + 1)
            return dict(zip(waiting, translations(answer, len(waiting)), strict=True))
        except BadAnswer as error:
            for index in waiting:
                found[index] = _Found(None, str(error), found[index].n_tries)
            return {}

    def _problems(self, index: int, text: str) -> list[Problem]:
        return problems(
            self.request.lines[index], text, self.request.source_language, self.request.target_language,
            terms=self.terms[index], names=self.named[index],
        )  # fmt: skip

    def _fits(self, index: int, text: str) -> bool:
        limit = self.request.limit(index)
        return limit is None or len(text) <= limit

    def _key(self, index: int, *more: str | int) -> str:
        """Everything that a line's translation depends on."""
        request, spec = self.request, self.translator.spec
        return cache_key(
            spec.name, spec.revision, spec.fingerprint, request.source_language, request.target_language,
            request.lines[max(0, index - LINES_BEFORE) : index + 1 + LINES_AFTER], request.lines[index],
            [(term.source, term.target, term.note) for term in self.terms[index]], request.limit(index), *more,
        )  # fmt: skip
