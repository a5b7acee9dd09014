"""Finds names in the lines of a lesson, and says which of them a translation has lost.

A name is what is written with a capital letter inside a sentence and never without one (with the word before it, if that
begins the sentence and is no common one), or has capitals or digits inside
(`NASA`, `iPhone`, `H200`). In German, where nouns have capitals, and in scripts without capitals, only the latter count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from string import ascii_uppercase

from speech.spelled_numbers import plain_letters
from speech.stop_words import STOP_WORDS

SAME_NAME = 55.0
"""Similarity in percent of a name and what a translation makes of it: London and Londres 62, Geneva and Ginebra 62."""
_LEAST_LENGTH = 0.6
"""A much shorter word is another one: `La` for Alan."""
_TOKEN = re.compile(r"[^\W_]+(?:[’'\-.&][^\W_]+)*")
_SENTENCE_ENDS = frozenset('.!?…:;"“”«»(—–[¿¡\n')
_CAPITAL_NOUNS = frozenset({"de", "lb"})
_NO_NAMES = {
    "en": frozenset({
        "i", "i'm", "i'd", "i'll", "i've", "mr", "mrs", "ms", "dr", "ok", "monday", "tuesday", "wednesday", "thursday",
        "friday", "saturday", "sunday", "january", "february", "march", "april", "may", "june", "july", "august",
        "september", "october", "november", "december",
    })
}  # fmt: skip
_LATIN = re.compile(r"[A-Za-zÀ-ɏ]")
_CYRILLIC = re.compile(r"[Ѐ-ӿ]")
_ROMANIZED = {
    **dict(zip("абвгдезийклмнопрстуфыэіїєґў", "abvgdeziiklmnoprstufyeiiegu", strict=True)), "х": "kh", "ж": "zh", "ц": "ts",
    "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "", "ь": "", "ю": "iu", "я": "ia", "ё": "e",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Name:
    """A name in a line."""

    text: str
    is_certain: bool
    """Whether it cannot be a word with a translation of its own, such as Earth: it has several words, or odd capitals."""


def names(lines: Sequence[str], language: str) -> list[tuple[Name, ...]]:
    """The names of each line, in their order. All lines together tell which words occur without a capital too."""
    small = {token.casefold() for line in lines for token in _TOKEN.findall(line) if token.islower()}
    return [tuple(_names(line, language, small)) for line in lines]


def missing_names(wanted: Sequence[Name], target: str, source_language: str, target_language: str) -> list[Name]:
    """The names that the translation does not have, in any spelling. Names that change their script are not looked for.

    Names from Cyrillic to Latin are compared in Latin letters.
    """
    common = STOP_WORDS.get(target_language, frozenset())
    tokens = [token for token in _TOKEN.findall(target) if not (token.istitle() and token.casefold() in common)]
    romanized = [_romanized(token) for token in tokens]
    return [name for name in wanted if not _is_there(name, tokens, romanized, source_language, target_language)]


def _names(line: str, language: str, small: set[str]) -> Iterator[Name]:
    """Capitalized words beside each other are one name."""
    run: list[str] = []
    first: str | None = None
    """The word before, if it begins a sentence and may be the first of a name."""
    last_end = 0
    no_names, stop_words = _NO_NAMES.get(language, frozenset()) | small, STOP_WORDS.get(language, frozenset())
    for match in _TOKEN.finditer(line):
        token, between = match[0], line[last_end : match.start()]
        begins = last_end == 0 or bool(set(between) & _SENTENCE_ENDS)
        if run and between.strip():
            yield _name(run)
            run = []
        own = re.sub(r"['’]s$", "", token)
        may_be = own[0].isupper() and language not in _CAPITAL_NOUNS and own.casefold() not in no_names
        if _is_odd(own) or (may_be and not begins):
            run += [*([first] if first and not between.strip() else []), own]
        if run and (own != token or run[-1] != own):  # `NASA's H200` are two names
            yield _name(run)
            run = []
        first = own if begins and may_be and own == token and own.casefold() not in stop_words else None
        last_end = match.end()
    if run:
        yield _name(run)


def _name(run: Sequence[str]) -> Name:
    return Name(" ".join(run), len(run) > 1 or _is_odd(run[0]))


def _is_odd(token: str) -> bool:
    """Two capitals, or letters and digits: no common word has them."""
    letters = [one for one in token if one.isalpha()]
    has_digit = any(one.isdigit() for one in token)
    return (has_digit and any(one.isupper() for one in letters)) or sum(one.isupper() for one in letters) >= 2


def _is_there(
    name: Name, tokens: Sequence[str], romanized: Sequence[str], source_language: str, target_language: str
) -> bool:
    if _CYRILLIC.search(name.text):
        if not any(_LATIN.search(token) for token in tokens):
            return True  # another Cyrillic language inflects and respells names; any other script hides them
    elif not _LATIN.search(name.text) or not any(_LATIN.search(token) for token in tokens):
        return True
    words = name.text.split()
    found = sum(_word_is_there(word, tokens, romanized) for word in words)
    if 2 * found >= len(words):  # New York is Nueva York
        return True
    known = _translated(name.text, source_language, target_language)
    return known is not None and plain_letters(known) in plain_letters(" ".join(tokens))


def _word_is_there(word: str, tokens: Sequence[str], romanized: Sequence[str]) -> bool:
    from rapidfuzz import fuzz

    if any(one.isdigit() for one in word):
        return any(plain_letters(word) == plain_letters(token) for token in tokens)
    if word.isupper() and len(word) <= 5:  # UN is ONU, and AI is IA
        return any(token.isupper() and len(token) > 1 for token in tokens)
    wanted = _romanized(word)
    return any(
        wanted == candidate
        or (len(candidate) >= max(3, _LEAST_LENGTH * len(wanted)) and fuzz.ratio(wanted, candidate) >= SAME_NAME)
        for token, candidate in zip(tokens, romanized, strict=True)
        if token[0].isupper()
    )


def _romanized(token: str) -> str:
    return "".join(_ROMANIZED.get(one, one) for one in plain_letters(token))


def _translated(name: str, source_language: str, target_language: str) -> str | None:
    """The name of a language or country in the other language; None for anything else."""
    import langcodes

    if territory := _territories(source_language).get(name.casefold()):
        return str(langcodes.Language.make(territory=territory).territory_name(target_language))
    try:
        language = langcodes.find(name)
    except LookupError:
        return None
    return str(language.display_name(target_language))


@cache
def _territories(language: str) -> dict[str, str]:
    """Name → code."""
    import langcodes

    codes = ["".join(pair) for pair in product(ascii_uppercase, repeat=2)]
    return {langcodes.Language.make(territory=code).territory_name(language).casefold(): code for code in codes}
