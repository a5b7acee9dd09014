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
from speech.types import Term

LEAST_LINES = 2
"""A phrase in fewer lines is no candidate; a word of its own needs one line more."""
_MOST_WORDS = 3
_LEAST_LETTERS = 4
_TOKEN = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*|[^\w\s]|\d+")
_STOP_WORDS: Mapping[str, str] = {
    "en": "a about after all also an and any are as at be because been before but by can come could did do does don't "
    "each even every for from get go going good got had has have he her here him his how i i'm if in into is it it's its "
    "just know last let let's like look made make many may me more most much must my need new no not now of on one only "
    "or other our out over really say see she should show so some such take than that that's the their them then there "
    "these they thing things think this those three through time to today too two under up us use used using very want "
    "was way we we're well were what when where which while who why will with work would year you your",
    "es": "a al algo así aunque como con cosa cuando de del desde donde dos el ella ellos en entonces era es esa ese eso "
    "esta está están este esto fue ha hace hacer hay la las le lo los más me mi muy no nos nosotros o para pero por porque "
    "puede que qué se ser si sí sin sobre son su sus también tan tiene todo todos tres un una uno vamos ver y ya yo",
    "de": "aber alle als also am an auch auf aus bei bin bis da dann das dass dem den der des die dies diese doch du ein "
    "eine einem einen einer es für ganz gibt haben hat hier ich ihr im immer in ist ja kann können man mehr mit nach nicht "
    "noch nun nur oder schon sehr sein sich sie sind so über um und uns von vor war was wenn werden wie wieder wir wird zu "
    "zum zur",
    "fr": "a ai alors au aussi avec avoir bien c'est ça ce ces cette comme dans de des deux donc du elle en encore est et "
    "être eux fait faire il ils je la le les leur lui mais me même mon ne nous on ont ou où par pas plus pour qu que qui "
    "sa se ses si son sont sur tout très tu un une va voilà vous y",
    "it": "a al alla anche che chi ci come con cosa cui da dal dei del della di due e è essere fa gli ha i il in io la le "
    "lo loro ma mi molto nel nella non o per perché più poi può qui se si sono su un una uno",
    "pt": "a ao as até com como da das de do dos e é ela ele em então era essa esse esta está este eu foi isso já mais mas "
    "me muito na não nas no nos o os ou para pela pelo por porque que se sem ser seu sua também tem um uma vai você",
    "ru": "а будет бы был была были в вам вас весь во вот все всё вы где да для до его ее её если есть еще ещё же за и из "
    "или им их к как когда которые который кто ли мне можно мы на надо не него нет но ну о об он она они от очень по под "
    "потом при раз с сейчас со так также там то только тоже у уже чем что чтобы эта это этого этой этот я",
}


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
    stop_words = frozenset(_STOP_WORDS.get(language, "").split())
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
