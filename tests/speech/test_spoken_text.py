"""Text as it is spoken, by language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.spoken_formulas import spoken_formulas
from speech.spoken_text import LANGUAGES, Change, spoken_text

CASES = [
    ("en", "Dr. Smith paid $5.25.", "Doctor Smith paid five dollars twenty five cents."),
    ("en", "£3 or 10 €", "three pounds sterling or ten euro"),
    ("en", "On 2026-11-27 at 10:30.", "On November twenty seventh twenty twenty six at ten thirty."),
    ("en", "November 3, 2024, and May 21", "November third twenty twenty four, and May twenty first"),
    ("en", "at 07:05 and 2:00", "at seven oh five and two o'clock"),
    ("en", "In 1984, 1,000 people", "In nineteen eighty four, one thousand people"),
    ("en", "0.5 is not 1,000.5", "zero point five is not one thousand point five"),
    ("en", "-3 and 3-1 and x-1", "minus three and three-one and x minus one"),
    ("en", "3.5% at -4 °C, 12 km", "three point five percent at minus four degrees Celsius, twelve kilometres"),
    ("en", "the 21st of May", "the twenty first of May"),
    ("en", "see https://www.example.org/a/page2.", "see example dot org slash a slash page two."),
    ("en", "mail joe@example.org", "mail joe at example dot org"),
    ("en", "e.g. cats, dogs, etc.", "for example cats, dogs, et cetera"),
    ("en", "code 007", "code zero zero seven"),
    ("de", "Am 3. Oktober 1990", "Am dritten Oktober neunzehnhundertneunzig"),
    ("de", "z. B. 1.234,50 €", "zum Beispiel eintausendzweihundertvierunddreißig Euro und fünfzig Cent"),
    ("de", "um 14:30 3,5 %", "um vierzehn Uhr dreißig drei Komma fünf Prozent"),
    ("fr", "1 000 km", "mille kilomètres"),
    ("es", "5 km/h", "cinco kilómetros por hora"),
]
SENTENCES = [
    tuple(line.split("\t"))
    for line in (Path(__file__).parent / "sentences" / "sentences.tsv").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize(("language", "text", "wanted"), CASES)
def test_it_is_written_as_it_is_spoken(language: str, text: str, wanted: str) -> None:
    said, _ = spoken_text(text, language)
    assert said == wanted
    assert spoken_text(said, language) == (said, ())


@pytest.mark.parametrize(("language", "text", "wanted"), SENTENCES)
def test_a_sentence_is_written_as_it_is_spoken(language: str, text: str, wanted: str) -> None:
    said, _ = spoken_text(spoken_formulas(text, language)[0], language)
    assert said == wanted
    assert spoken_formulas(said, language) == (said, [])
    assert spoken_text(said, language) == (said, ())


def test_what_was_changed_is_reported() -> None:
    assert spoken_text("40 of 50%", "en")[1] == (Change("40", "forty"), Change("50%", "fifty percent"))


def test_speakers_and_sounds_are_not_touched() -> None:
    assert spoken_text("[S1] Hi <|laughter|> 5", "en")[0] == "[S1] Hi <|laughter|> five"


def test_a_language_without_rules_is_left_alone() -> None:
    assert spoken_text("1984年", "ja") == ("1984年", ())
    assert spoken_text("$5", None) == ("$5", ())


@given(st.sampled_from(sorted(LANGUAGES)), st.text("0123456789 .,:-−%$€kmxS[]|<>@/", max_size=30))
def test_no_digit_remains_and_nothing_fails(language: str, text: str) -> None:
    said, _ = spoken_text(text, language)
    assert not re.search(r"\d", re.sub(r"\[S\d+\]", "", said))
    assert "−" not in said
    assert spoken_text(said, language)[0] == said
