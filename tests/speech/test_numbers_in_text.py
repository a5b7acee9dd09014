"""Numbers in digits and words, in the language of the text."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from num2words import num2words

from speech.numbers_in_text import localized, number_problems, numbers

AGREE = [
    ("en", "es", "There are 1,250 horses.", "Hay 1.250 caballos."),
    ("en", "es", "There are 1,250 horses.", "Hay mil doscientos cincuenta caballos."),
    ("en", "es", "There are 1,250.5 litres.", "Hay 1 250,5 litros."),
    ("en", "de", "It costs 3.14 euros.", "Es kostet 3,14 Euro."),
    ("en", "es", "It costs 2.5 million dollars.", "Cuesta 2,5 millones de dólares."),
    ("en", "es", "It costs 2.5 million dollars.", "Cuesta 2.500.000 dólares."),
    ("en", "fr", "Three billion people", "3 milliards de personnes"),
    ("en", "es", "Three billion people", "Tres mil millones de personas"),
    ("en", "es", "In the 21st century", "En el siglo XXI"),
    ("en", "es", "the 1990s", "los años 90"),
    ("en", "es", "at 3 p.m. on 2026-11-27", "a las 15 h del 27 de noviembre de 2026"),
    ("en", "es", "at 10:30", "a las 10.30"),
    ("en", "es", "twenty-one students", "21 estudiantes"),
    ("en", "es", "21 students", "veintiún estudiantes"),
    ("en", "es", "the third of three", "el tercero de tres"),
    ("en", "es", "One of the two is enough.", "Basta con alguno de ambos."),
    ("en", "es", "two hundred pages", "doscientas páginas"),
    ("en", "ru", "five hundred twenty-one", "521"),
    ("ru", "en", "без двадцати пяти минут", "twenty-five minutes to"),
    ("en", "zh", "25 people", "二十五个人"),
    ("zh", "en", "一百二十人", "120 people"),
    ("en", "zh", "3 million people", "300万人"),
    ("en", "es", "nineteen eighty-four", "1984"),
    ("en", "es", "In the sixties", "En los años 60"),
    ("en", "es", "About a third of them", "Cerca de un tercio"),
    ("en", "de", "The third lesson, a third of all", "In der dritten Stunde, ein Drittel von allen"),
    ("en", "ru", "The third lesson", "В третьей лекции"),
    ("es", "en", "El 10 por ciento", "10 percent"),
    ("en", "es", "At noon on November 5", "A las 12 del 5/11"),
    ("en", "es", "It costs 5k", "Cuesta 5 mil"),
    ("zh", "en", "万一下雨，三四个人", "In case of rain, a few people"),
    ("en", "es", "An hour and a half", "1,5 horas"),
    ("en", "ko", "5 cats", "고양이 다섯 마리"),
]  # fmt: skip
DIFFER = [
    ("en", "es", "There are 1,250 horses.", "Hay caballos.", "The number 1,250 is missing."),
    ("en", "es", "There are 12 horses.", "Hay 21 caballos.", "The number 12 is missing."),
    ("en", "es", "Twenty-one students", "Los estudiantes", "The number twenty one is missing."),
    ("en", "es", "7 and 7", "7", "The number 7 is missing."),
    ("en", "es", "Many horses", "40 caballos", "The number 40 is not in the source."),
    ("en", "es", "2.5 million", "2,5", "The number 2.5 is missing."),
]  # fmt: skip


@pytest.mark.parametrize(("source_language", "target_language", "source", "target"), AGREE)
def test_numbers_that_agree(source_language: str, target_language: str, source: str, target: str) -> None:
    assert number_problems(source, target, source_language, target_language) == []


@pytest.mark.parametrize(("source_language", "target_language", "source", "target", "problem"), DIFFER)
def test_numbers_that_differ(
    source_language: str, target_language: str, source: str, target: str, problem: str
) -> None:
    assert problem in number_problems(source, target, source_language, target_language)


@pytest.mark.parametrize(
    ("source", "target", "languages", "expected"),
    [
        ("1,250.5 and 10:30", "1,250.5 y 10:30", ("en", "es"), "1.250,5 y 10:30"),
        ("3.14", "3.14", ("en", "fr"), "3,14"),
        ("1.250", "1.250", ("es", "en"), "1,250"),
        ("version 3.1.2", "versión 3.1.2", ("en", "es"), "versión 3.1.2"),
        ("3.14", "3,14", ("en", "es"), "3,14"),
        ("3.14", "3.14", ("en", "zh"), "3.14"),
    ],
)
def test_separators_become_those_of_the_target(
    source: str, target: str, languages: tuple[str, str], expected: str
) -> None:
    assert localized(source, target, *languages) == expected


@settings(deadline=None)  # the first number of a language makes its table
@given(st.integers(3, 999_999), st.sampled_from(["en", "es", "fr", "pt", "ru"]))
def test_a_number_in_words_is_the_number(value: int, language: str) -> None:
    found = numbers(str(num2words(value, lang=language)), language)
    assert [number.values for number in found] == [frozenset({Fraction(value)})]


@settings(deadline=None)
@given(st.integers(3, 10**7), st.sampled_from([",", ".", " ", "\u202f", "'", ""]))
def test_separators_of_thousands_do_not_change_a_number(value: int, separator: str) -> None:
    (number,) = numbers(f"About {value:,} of them".replace(",", separator), "en")
    assert Fraction(value) in number.values
