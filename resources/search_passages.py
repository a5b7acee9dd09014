"""The words of texts, where in a turn a quoted phrase stands, and the text around it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from speech.turns import UNSPACED_SCRIPT

Fold = Callable[[str], Sequence[str]]
"""Text → its words as the index has them."""

BEFORE_CHARACTERS = 60
_APART = "\u2060"
"""A character that no word has, and that is not seen: it ends a word."""
_WORD = re.compile(rf"{UNSPACED_SCRIPT.pattern}|(?:(?!{UNSPACED_SCRIPT.pattern})[^\W_])+")
_PHRASE = re.compile(r'(?P<without>(?:\bNOT\s+|-))?"(?P<phrase>[^"]+)"(?:~\d+)?')
_TERM = re.compile(r"(?<![-:\w])[^\W_]+(?![:\w])")
_OPERATORS = frozenset({"AND", "OR", "NOT"})


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a text, and what was found in it."""

    at: int
    """The character of the text at which the first phrase begins."""
    snippet: str
    marks: tuple[tuple[int, int], ...]
    """First character in the snippet, and the one after the last."""


def apart(text: str) -> str:
    """The text in which each character of a script without spaces is a word: then its words are phrases."""
    return text if text.isascii() else UNSPACED_SCRIPT.sub(rf"{_APART}\g<0>{_APART}", text)


def together(text: str) -> str:
    """The text before `apart`."""
    return text.replace(_APART, "")


def phrases_of(query: str) -> list[str]:
    """The quoted phrases that a turn must contain, unless the query joins them by OR."""
    return [found["phrase"] for found in _PHRASE.finditer(query) if not found["without"]]


def passage(text: str, query: str, fold: Fold, *, length: int) -> Passage | None:
    """The text around the first phrase of the query that it contains; None if it contains none word by word.

    A word of a script without spaces is a phrase of its characters.
    """
    words = _words(text, fold)
    terms = [term for term in _TERM.findall(_PHRASE.sub(" ", query)) if term not in _OPERATORS]
    unspaced = [term for term in terms if len(term) > 1 and UNSPACED_SCRIPT.search(term)]
    phrases = [folded for phrase in (*phrases_of(query), *unspaced) if (folded := tuple(fold(phrase)))]
    found = sorted(span for phrase in phrases for span in _places(words, phrase))
    if not found:
        return None
    found += [span for term in terms for span in _places(words, tuple(fold(term)))]
    at = found[0][0]
    start = 0 if at <= BEFORE_CHARACTERS else text.rfind(" ", 0, at - BEFORE_CHARACTERS) + 1
    stop = len(text) if len(text) - start <= length else max(text.rfind(" ", start, start + length), at + 1)
    marks = sorted({(first - start, last - start) for first, last in found if start <= first and last <= stop})
    return Passage(at, text[start:stop], _apart(marks))


def _words(text: str, fold: Fold) -> list[tuple[str, int, int]]:
    """Each word as the index has it, with its first character and the one after the last."""
    words = ((" ".join(fold(found.group())), found.start(), found.end()) for found in _WORD.finditer(text))
    return [word for word in words if word[0]]


def _places(words: Sequence[tuple[str, int, int]], phrase: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    for first in range(len(words) - len(phrase) + 1):
        if phrase and all(words[first + i][0] == word for i, word in enumerate(phrase)):
            yield words[first][1], words[first + len(phrase) - 1][2]


def _apart(marks: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Without the marks that begin inside another one."""
    kept: list[tuple[int, int]] = []
    for mark in marks:
        if not kept or mark[0] >= kept[-1][1]:
            kept.append(mark)
    return tuple(kept)


def word_at(text: str, words: Sequence[str], at: int) -> int | None:
    """The index of the word that stands at a character of the text that the words were joined to."""
    position = 0
    for index, word in enumerate(words):
        start = text.find(word.strip(), position)
        if start < 0:
            return None
        position = start + len(word.strip())
        if at < position:
            return index
    return None
