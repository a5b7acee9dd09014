r"""Where the formulas of a text are: `$…$`, `$$…$$`, `\(…\)`, `\[…\]` and environments, but no prices or variables.

pylatexenc reads each candidate, so that braces, escaped dollars and nested environments are understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

ENVIRONMENTS = frozenset(
    name + star
    for name in (
        "math", "displaymath", "equation", "align", "alignat", "aligned", "alignedat", "flalign", "gather", "gathered",
        "multline", "multlined", "eqnarray", "split", "cases", "dcases", "rcases", "array", "matrix", "pmatrix",
        "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "smallmatrix", "subequations",
    )
    for star in ("", "*")
)  # fmt: skip
_PERCENT = "\uff05"
"""Stands for `%` while LaTeX is read: in a spoken text it never begins a comment."""
_BORDER = "\0"
"""Stands for what no formula goes over: a link, a speaker's tag."""
_OPENING = re.compile(r"(?<!\\)(?:\\\\)*?(?P<mark>\$+|\\\(|\\\[|\\begin\{(?P<name>[a-zA-Z]+\*?)\})")
_NOT_SEARCHED = re.compile(r"(?:https?://|www\.)[^\s<>\"']*[\w/]|\[S\d+\]|<\|[a-zA-Z_]+\|>")
_CLOSING = {"$": "$", "$$": "$$", r"\(": r"\)", r"\[": r"\]"}
_PRICE = re.compile(r"\d[\d.,]*(?:[,;:.)]?\s(?=.*(?:[€£]|[^\W\d_]{2,}))\s*(?![a-z]\b|[-+*/=<>])|[^\W\d_]{3,})")
"""What a sum of money begins with that stands before words: `5 million and 6`."""
_MATHEMATICAL = re.compile(r"[\\^_=+\-−–*/<>|(){}\[\]!'≤≥≠≈∈×·]")


@dataclass(frozen=True, slots=True)
class Span:
    """A formula in a text."""

    start: int
    end: int
    latex: str
    """Without the marks around it; of an environment, with them."""
    is_broken: bool = False
    """It cannot be read as LaTeX: a brace or an end is missing."""


def formula_spans(text: str) -> Iterator[Span]:
    """The formulas of a text, in its order."""
    masked = _NOT_SEARCHED.sub(lambda match: _BORDER * len(match[0]), text)
    read = re.sub(r"(?<!\\)%", _PERCENT, masked)
    position = 0
    while found := _OPENING.search(read, position):
        start = found.start("mark")
        span = _span(read, start, found["mark"], found["name"])
        position = span.end if span else found.end()
        if span:
            yield Span(span.start, span.end, span.latex.replace(_PERCENT, r"\%"), span.is_broken)


def _span(text: str, start: int, mark: str, name: str | None) -> Span | None:
    if (name is not None and name not in ENVIRONMENTS) or (len(mark) > 2 and mark[0] == "$"):
        return None
    parsed = _parsed_end(text, start, name)
    closing = _CLOSING.get(mark) or rf"\end{{{name}}}"
    end = parsed or _searched_end(text, start + len(mark), closing, name)
    if end is None:
        if mark.startswith("$") and not re.match(r"\$+\s*[-−+]?\\[a-zA-Z]", text[start:]):
            return None  # a price
        border = _border(text, start, None)
        end = start + border.start() if border else len(text)
        return Span(start, end, text[start + len(mark) : end], is_broken=True)
    latex = text[start:end] if name else text[start + len(mark) : end - len(closing)]
    is_formula = _is_mathematics(text, start, end, latex, mark) if mark.startswith("$") else True
    if parsed is None and mark.startswith("$") and not re.search(r"\\[a-zA-Z]|[\^_]", latex):
        is_formula = False
    if not (is_formula and latex.strip()):
        return None
    return Span(start, end, latex, is_broken=parsed is None)


@lru_cache
def _macros() -> Any:
    """The macros of LaTeX and their arguments, which pylatexenc would put together for every formula."""
    from pylatexenc.latexwalker import get_default_latex_context_db

    return get_default_latex_context_db()


def _parsed_end(text: str, start: int, name: str | None) -> int | None:
    """Where the LaTeX that begins at a place ends; None where it is not well-formed."""
    from pylatexenc.latexwalker import LatexWalker, LatexWalkerError

    border = _border(text, start, name)
    limit = start + border.start() if border else len(text)
    walker = LatexWalker(text[start:limit], latex_context=_macros(), tolerant_parsing=False)
    try:
        nodes, _, _ = walker.get_latex_nodes(pos=0, read_max_nodes=1)
    except (LatexWalkerError, IndexError, RecursionError):
        return None
    if not nodes or nodes[0] is None or nodes[0].pos != 0:
        return None
    return start + int(nodes[0].len)


def _searched_end(text: str, start: int, closing: str, name: str | None) -> int | None:
    """The end of a formula whose braces do not match: after the next closing mark of the paragraph."""
    border = _border(text, start, name)
    found = re.compile(rf"(?<!\\){re.escape(closing)}").search(
        text, start, start + border.start() if border else len(text)
    )
    return found.end() if found else None


def _border(text: str, start: int, name: str | None) -> re.Match[str] | None:
    """Where a formula ends at the latest: at the end of its paragraph, and an environment at a link or a tag."""
    return re.search(_BORDER if name else rf"\n\s*\n|{_BORDER}", text[start:])


def _is_mathematics(text: str, start: int, end: int, latex: str, mark: str) -> bool:
    """Whether dollars are the marks of a formula, and not of prices or of variables of a shell."""
    if mark == "$$":
        return bool(_MATHEMATICAL.search(latex)) or not re.search(r"[^\W\d_]{2,}", latex)
    before, after = text[start - 1 : start], text[end : end + 1]
    if latex[:1].isspace() or latex[-1:].isspace():
        return bool(re.search(r"\\[a-zA-Z]|[\^_=]", latex)) and not re.match(r"\s*\d", latex) and latex[:1].isspace()
    if (after.isdigit() and not re.search(r"[\\^_]", latex)) or (
        before.isalnum() and latex[:1].isdigit() and "\\" not in latex
    ):
        return False
    if after.isalpha() and re.match(r"[A-Z_]{2,}\b", latex):
        return False
    plain = re.sub(r"\\[a-zA-Z]+\*?\s*(?:\{[^{}]*\})?", " ", latex)
    if _PRICE.match(plain) and "\\" not in latex:
        return False
    words = re.findall(r"(?<![^\W\d_])[^\W\d_]{2,}(?![^\W\d_])", plain)
    return len(words) < (4 if re.search(r"[\\^_=<>+]", latex) else 2)
