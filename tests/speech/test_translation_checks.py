"""What is found to be wrong with translations, and what is not."""

from __future__ import annotations

import pytest

from speech.names_in_text import Name, missing_names, names
from speech.speaking_rate import max_characters
from speech.translation_checks import has_term, problems, terms_in
from speech.types import Term

TERMS = (
    Term("neural network", "red neuronal"),
    Term("network", "red"),
    Term("gradient", "gradiente"),
    Term("token", ""),
    Term("May", "May"),
)


def wrong(source: str, target: str, languages: tuple[str, str] = ("en", "es")) -> list[str]:
    found = problems(source, target, *languages, terms=TERMS, names=names([source], languages[0])[0])
    return [one.message for one in found]


def test_names_are_capitalized_words_inside_sentences() -> None:
    lines = ["Today we met Ada Lovelace in New York.", "The Earth is round. Earth, I say, turns.", "Use NASA's H200."]
    found = [[name.text for name in of_line] for of_line in names(lines, "en")]
    assert found == [["Ada Lovelace", "New York"], ["Earth"], ["NASA", "H200"]]
    assert names(["She likes the Market.", "A market is loud."], "en")[0] == ()
    assert [name.is_certain for name in names(lines, "en")[1]] == [False]
    assert names(["Wir sehen das Haus und die NASA."], "de")[0] == (Name("NASA", True),)


@pytest.mark.parametrize(
    ("name", "target", "languages"),
    [
        ("London", "Vivo en Londres.", ("en", "es")),
        ("New York", "Vivo en Nueva York.", ("en", "es")),
        ("Germany", "Vivo en Alemania.", ("en", "es")),
        ("Spanish", "Hablo español.", ("en", "es")),
        ("AI", "La IA escribe.", ("en", "es")),
        ("Иван Петров", "This is Ivan Petrov.", ("ru", "en")),
        ("Алексей", "This is Alexey.", ("ru", "en")),
        ("Alice", "Это Алиса.", ("en", "ru")),
        ("Alice", "这是爱丽丝。", ("en", "zh")),
    ],
)
def test_names_may_change_their_spelling(name: str, target: str, languages: tuple[str, str]) -> None:
    assert missing_names([Name(name, True)], target, *languages) == []


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("Ada Lovelace", "Ella escribe."),
        ("H200", "Es la H100."),
        ("Boston", "Aquí."),
        ("Alan Turing", "La red de alguien."),
        ("Sara", "Para ella."),
    ],
)
def test_lost_names_are_found(name: str, target: str) -> None:
    assert missing_names([Name(name, True)], target, "en", "es") == [Name(name, True)]


def test_the_longest_term_counts() -> None:
    assert [term.source for term in terms_in("A neural network is a network.", TERMS)] == ["neural network", "network"]
    assert [term.source for term in terms_in("Neural networks learn.", TERMS)] == ["neural network"]
    assert terms_in("We may start. Tokens are words.", TERMS) == []


@pytest.mark.parametrize(
    ("target", "term", "there"),
    [
        ("Las redes neuronales aprenden.", "red neuronal", True),
        ("El gradiente baja.", "gradiente", True),
        ("La pendiente baja.", "gradiente", False),
        ("Об этой нейронной сети", "нейронная сеть", True),
        ("这是神经网络。", "神经网络", True),
        ("Der Redner", "red", False),
    ],
)
def test_terms_may_be_inflected(target: str, term: str, there: bool) -> None:
    assert has_term(target, term) is there


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("A neural network has 3 layers.", "Una red neuronal tiene 3 capas."),
        ("Ada Lovelace wrote it in 1843.", "Ada Lovelace lo escribió en 1843."),
        ("Good.", "Bien."),
        ("Kubernetes, Docker, Python.", "Kubernetes, Docker, Python."),
    ],
)
def test_good_translations_have_no_problem(source: str, target: str) -> None:
    assert wrong(source, target) == []


@pytest.mark.parametrize(
    ("source", "target", "problem"),
    [
        ("A neural network learns.", "  ", "The translation is empty."),
        ("A neural network learns.", "Una red.\nOtra red.", "The translation has more than one line."),
        ("It learns.", "Aprende. " * 30, "The translation is much longer than the source."),
        ("A network learns from many examples.", "A network learns from many examples.", "The translation is the source."),
        ("The gradient of the network.", "La pendiente de la red.", "The term 'gradient' is not 'gradiente'."),
        ("We met Ada Lovelace there.", "La conocimos allí.", "The name Ada Lovelace is missing."),
        ("It has 3 layers.", "Tiene capas.", "The number 3 is missing."),
        (
            "The horses are asleep in the house.", "Die Pferde schlafen alle im Haus.",
            "The translation is in the language de, not in es.",
        ),
    ],
)  # fmt: skip
def test_bad_translations_are_named(source: str, target: str, problem: str) -> None:
    assert problem in wrong(source, target)


def test_a_line_that_is_hardly_changed_is_still_in_its_language() -> None:
    messages = wrong("The horses are asleep in the old house.", "The horses are all asleep in this house.")
    assert any("language en" in message or "still in en" in message for message in messages)


def test_characters_that_fit_a_time() -> None:
    assert max_characters(2_000, "en", 1.0) == 30
    assert max_characters(2_000, "zh", 1.0) == 14
    assert max_characters(2_000, "en") == 37
    assert max_characters(0, "en") == 1
