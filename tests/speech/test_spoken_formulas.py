"""LaTeX formulas as they are spoken, by language."""

from __future__ import annotations

import re
import string
from pathlib import Path

import latex
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.formulas.languages import FORMULA_LANGUAGES
from speech.spoken_formulas import LANGUAGES, spoken_formulas
from speech.spoken_text import Change, spoken_text

CASES = [
    tuple(line.split("\t"))
    for line in (Path(__file__).parent / "sentences" / "formulas.tsv").read_text("utf-8").splitlines()
]
NO_FORMULAS = [
    "$5 and $10", "It costs $5-$10.", "$5, €4 or 5$", "$20,000 in cash and 30$", "PATH=$HOME/bin:$PATH",
    "US$5 and A$10$", "$5 million and 6$", "between $x and $y", "cheap $, pricey $$$, $$ between", "$$ and $$",
    r"\$5 and \$6", "We earn $3 or $4, not $5.", "It rose from $1,000 to $2,500 (a gain of $1,500).",
    "https://example.org/?a=$b$", r"\begin{itemize} one \end{itemize}", r"C:\temp\alpha", "$a costs less than b$",
    'if ($a == $b) { echo "$c"; }', "We paid $5_000 and $6_000.", "$100-$200", "one $x\n\nand $ two", "[S1] so $x [S2] or y$",
]  # fmt: skip
BROKEN = [
    (r"$\frac{1}{2$ is broken", "frac one two is broken", "A brace or an end of the formula is missing."),
    (r"$\foo{x}$", "foo x", r"The command \foo is unknown."),
    (r"\(x^2 - 1", "x to the power of two minus one", "A brace or an end of the formula is missing."),
    (r"$x^2^{-3}$", "x to the power of two to the power of minus three",
     "It is not LaTeX that can be converted (DoubleSuperscriptsError)."),
]  # fmt: skip


@pytest.mark.parametrize(("language", "text", "wanted"), CASES)
def test_a_formula_is_written_as_it_is_spoken(language: str, text: str, wanted: str) -> None:
    assert spoken_formulas(text, language) == (wanted, [Change(text, wanted)])
    assert spoken_text(wanted, language) == (wanted, ())


@pytest.mark.parametrize("text", NO_FORMULAS)
def test_what_is_no_formula_is_not_changed(text: str) -> None:
    assert spoken_formulas(text, "en") == (text, [])


@pytest.mark.parametrize(("text", "wanted", "problem"), BROKEN)
def test_broken_latex_is_said_without_backslashes_and_reported(text: str, wanted: str, problem: str) -> None:
    said, changes = spoken_formulas(text, "en")
    assert said == wanted
    assert [change.problem for change in changes] == [problem]


def test_parts_within_parts_have_an_end() -> None:
    said, (change,) = spoken_formulas("$" + r"\sqrt{" * 2000 + "x" + "}" * 2000 + "$", "en")
    assert said.split()[-1] == "x"
    assert change.problem


def test_a_language_without_rules_is_left_alone() -> None:
    assert spoken_formulas("$x^2$", "ja") == ("$x^2$", [])
    assert spoken_formulas("$x^2$", None) == ("$x^2$", [])


@given(st.sampled_from(sorted(LANGUAGES)), latex.formulas(), st.sampled_from(latex.MARKS))
def test_no_latex_is_left_and_no_sign_and_letter_is_lost(language: str, formula: str, marks: tuple[str, str]) -> None:
    text = f"Anna {marks[0]}{formula}{marks[1]} Otto"
    said, changes = spoken_formulas(text, language)
    assert [change.before for change in changes] == [text[5:-5]]
    assert [change.problem for change in changes] == [None]
    assert said == f"Anna {changes[0].after} Otto"
    assert not re.search(r"[\\${}^_&\d]", said)
    minus = FORMULA_LANGUAGES[language].minus
    assert len(re.findall(rf"\b{minus}\b", said)) == formula.count("-")
    letters = re.sub(r"\\(?:begin|end)\{\w+\}|\\[a-z]+", " ", formula)
    assert len(re.findall(r"\bx\b", said)) == letters.count("x")
    assert spoken_formulas(said, language) == (said, [])
    assert spoken_text(said, language) == (said, ())


@given(st.sampled_from(sorted(LANGUAGES)), latex.fragments())
def test_any_text_is_stable_and_keeps_its_signs(language: str, text: str) -> None:
    said, changes = spoken_formulas(text, language)
    assert spoken_formulas(said, language) == (said, [])
    assert said.count("[S1]") == text.count("[S1]")
    minus = FORMULA_LANGUAGES[language].minus
    assert len(re.findall(rf"-|−|{minus}", said)) >= len(re.findall("-|−", text))
    if not changes:
        assert said == text


@given(st.text(string.ascii_letters + " .,;:!?()-0123456789%€£'\"/#@&*+=<>[]\n", max_size=60))
def test_text_without_marks_is_not_changed(text: str) -> None:
    assert spoken_formulas(text, "en") == (text, [])
