"""What a translated line must have kept: its language, numbers, names and terms. Every translator's lines are checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from speech.names_in_text import Name, missing_names
from speech.numbers_in_text import number_problems
from speech.spelled_numbers import plain_letters
from speech.types import Term

ENOUGH_LETTERS = 20
"""The language of a shorter line is not looked at."""
_OTHER_LANGUAGE, _SOURCE_LANGUAGE = 25.0, 8.0
"""How much likelier (as a difference of logarithms) another language, or the source, must be to be called the line's."""
_LONGEST_RATIO, _SLACK_CHARACTERS = 4, 60
"""A translation with more characters than this has more than the translation in it."""
_UNSPACED = frozenset({"zh", "ja", "th", "km", "lo", "my"})
_WORD = re.compile(r"[^\W\d_]+")
_LANGUAGES = frozenset({
    "ar", "bg", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "he", "hi", "hr", "hu", "id", "it", "ja",
    "ko", "lt", "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv", "th", "tr", "uk", "vi", "zh",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a translated line."""

    message: str
    is_certain: bool = True
    """False: a word with a capital is gone that may be a word like others. The line may stay, with the problem."""


def problems(
    source: str,
    target: str,
    source_language: str,
    target_language: str,
    *,
    terms: Sequence[Term] = (),
    names: Sequence[Name] = (),
) -> list[Problem]:
    """Everything that is wrong with a translation; empty: nothing that can be checked is."""
    if not target.strip():
        return [Problem("The translation is empty.")]
    if "\n" in target.strip():
        return [Problem("The translation has more than one line.")]
    if len(target) > _LONGEST_RATIO * len(source) + _SLACK_CHARACTERS:
        return [Problem("The translation is much longer than the source.")]
    found = list(_wrong_language(source, target, source_language, target_language, names))
    found += [Problem(text) for text in number_problems(source, target, source_language, target_language)]
    mine = terms_in(source, terms)
    found += [
        Problem(f"The term {term.source!r} is not {term.target!r}.")
        for term in mine
        if not has_term(target, term.target)
    ]
    own = {plain_letters(term.source) for term in mine}
    for name in missing_names(names, target, source_language, target_language):
        if plain_letters(name.text) not in own:
            found.append(Problem(f"The name {name.text} is missing.", name.is_certain))
    return found


def terms_in(source: str, terms: Sequence[Term]) -> list[Term]:
    """The terms that occur in a line and have a translation, the longest first; not those inside of a longer one."""
    text, found = source, []
    for term in sorted((term for term in terms if term.target), key=lambda term: -len(term.source)):
        pattern = term_pattern(term.source)
        if pattern.search(text):
            found.append(term)
            text = pattern.sub(" ", text)
    return found


@cache
def term_pattern(term: str) -> re.Pattern[str]:
    """Finds the term as words of its own, also in the plural with an s; capitals matter if the term has some."""
    ends = (r"(?<!\w)", r"(?:['’]?s|es)?(?!\w)") if re.match(r"[\w]", term) and not _is_unspaced(term) else ("", "")
    flags = 0 if term != term.lower() else re.IGNORECASE
    return re.compile(ends[0] + r"\s+".join(map(re.escape, term.split())) + ends[1], flags)


def has_term(target: str, term: str) -> bool:
    """Whether a translation has the words of a term in any order, each of them perhaps inflected."""
    if _is_unspaced(term):
        return term in target
    words = plain_letters(target).split()
    tokens = [re.sub(r"^\W+|\W+$", "", word) for word in words]
    return all(any(_is_inflected(part, token) for token in tokens) for part in plain_letters(term).split())


def _is_inflected(part: str, token: str) -> bool:
    if len(part) <= 3 or any(one.isdigit() for one in part):
        return token == part or (len(part) == 3 and token in (part + "s", part + "es"))
    stem = part[: max(3, len(part) - 2)]
    return token.startswith(stem) and len(token) <= len(part) + 4


def _wrong_language(
    source: str, target: str, source_language: str, target_language: str, names: Sequence[Name]
) -> Iterator[Problem]:
    """The source itself, or a text in another language."""
    named = {plain_letters(word) for name in names for word in name.text.split()}
    words = [word for word in _WORD.findall(target) if plain_letters(word) not in named]
    same = [plain_letters(word) for word in words] == [
        plain_letters(word) for word in _WORD.findall(source) if plain_letters(word) not in named
    ]
    if same and source_language != target_language and len(words) >= 3:
        yield Problem("The translation is the source.")
        return
    text = " ".join(words)
    if len(text) < (ENOUGH_LETTERS if target_language not in _UNSPACED else ENOUGH_LETTERS // 3):
        return
    score = _scores(text)
    if target_language not in score:
        return
    best = max(score, key=score.__getitem__)
    if score[best] - score[target_language] > _OTHER_LANGUAGE:
        yield Problem(f"The translation is in the language {best}, not in {target_language}.")
    elif score.get(source_language, -1e9) - score[target_language] > _SOURCE_LANGUAGE:
        yield Problem(f"The translation is still in {source_language}.")


def _scores(text: str) -> dict[str, float]:
    """Language → logarithm of its likelihood, of those that are told apart well."""
    import py3langid

    return {language: float(score) for language, score in py3langid.rank(text) if language in _LANGUAGES}


def _is_unspaced(text: str) -> bool:
    return bool(re.search(r"[\u2e80-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1780-\u17ff]", text))
