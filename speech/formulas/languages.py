"""The languages that formulas are said in."""

from __future__ import annotations

from collections.abc import Mapping

from speech.formulas.english import ENGLISH
from speech.formulas.french import FRENCH
from speech.formulas.german import GERMAN
from speech.formulas.spanish import SPANISH
from speech.formulas.words import FormulaWords

FORMULA_LANGUAGES: Mapping[str, FormulaWords] = {"en": ENGLISH, "de": GERMAN, "fr": FRENCH, "es": SPANISH}
