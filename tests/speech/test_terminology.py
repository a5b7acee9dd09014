"""Terms of a course: candidates from its lines, and users' lists."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.terminology import Candidate, TermsRefused, candidate_terms, course_terms, read_terms
from speech.types import Term

LINES = (
    "Today we talk about gradient descent with Ada Lovelace.",
    "Gradient descent is what every neural network uses.",
    "So a neural network learns, and NASA knows that.",
    "I think that the loss is small, says Ada Lovelace.",
    "The loss of this thing, the loss!",
)


def test_names_and_repeated_phrases_are_candidates() -> None:
    assert candidate_terms(LINES, "en") == [
        Candidate("Ada Lovelace", 2, "name"),
        Candidate("NASA", 1, "name"),
        Candidate("gradient descent", 2, "phrase"),
        Candidate("neural network", 2, "phrase"),
    ]
    assert candidate_terms(LINES, "en", most=1) == [Candidate("Ada Lovelace", 2, "name")]


def test_a_word_that_is_more_frequent_than_its_phrase_stays() -> None:
    lines = [*LINES, "This network is a network.", "Another network."]
    found = [one.source for one in candidate_terms(lines, "en")]
    assert {"network", "neural network"} <= set(found)
    assert "descent" not in found


def test_without_stop_words_there_are_only_names() -> None:
    assert candidate_terms(["Tämä on NASA ja verkko", "verkko on verkko", "verkko"], "fi") == [
        Candidate("NASA", 1, "name")
    ]
    assert candidate_terms([], "en") == []


def test_terms_of_the_user_win() -> None:
    user = [Term("Gradient descent", "descenso de gradiente", "one term"), Term("loss", "pérdida")]
    assert course_terms(user, candidate_terms(LINES, "en"))[:3] == (*user, Term("Ada Lovelace", "", "name"))
    assert len(course_terms(user, candidate_terms(LINES, "en"))) == 5


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "source,target,note\nloss,pérdida,\n Ada  Lovelace ,,a person\n"),
        ("a.csv", "\ufeffSource;Target;Note\nloss;pérdida;\nAda Lovelace;;a person\n"),
        ("a.yaml", "- {source: loss, target: pérdida}\n- {source: Ada Lovelace, target: '', note: a person}\n"),
    ],
)
def test_lists_of_users(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    assert read_terms(tmp_path / name) == [Term("loss", "pérdida"), Term("Ada Lovelace", "", "a person")]


def test_a_mapping_is_a_list_too(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("loss: pérdida\nAda:\n")
    assert read_terms(tmp_path / "a.yml") == [Term("loss", "pérdida"), Term("Ada", "")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"term,target\nloss,p\n", "needs a first line"),
        ("a.csv", b"source,target\n,p\n", "entry 1: a term needs a source"),
        ("a.csv", b"source,target\nloss,a\nLoss,b\n", "entry 2: 'Loss' is 'a' and 'b'"),
        ("a.csv", b"source,target\n\xff\xfe,p\n", "UTF-8"),
        ("a.yaml", b"[1, 2]", "list of mappings"),
        ("a.yaml", b"{a: [", "no YAML"),
        ("absent.csv", None, "cannot be read"),
    ],
)
def test_lists_that_cannot_be_read(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TermsRefused, match=message):
        read_terms(tmp_path / name)


@given(st.lists(st.text(max_size=60), max_size=12), st.sampled_from(["en", "de", "zh", "xx"]))
def test_candidates_occur_in_the_lines(lines: list[str], language: str) -> None:
    for candidate in candidate_terms(lines, language):
        assert 1 <= candidate.n_lines <= len(lines)
        assert candidate.source
