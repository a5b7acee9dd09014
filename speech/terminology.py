"""The terms of a course: what its transcripts repeat, and what users have decided about it. Users' terms win."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from speech.names_in_text import names
from speech.stop_words import STOP_WORDS
from speech.types import Term

LEAST_LINES = 2
"""A phrase in fewer lines is no candidate; a word of its own needs one line more."""
_MOST_WORDS = 3
_LEAST_LETTERS = 4
_TOKEN = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*|[^\w\s]|\d+")


class TermsRefused(ValueError):
    """A list of terms cannot be read: which line, and what to change."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A name or phrase that the transcripts of a course repeat."""

    source: str
    n_lines: int
    kind: Literal["name", "phrase"]


def candidate_terms(lines: Sequence[str], language: str, *, most: int = 15) -> list[Candidate]:
    """Names first, then phrases of up to three words, each by weight. A part of a better candidate is left out.

    In languages without a list of stop words, and without spaces, there are only names.
    """
    found = [*_names(lines, language), *_phrases(lines, language)]
    kept: list[Candidate] = []
    for candidate in found:
        words = candidate.source.casefold().split()
        if not any(
            _contains(one.source.casefold().split(), words) and one.n_lines >= candidate.n_lines for one in kept
        ):
            kept.append(candidate)
    return kept[:most]


def course_terms(user: Iterable[Term], candidates: Iterable[Candidate]) -> tuple[Term, ...]:
    """The user's terms, then the candidates that the user has not decided about, without a translation."""
    terms = {term.source.casefold(): term for term in user}
    for candidate in candidates:
        terms.setdefault(candidate.source.casefold(), Term(candidate.source, "", candidate.kind))
    return tuple(terms.values())


def read_terms(path: Path) -> list[Term]:
    """A user's list. CSV with a header: source, target, note. YAML: a list of such mappings, or source: target.

    An empty target leaves the choice to the translator. Raises `TermsRefused`.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TermsRefused(f"{path} cannot be read as UTF-8 text: {error}") from error
    rows = _csv_rows(text, path) if path.suffix.lower() == ".csv" else _yaml_rows(text, path)
    terms: dict[str, Term] = {}
    for number, term in rows:
        if not term.source:
            raise TermsRefused(f"{path}, entry {number}: a term needs a source.")
        known = terms.setdefault(term.source.casefold(), term)
        if known.target != term.target:
            raise TermsRefused(
                f"{path}, entry {number}: {term.source!r} is {known.target!r} and {term.target!r}. Keep one of them."
            )
    return list(terms.values())


def _names(lines: Sequence[str], language: str) -> Iterator[Candidate]:
    of_lines = [dict.fromkeys(of_line) for of_line in names(lines, language)]
    counts = Counter(name.text for of_line in of_lines for name in of_line)
    certain = {name.text for of_line in of_lines for name in of_line if name.is_certain}
    for text, n_lines in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if text in certain or n_lines >= LEAST_LINES:
            yield Candidate(text, n_lines, "name")


def _phrases(lines: Sequence[str], language: str) -> list[Candidate]:
    """Phrases by how often they occur and how many words they have."""
    stop_words = STOP_WORDS.get(language)
    if not stop_words:
        return []
    counts = Counter[str]()
    for line in lines:
        counts.update(set(_phrases_of(line.lower(), stop_words)))
    weighed = sorted(
        ((n * math.log2(1 + len(text.split())), text) for text, n in counts.items() if _is_candidate(text, n)),
        key=lambda item: (-item[0], item[1]),
    )
    return [Candidate(text, counts[text], "phrase") for _, text in weighed]


def _is_candidate(text: str, n_lines: int) -> bool:
    return n_lines >= (LEAST_LINES if " " in text else LEAST_LINES + 1)


def _phrases_of(line: str, stop_words: frozenset[str]) -> Iterator[str]:
    """Neighbouring words that are no stop words, one to three of them."""
    run: list[str] = []
    for token in [*_TOKEN.findall(line), "."]:
        if len(token) >= _LEAST_LETTERS and token not in stop_words:
            run.append(token)
            continue
        for start in range(len(run)):
            for stop in range(start + 1, min(start + _MOST_WORDS, len(run)) + 1):
                yield " ".join(run[start:stop])
        run = []


def _contains(words: Sequence[str], part: Sequence[str]) -> bool:
    return any(words[start : start + len(part)] == part for start in range(len(words) - len(part) + 1))


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, Term]]:
    first = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=";" if first.count(";") > first.count(",") else ",")
    columns = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    if "source" not in columns or "target" not in columns:
        raise TermsRefused(f"{path} needs a first line with the columns source, target and, if wanted, note.")
    reader.fieldnames = columns
    for number, row in enumerate(reader, start=1):
        yield number, _term(row)


def _yaml_rows(text: str, path: Path) -> Iterator[tuple[int, Term]]:
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TermsRefused(f"{path} is no YAML: {error}") from error
    if isinstance(content, Mapping):
        content = [{"source": source, "target": target} for source, target in content.items()]
    if not isinstance(content, list) or not all(isinstance(row, Mapping) for row in content):
        raise TermsRefused(
            f"{path} is to be a list of mappings with source, target and note, or one of source: target."
        )
    for number, row in enumerate(content, start=1):
        yield number, _term(row)


def _term(row: Mapping[str, object]) -> Term:
    source, target, note = (" ".join(str(row.get(name) or "").split()) for name in ("source", "target", "note"))
    return Term(source, target, note)
