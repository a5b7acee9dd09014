"""Writes the LaTeX formulas of a text as they are spoken. Run it before `spoken_text`, which says what stands around.

What is no formula is not changed: prices, paths and variables with dollars stay. Applied twice, it changes nothing
more. Numbers and units within formulas are written as words here, because a year or a date is none in a formula.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from speech.errors import EngineUnavailable
from speech.formulas.languages import FORMULA_LANGUAGES
from speech.formulas.spans import Span, formula_spans
from speech.formulas.speaker import FormulaSpeaker
from speech.formulas.tree import BrokenFormula, parse_formula
from speech.number_words import digit_words, number_words
from speech.spoken_text import Change
from speech.spoken_units import prose_units

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
    changes: list[Change] = []
    while True:  # dollars that stand alone may be a pair when what stood between them is words
        text, found = _once(text, language)
        if not found:
            return text, changes
        changes += found


def _once(text: str, language: str) -> tuple[str, list[Change]]:
    parts: list[str] = []
    changes: list[Change] = []
    position = 0
    for span in formula_spans(text):
        start = span.start
        if _SIGN_BEFORE.search(text[position:start]):
            start -= 1
        said, problem, end = _said_with_unit(span, text, language)
        if start < span.start:
            said = f"{FORMULA_LANGUAGES[language].minus} {said}"
        parts.append(text[position:start])
        parts.append(_spaced(said, text[start - 1 : start], text[end : end + 1], language))
        changes.append(Change(text[start:end], said, problem))
        position = end
    return "".join([*parts, text[position:]]), changes


def _said_with_unit(span: Span, text: str, language: str) -> tuple[str, str | None, int]:
    """What is said for a formula, with the unit or the ending of an ordinal that the text goes on with: `$5$ km`."""
    unit = _unit_after(language).match(text, span.end) if re.search(r"\d\}?\s*$", span.latex) else None
    if unit and not span.is_broken:
        symbol = r"\%" if unit[1].endswith("%") else rf"\text{{{unit[1]}}}"
        said, problem = _said(replace(span, latex=span.latex + symbol), language)
        return said, problem, unit.end()
    said, problem = _said(span, language)
    ordinal = re.compile(r"-?(?:st|nd|rd|th)\b").match(text, span.end) if language == "en" else None
    if ordinal and not span.is_broken:
        digits = span.latex.strip()
        said = number_words(int(digits), "en", to="ordinal") if digits.isdecimal() else f"{said}-th"
        return said, problem, ordinal.end()
    return said, problem, span.end


@lru_cache
def _unit_after(language: str) -> re.Pattern[str]:
    return re.compile(rf"[ \u00a0~]?(\\?%|{prose_units(language)})(?![\w²³^])")


def _said(span: Span, language: str) -> tuple[str, str | None]:
    if not span.is_broken:
        try:
            return _speaker(language).say(parse_formula(span.latex, language)), None
        except BrokenFormula as broken:
            return _as_text(span.latex, language), str(broken)
        except RecursionError:
            return _as_text(span.latex, language), "The formula has too many parts within parts."
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


def _spaced(said: str, before: str, after: str, language: str) -> str:
    """With spaces where the text around has none: `2$x$`."""
    if language == "fr" and after == "." and re.search(r"\bM$", said):
        said = f"{said[:-1]}emme"  # "M." is Monsieur
    left = " " if before and (before.isalnum() or before in ")]") else ""
    right = " " if after and (after.isalnum() or after in "([") else ""
    return f"{left}{said}{right}"


def _check_installed() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("pylatexenc", "latex2mathml", "num2words") if find_spec(name) is None]
    if missing:
        raise EngineUnavailable(f"Not installed: {', '.join(missing)}. Install it with: pip install 'podlake[studio]'")
