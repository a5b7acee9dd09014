"""Writes the LaTeX formulas of a text as they are spoken. Run it before `spoken_text`, which says what stands around.

What is no formula is not changed: prices, paths and variables with dollars stay. Applied twice, it changes nothing
more. Numbers and units within formulas are written as words here, because a year or a date is none in a formula.
"""

from __future__ import annotations

import re
from functools import lru_cache

from speech.errors import EngineUnavailable
from speech.formulas.languages import FORMULA_LANGUAGES
from speech.formulas.spans import Span, formula_spans
from speech.formulas.speaker import FormulaSpeaker
from speech.formulas.tree import BrokenFormula, parse_formula
from speech.number_words import digit_words
from speech.spoken_text import Change

LANGUAGES = frozenset(FORMULA_LANGUAGES)
_SIGN_BEFORE = re.compile(r"(?<![\w)])[-−]$")
"""A minus in the text right before a formula belongs to it."""


def spoken_formulas(text: str, language: str | None) -> tuple[str, list[Change]]:
    """The text with its formulas in words, and what was changed. A language without rules is left as it is.

    A formula that cannot be read is written without marks and backslashes, and its change has a `problem`. Raises
    `EngineUnavailable` without pylatexenc, latex2mathml or num2words.
    """
    if language is None or language not in FORMULA_LANGUAGES:
        return text, []
    _check_installed()
    parts: list[str] = []
    changes: list[Change] = []
    position = 0
    for span in formula_spans(text):
        start = span.start
        if _SIGN_BEFORE.search(text[position:start]):
            start -= 1
        before = text[start : span.end]
        said, problem = _said(span, language)
        if start < span.start:
            said = f"{FORMULA_LANGUAGES[language].minus} {said}"
        parts.append(text[position:start])
        parts.append(_spaced(said, text[start - 1 : start], text[span.end : span.end + 1]))
        changes.append(Change(before, said, problem))
        position = span.end
    return "".join([*parts, text[position:]]), changes


def _said(span: Span, language: str) -> tuple[str, str | None]:
    if not span.is_broken:
        try:
            return _speaker(language).say(parse_formula(span.latex, language)), None
        except BrokenFormula as broken:
            return _as_text(span.latex, language), str(broken)
    return _as_text(span.latex, language), "A brace or an end of the formula is missing."


@lru_cache
def _speaker(language: str) -> FormulaSpeaker:
    return FormulaSpeaker(FORMULA_LANGUAGES[language], language)


def _as_text(latex: str, language: str) -> str:
    """LaTeX that cannot be read, with the names of its commands as words, so that nothing of it is lost."""
    words = FORMULA_LANGUAGES[language]
    plain = re.sub(
        r"\\(?:begin|end)\{[^{}]*\}|\\(?:left|right|text|mathrm|mathbf|operatorname)(?![a-zA-Z])", " ", latex
    )
    plain = re.sub(r"[\\{}$&]+", " ", plain)
    for sign, form in (("^", words.power), ("_", words.sub)):
        plain = plain.replace(sign, " " + form.format("", "").strip() + " ")
    plain = "".join(f" {words.symbols[one]} " if one in words.symbols and not one.isalpha() else one for one in plain)
    plain = re.sub(r"\d+", lambda match: f" {digit_words(match[0], language)} ", plain)
    return re.sub(r"\s+([,;.:?])", r"\1", " ".join(plain.split()))


def _spaced(said: str, before: str, after: str) -> str:
    """With spaces where the text around has none: `2$x$`."""
    left = " " if before and (before.isalnum() or before in ")]") else ""
    right = " " if after and (after.isalnum() or after in "([") else ""
    return f"{left}{said}{right}"


def _check_installed() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("pylatexenc", "latex2mathml", "num2words") if find_spec(name) is None]
    if missing:
        raise EngineUnavailable(f"Not installed: {', '.join(missing)}. Install it with: pip install 'podlake[studio]'")
