"""The chat model translator against a local server that answers wrongly in every way that is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from speech.engines import registry
from speech.engines.chat_translator import ChatTranslator
from speech.engines.protocols import EngineChoice
from speech.errors import EngineUnavailable, HttpRefused, HttpServerError, NetworkError, NotFound
from speech.types import Term, TranslatedLine, TranslationRequest
from tests.speech.engines.chat_servers import ChatSeen, chat_server

RIGHT = {
    "Welcome to the course, everyone.": "Bienvenidos todos al curso.",
    "Ada Lovelace wrote it in 1843.": "Ada Lovelace lo escribió en 1843.",
    "A neural network has 3 layers.": "Una red neuronal tiene 3 capas.",
    "It costs 1,250.5 dollars a month.": "Cuesta 1.250,5 dólares al mes.",
    "Thank you for your attention today.": "Gracias por su atención de hoy.",
}
LINES = tuple(RIGHT)
SHORT = {"Thank you for your attention today.": "Gracias por todo."}
TERMS = (Term("neural network", "red neuronal", "a model"), Term("course", "curso"))
REQUEST = TranslationRequest(LINES, "en", "es", TERMS)


def right(text: str, task: str) -> str:
    return SHORT.get(text, RIGHT[text]) if task == "shorten" else RIGHT[text]


def translator(
    seen: ChatSeen, cache: Path | None = None, *, dialect: str = "ollama", timeout_s: float = 20.0, **options: str
) -> tuple[ChatTranslator, list[float]]:
    """The translator, and the pauses that it made, without time passing."""
    given = {"model": "qwen2.5:14b", "timeout_s": str(timeout_s), **options}
    choice = EngineChoice(dialect, seen.url, {**given, "cache": str(cache)} if cache else given)
    engine = registry.load_translator(choice)
    assert isinstance(engine, ChatTranslator)
    pauses: list[float] = []
    return replace(engine, server=replace(engine.server, pause=pauses.append)), pauses


def texts(found: list[TranslatedLine]) -> list[str | None]:
    return [line.text for line in found]


@pytest.mark.parametrize("dialect", ["ollama", "openai"])
def test_lines_are_translated_and_adapted(dialect: str) -> None:
    with chat_server(right) as seen:
        found = translator(seen, dialect=dialect)[0].translate(REQUEST)
    assert found == [TranslatedLine(i, RIGHT[line], None, 2) for i, line in enumerate(LINES)]
    first, second = seen.requests
    question = json.loads(first["messages"][1]["content"])
    assert [line["text"] for line in question["lines"]] == list(LINES)
    assert question["terms"] == [
        {"source": "course", "target": "curso"},
        {"source": "neural network", "target": "red neuronal", "note": "a model"},
    ]
    assert json.loads(second["messages"][1]["content"])["lines"][1]["translation"] == RIGHT[LINES[1]]
    if dialect == "ollama":
        assert (first["path"], first["stream"], first["options"]["num_ctx"]) == ("/api/chat", False, 8_192)
        assert first["format"]["required"] == ["lines"]
    else:
        assert first["path"] == "/v1/chat/completions"
        assert first["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize(
    "fault",
    [
        "lost line", "more lines", "no number", "no name", "no term", "broken", "copy", "500", "429", "503", "empty", "length",
        "error inside", "no key", "page",
    ],
)  # fmt: skip
def test_a_wrong_answer_is_asked_for_again(fault: str) -> None:
    with chat_server(right, faults=[fault]) as seen:
        found = translator(seen, reflect="no")[0].translate(REQUEST)
    assert texts(found) == list(RIGHT.values())
    assert len(seen.requests) == 2


def test_only_wrong_lines_are_asked_for_again_with_their_problem() -> None:
    with chat_server(right, faults=["no number"]) as seen:
        found = translator(seen, reflect="no")[0].translate(REQUEST)
    again = json.loads(seen.requests[1]["messages"][1]["content"])["lines"]
    assert [line["text"] for line in again] == [LINES[1], LINES[2], LINES[3]]
    assert again[0]["problem"] == "The number 1843 is missing."
    assert [line.n_tries for line in found] == [1, 2, 2, 2, 1]


@pytest.mark.parametrize("fault", ["list", "fence"])
def test_harmless_wrapping_is_understood(fault: str) -> None:
    with chat_server(right, faults=[fault]) as seen:
        found = translator(seen, reflect="no")[0].translate(REQUEST)
    assert texts(found) == list(RIGHT.values())
    assert len(seen.requests) == 1


def test_three_tries_then_a_strict_one_then_halves() -> None:
    with chat_server(right, faults=["lost line"] * 4) as seen:
        found = translator(seen, reflect="no")[0].translate(REQUEST)
    assert texts(found) == list(RIGHT.values())
    sizes = [len(json.loads(one["messages"][1]["content"])["lines"]) for one in seen.requests]
    strict = ["refused several times" in one["messages"][0]["content"] for one in seen.requests]
    assert sizes == [5, 5, 5, 5, 2, 3]
    assert strict == [False, False, False, True, False, False]


def test_a_line_that_stays_wrong_is_named_and_the_others_are_not_lost(tmp_path: Path) -> None:
    def mostly_right(text: str, task: str) -> str:
        return "Ella lo escribió hace mucho." if "1843" in text else right(text, task)

    with chat_server(mostly_right) as seen:
        found = translator(seen, tmp_path)[0].translate(REQUEST)
    assert texts(found) == [None if "1843" in line else RIGHT[line] for line in LINES]
    assert found[1].problem == "The number 1843 is missing. The name Ada Lovelace is missing."
    assert len(list(tmp_path.rglob("*.json"))) == 4


def test_an_answer_that_only_improves_may_be_wrong() -> None:
    with chat_server(right, faults=["", "broken", "copy"]) as seen:
        found = translator(seen)[0].translate(REQUEST)
    assert texts(found) == list(RIGHT.values())
    assert {line.problem for line in found} == {None}


def test_valid_lines_are_cached_for_each_model_and_context(tmp_path: Path) -> None:
    with chat_server(right) as seen:
        translator(seen, tmp_path)[0].translate(REQUEST)
        asked = len(seen.requests)
        again = translator(seen, tmp_path)[0].translate(REQUEST)
        assert again == [TranslatedLine(i, RIGHT[line], None, 0) for i, line in enumerate(LINES)]
        assert len(seen.requests) == asked
        translator(seen, tmp_path, model="other")[0].translate(REQUEST)
        assert len(seen.requests) == 2 * asked
        translator(seen, tmp_path)[0].translate(replace(REQUEST, terms=()))
        question = json.loads(seen.requests[-2]["messages"][1]["content"])
        assert [line["text"] for line in question["lines"]] == [LINES[0], LINES[2]]


def test_what_is_wrong_in_the_cache_is_not_used(tmp_path: Path) -> None:
    with chat_server(right) as seen:
        translator(seen, tmp_path)[0].translate(REQUEST)
        for number, path in enumerate(sorted(tmp_path.rglob("*.json"))):
            content = json.loads(path.read_text())
            path.write_text("{" if number == 0 else json.dumps({**content, "translation": "Nada."}))
        found = translator(seen, tmp_path)[0].translate(replace(REQUEST, lines=LINES))
    assert [line.text for line in found if line.n_tries] == [
        RIGHT[LINES[line.line_idx]] for line in found if line.n_tries
    ]
    assert sum(line.n_tries > 0 for line in found) >= 4


def test_the_pauses_between_tries_grow_and_keep_to_the_server() -> None:
    with chat_server(right, faults=["500", "429", "503", "error inside"]) as seen:
        engine, pauses = translator(seen, reflect="no")
        assert texts(engine.translate(REQUEST)) == list(RIGHT.values())
    assert pauses == [1.0, 7.0, 4.0, 8.0]


def test_a_server_that_does_not_answer_in_time_is_asked_again() -> None:
    with chat_server(right, faults=["slow"]) as seen:
        found = translator(seen, reflect="no", timeout_s=0.5)[0].translate(REQUEST)
    assert texts(found) == list(RIGHT.values())


@pytest.mark.parametrize(
    ("faults", "options", "error"),
    [
        (["500"] * 10, {}, HttpServerError),
        (["401"], {}, HttpRefused),
        ([], {"model": "absent"}, NotFound),
    ],
)
def test_a_server_that_never_works_is_an_error_of_the_lesson(
    faults: list[str], options: dict[str, str], error: type[Exception]
) -> None:
    with chat_server(right, faults=faults) as seen, pytest.raises(error):
        translator(seen, **options)[0].translate(REQUEST)


def test_no_server_is_an_error_of_the_lesson() -> None:
    with chat_server(right) as seen:
        pass
    with pytest.raises(NetworkError, match="Is it running"):
        translator(seen)[0].translate(REQUEST)


def test_one_part_without_an_answer_is_named() -> None:
    lines = (*LINES, *LINES, *LINES)
    with chat_server(right, faults=["500"] * 5) as seen:
        found = translator(seen, reflect="no")[0].translate(replace(REQUEST, lines=lines))
    assert texts(found[:10]) == [None] * 10
    assert "answered 500: llama runner process" in str(found[0].problem)
    assert texts(found[10:]) == list(RIGHT.values())


def test_lines_that_are_too_long_are_shortened_or_flagged(tmp_path: Path) -> None:
    request = replace(REQUEST, max_chars=(None, None, None, 10, 20))
    with chat_server(right) as seen:
        found = translator(seen, tmp_path, reflect="no")[0].translate(request)
    assert (found[4].text, found[4].problem) == ("Gracias por todo.", None)
    assert found[3].text == RIGHT[LINES[3]]
    assert found[3].problem == "The line has 30 characters, 10 fit."
    assert len(list(tmp_path.rglob("*.json"))) == 4


def test_a_line_is_shortened_when_its_speech_is_too_long(tmp_path: Path) -> None:
    with chat_server(right, faults=["copy"]) as seen:
        engine = translator(seen, tmp_path)[0]
        assert engine.shorten(REQUEST, 4, RIGHT[LINES[4]], 20) == TranslatedLine(4, "Gracias por todo.", None, 2)
        assert engine.shorten(REQUEST, 4, RIGHT[LINES[4]], 20).n_tries == 0
        failed = engine.shorten(REQUEST, 1, RIGHT[LINES[1]], 5)
    assert (failed.text, failed.n_tries) == (None, 4)
    assert failed.problem == "It could not be shortened. The line has 33 characters, 5 fit."


def test_terms_that_nobody_has_decided_about_get_one_translation_for_all_lines(tmp_path: Path) -> None:
    def with_terms(text: str, task: str) -> str:
        return {"layers": "capas", "attention": ""}[text] if task == "terms" else right(text, task)

    request = replace(REQUEST, terms=(*TERMS, Term("layers", ""), Term("attention", ""), Term("absent", "")))
    with chat_server(with_terms) as seen:
        for _ in range(2):
            found = translator(seen, tmp_path, reflect="no")[0].translate(request)
        assert texts(found) == list(RIGHT.values())
        asked = [json.loads(one["messages"][1]["content"]) for one in seen.requests]
    assert len(asked) == 2
    assert [line["text"] for line in asked[0]["lines"]] == ["layers", "attention"]
    assert asked[0]["context_before"] == [LINES[2], LINES[4]]
    assert {"source": "layers", "target": "capas"} in asked[1]["terms"]
    with chat_server(with_terms, faults=["broken"]) as seen:
        assert texts(translator(seen, reflect="no")[0].translate(request)) == list(RIGHT.values())


def test_lines_without_words_are_not_asked_for() -> None:
    with chat_server(right) as seen:
        found = translator(seen)[0].translate(TranslationRequest(("…", "  "), "en", "es"))
    assert [line.problem for line in found] == ["The line has no words."] * 2
    assert seen.requests == []
    assert translator(seen)[0].translate(TranslationRequest((), "en", "es")) == []


@pytest.mark.parametrize("choice", ["ollama", "ollama:http://h?x=1", "openai:ftp://h?model=m", "openai?model=m"])
def test_what_is_missing_is_said(choice: str) -> None:
    with pytest.raises(EngineUnavailable, match="PODLAKE_TRANSLATOR"):
        registry.load_translator(EngineChoice.parse_voice(choice))


def test_the_key_is_sent_but_is_no_part_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLAKE_TRANSLATION_API_KEY", "secret")
    with chat_server(right) as seen:
        engine, _ = translator(seen, dialect="openai")
        engine.translate(REQUEST)
    assert seen.requests[0]["key"] == "Bearer secret"
    assert "secret" not in repr(engine.spec)
    assert engine.spec.fingerprint != registry.describe("translator", EngineChoice("openai", seen.url)).fingerprint
