"""The work of a chat model on one lesson: parts of ten lines, each asked, checked, asked again, improved and cached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from speech.engines.chat_server import BadAnswer, ChatServer
from speech.engines.protocols import EngineSpec
from speech.engines.translation_cache import TranslationCache, cache_key
from speech.engines.translation_prompts import SCHEMA, AskedLine, Question, Task, translations
from speech.errors import PodlakeError, policy_of
from speech.names_in_text import Name, names
from speech.translation_checks import Problem, problems, term_pattern, terms_in
from speech.types import Term, TranslatedLine, TranslationRequest

LINES_AT_ONCE, CHARACTERS_AT_ONCE = 10, 600
LINES_BEFORE, LINES_AFTER = 3, 2
"""Context of the lines that are translated together."""
TERMS_AT_ONCE = 20
_LONGEST_TERM = 4
"""A translation of a term that is so many times as long as it is an explanation."""
TRIES = 3
"""Before the strict one."""
_TEMPERATURES = (0.0, 0.3, 0.6)
"""The same question would get the same wrong answer."""
_TRIES_OF_HALVES = 1
_TRIES_TO_IMPROVE = 1
"""Where there is a valid translation already, a wrong answer costs less."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A line's best translation so far, and how many answers it took."""

    text: str | None
    problem: str | None
    n_tries: int


@dataclass
class LessonTranslation:
    """The work on one request."""

    spec: EngineSpec
    server: ChatServer
    cache: TranslationCache
    request: TranslationRequest
    done: dict[int, TranslatedLine] = field(default_factory=dict)
    named: Sequence[Sequence[Name]] = field(init=False)
    terms: Sequence[Sequence[Term]] = field(init=False)
    """Of each line: those that its translation must have."""
    chosen: Sequence[Term] = ()
    """Terms without a translation in the list, with one by the model: the same one for all lines."""

    def __post_init__(self) -> None:
        self.named = names(self.request.lines, self.request.source_language)
        self.terms = [terms_in(line, self.request.terms) for line in self.request.lines]

    def choose_terms(self) -> None:
        """Let the model translate the terms that nobody has decided about. Without an answer, each line does."""
        text = "\n".join(self.request.lines)
        open_terms = [term for term in self.request.terms if not term.target and term_pattern(term.source).search(text)]
        for start in range(0, len(open_terms), TERMS_AT_ONCE):
            some = open_terms[start : start + TERMS_AT_ONCE]
            self.chosen = (*self.chosen, *self._chosen(some))

    def _chosen(self, some: Sequence[Term]) -> list[Term]:
        request, spec, cache = self.request, self.spec, self.cache
        context = tuple(line for line in request.lines if any(term_pattern(term.source).search(line) for term in some))
        question = Question(
            "terms", request.source_language, request.target_language, tuple(AskedLine(term.source) for term in some),
            before=context[:TERMS_AT_ONCE],
        )  # fmt: skip
        asked = [[one.role, one.content] for one in question.messages()]
        key = cache_key("terms", spec.name, spec.revision, spec.fingerprint, asked)
        with suppress(BadAnswer, PodlakeError):
            answer = cache.get(key) or self.server.ask(question.messages(), SCHEMA, temperature=0.0, seed=1)
            targets = translations(answer, len(some))
            cache.put(key, answer)
            return [
                replace(term, target=target)
                for term, target in zip(some, targets, strict=True)
                if target and len(target) <= _LONGEST_TERM * len(term.source)
            ]
        return []

    def parts(self) -> Iterator[list[int]]:
        """The lines to translate, ten or 600 characters at a time. Cached ones, and those without words, are done."""
        part: list[int] = []
        for index, line in enumerate(self.request.lines):
            if not any(one.isalnum() for one in line):
                self.done[index] = TranslatedLine(index, None, "The line has no words.", n_tries=0)
                continue
            cached = self.cache.get(self._key(index))
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
        if valid and self.spec.settings["reflect"]:
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
        cached = self.cache.get(key)
        if cached is not None and len(cached) <= max_chars and not self._problems(index, cached):
            return TranslatedLine(index, cached, n_tries=0)
        start = {index: _Found(text, None, 0)}
        found = self._asked("shorten", [index], start, TRIES, halves=False, limits={index: max_chars})[index]
        if found.text is None:
            return TranslatedLine(index, None, f"It could not be shortened. {found.problem}", found.n_tries)
        if found.problem is None:
            self.cache.put(key, found.text)
        return TranslatedLine(index, found.text, found.problem, found.n_tries)

    def _finish(self, index: int, found: _Found) -> None:
        problem = found.problem
        if found.text is not None:
            if not self._fits(index, found.text):
                limit = f"The line has {len(found.text)} characters, {self.request.limit(index)} fit."
                problem = f"{problem} {limit}" if problem else limit
            if problem is None:
                self.cache.put(self._key(index), found.text)
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
            terms=tuple(dict.fromkeys(term for index in waiting for term in self._shown_terms(index))), is_strict=is_strict,
        )  # fmt: skip
        for index in waiting:
            found[index] = _Found(None, found[index].problem, found[index].n_tries + 1)
        temperature = _TEMPERATURES[min(attempt, len(_TEMPERATURES) - 1)]
        try:
            answer = self.server.ask(question.messages(), SCHEMA, temperature=temperature, seed=attempt + 1)
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

    def _shown_terms(self, index: int) -> list[Term]:
        """Those of the list, and the model's own, which are a hint: it may inflect them as it likes."""
        return [*self.terms[index], *terms_in(self.request.lines[index], self.chosen)]

    def _fits(self, index: int, text: str) -> bool:
        limit = self.request.limit(index)
        return limit is None or len(text) <= limit

    def _key(self, index: int, *more: str | int) -> str:
        """Everything that a line's translation depends on."""
        request, spec = self.request, self.spec
        return cache_key(
            spec.name, spec.revision, spec.fingerprint, request.source_language, request.target_language,
            request.lines[max(0, index - LINES_BEFORE) : index + 1 + LINES_AFTER], request.lines[index],
            [(term.source, term.target, term.note) for term in self._shown_terms(index)], request.limit(index), *more,
        )  # fmt: skip
