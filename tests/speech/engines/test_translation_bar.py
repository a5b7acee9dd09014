"""200 sentences with numbers, names and terms, through a chat server that answers wrongly a third of the time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from speech.engines import registry
from speech.engines.chat_translator import ChatTranslator
from speech.engines.protocols import EngineChoice
from speech.types import Term, TranslatedLine, TranslationRequest
from tests.speech.engines.chat_servers import FAULTS, chat_server

PEOPLE = (
    "Ada Lovelace",
    "Alan Turing",
    "Grace Hopper",
    "Emmy Noether",
    "Katherine Johnson",
    "Sophie Germain",
    "Mary Cartwright",
)
CITIES = ("Boston", "Chicago", "Madrid", "Lima", "Berlin")
TERMS = (Term("neural network", "red neuronal"), Term("gradient", "gradiente"), Term("lesson", "lección"))


@dataclass(frozen=True)
class Known:
    """A sentence in three languages."""

    english: str
    spanish: str
    german: str


def sentences() -> Iterator[Known]:
    for i in range(50):
        person, city, number = PEOPLE[i % 7], CITIES[i % 5], 1_000 + 137 * i
        spanish_number = f"{number:,}".replace(",", ".")
        share, spanish_share = f"{i + 3}.5", f"{i + 3},5"
        yield Known(
            f"In {city}, {person} counted {number:,} gradients.",
            f"En {city}, {person} contó {spanish_number} gradientes.",
            f"In {city} zählte {person} insgesamt {spanish_number} Steigungen der Kurve.",
        )
        yield Known(
            f"The neural network of {person} has {i + 3} layers and reaches {share} percent.",
            f"La red neuronal de {person} tiene {i + 3} capas y alcanza el {spanish_share} por ciento.",
            f"Das künstliche Netz von {person} hat {i + 3} Schichten und erreicht {spanish_share} Prozent.",
        )
        yield Known(
            f"We repeat lesson {i + 1} with {person} at 10:{10 + i}.",
            f"Repetimos la lección {i + 1} con {person} a las 10:{10 + i}.",
            f"Wir wiederholen die Stunde {i + 1} mit {person} um 10:{10 + i} Uhr.",
        )
        yield Known(
            f"After that the gradient fell by {number} in the year {1950 + i}.",
            f"Después el gradiente bajó {number} en el año {1950 + i}.",
            f"Danach fiel die Steigung um {number} im Jahr {1950 + i}.",
        )


SENTENCES = tuple(sentences())
SPANISH = {one.english: one.spanish for one in SENTENCES}
GERMAN = {one.english: one.german for one in SENTENCES}
LINES = tuple(SPANISH)


def translated(url: str, cache: Path, request: TranslationRequest, timeout_s: float = 0.5) -> list[TranslatedLine]:
    choice = EngineChoice("ollama", url, {"model": "m", "timeout_s": str(timeout_s), "cache": str(cache)})
    engine = registry.load_translator(choice)
    assert isinstance(engine, ChatTranslator)
    return replace(engine, server=replace(engine.server, pause=lambda _: None)).translate(request)


def test_every_line_is_right_or_named_and_nothing_wrong_is_cached(tmp_path: Path) -> None:
    assert len(set(LINES)) == 200
    faults = Counter[str]()
    for seed in (0, 1, 2, 7):
        faults += check(seed, tmp_path / str(seed))
    assert set(FAULTS) <= set(faults)
    assert 0.28 < (faults.total() - faults[""]) / faults.total() < 0.4


def check(seed: int, cache: Path) -> Counter[str]:
    """Translate the sentences twice, first with a server that makes mistakes. Returns these."""
    request = TranslationRequest(LINES, "en", "es", TERMS)
    with chat_server(lambda text, _: SPANISH[text], seed=seed, other_language=GERMAN) as seen:
        found = translated(seen.url, cache, request)
    assert [line.line_idx for line in found] == list(range(200))
    failed = [line for line in found if line.text is None]
    assert all(line.problem for line in failed)
    assert len(failed) <= 4
    assert [line.text for line in found if line.text] == [SPANISH[LINES[line.line_idx]] for line in found if line.text]
    assert {line.problem for line in found if line.text} == {None}

    cached = [json.loads(path.read_text())["translation"] for path in cache.rglob("*.json")]
    assert sorted(cached) == sorted(line.text for line in found if line.text)

    with chat_server(lambda text, _: SPANISH[text]) as works:
        again = translated(works.url, cache, request)
    assert [line.text for line in again] == list(SPANISH.values())
    assert [line.line_idx for line in again if line.n_tries] == [line.line_idx for line in failed]
    return seen.done


def test_the_same_seed_makes_the_same_mistakes(tmp_path: Path) -> None:
    request = TranslationRequest(LINES[:20], "en", "es", TERMS)
    runs = []
    for number in range(2):
        with chat_server(lambda text, _: SPANISH[text], seed=7, other_language=GERMAN) as seen:
            found = translated(seen.url, tmp_path / str(number), request, timeout_s=30)
        runs.append((found, seen.done))
    assert runs[0] == runs[1]
    assert runs[0][1].total() > runs[0][1][""] > 0 == runs[0][1]["slow"]
