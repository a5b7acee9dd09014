"""Apertium as it is installed, with English and Spanish."""

from __future__ import annotations

from pathlib import Path
from shutil import which

import pytest

from speech.engines import apertium, registry
from speech.engines.protocols import EngineChoice
from speech.errors import EngineUnavailable, LanguageWithoutEngine
from speech.types import Term, TranslatedLine, TranslationRequest

installed = pytest.mark.skipif(which("apertium") is None, reason="apt-get install apertium apertium-eng-spa")
LINES = (
    "I like Kubernetes and the neural network.",
    "The red",
    "house is $5 at 10:30 and costs 3.5 million dollars.",
    "Ada Lovelace wrote 1,250 programs.",
    "Write to a@b.org or https://example.org/x?y=1 today!",
    "*Really*, the foobarize thing is #1.",
    "They have twenty-one cars in London",
    "Is there a train? Thank you for asking me!",
    "…",
)  # fmt: skip
TERMS = (Term("neural network", "red neuronal"),)


@pytest.fixture(scope="module")
def translated() -> list[TranslatedLine]:
    request = TranslationRequest(LINES, "en", "es", TERMS, (20, *[None] * 8))
    return registry.load_translator(EngineChoice("apertium")).translate(request)


@installed
def test_each_line_is_translated_alone(translated: list[TranslatedLine]) -> None:
    assert [line.line_idx for line in translated] == list(range(len(LINES)))
    assert (translated[1].text, translated[3].text) == ("El rojo", "Ada Lovelace escribió 1.250 programas.")
    assert translated[6].text == "Tienen veintiún coches en Londres"


@installed
def test_terms_numbers_and_addresses_stay(translated: list[TranslatedLine]) -> None:
    assert "red neuronal" in str(translated[0].text)
    assert "Kubernetes" in str(translated[0].text)
    assert "3,5 millones" in str(translated[2].text)
    assert "a@b.org" in str(translated[4].text)
    assert "https://example.org/x?y=1" in str(translated[4].text)


@installed
def test_what_is_wrong_with_a_line_is_named(translated: list[TranslatedLine]) -> None:
    assert translated[0].problem == "The line has 38 characters, 20 fit."
    assert translated[5].problem == "Not translated: foobarize."
    assert (translated[8].text, translated[8].problem) == (None, "The line has no words.")
    assert translated[3].problem is None


@installed
def test_capitals_and_marks_are_those_of_spanish(translated: list[TranslatedLine]) -> None:
    assert translated[7].text == "¿Es allí un tren? ¡Gracias para pedirme!"


@installed
def test_it_does_not_shorten() -> None:
    request = TranslationRequest(LINES, "en", "es")
    engine = registry.load_translator(EngineChoice("apertium"))
    assert engine.shorten(request, 1, "El rojo", 10) == TranslatedLine(1, "El rojo", n_tries=0)
    too_long = engine.shorten(request, 1, "El rojo", 3)
    assert (too_long.text, too_long.problem) == (None, "Apertium cannot shorten a line of 7 characters to 3.")


@installed
def test_a_line_that_it_cannot_translate_is_no_copy() -> None:
    line = "Foobarize bazquux glimfen always wibbly."
    (found,) = registry.load_translator(EngineChoice("apertium")).translate(TranslationRequest((line,), "es", "en"))
    assert (found.text, found.problem) == (None, "The translation is the source.")


@installed
def test_a_pair_that_is_not_installed_says_what_to_install() -> None:
    engine = registry.load_translator(EngineChoice("apertium"))
    with pytest.raises(LanguageWithoutEngine, match=r"from ru to en.*apertium-rus-eng.*PODLAKE_TRANSLATOR=ollama"):
        engine.translate(TranslationRequest(("Привет",), "ru", "en"))


def test_without_the_program_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(apertium, "pairs", apertium.pairs.__wrapped__)
    monkeypatch.setattr(apertium, "_revision", apertium._revision.__wrapped__)
    with pytest.raises(EngineUnavailable, match="apt-get install apertium apertium-eng-spa"):
        registry.load_translator(EngineChoice("apertium"))
    assert registry.describe("translator", EngineChoice("apertium")).revision == "absent"
