"""Captions: what stands on a line and where, for each direction of writing and for words of any length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.audiogram.captions import is_rtl, pages_of
from speech.audiogram.card import ShownTurn, ShownWord


def ten_each(text: str) -> int:
    """Every character is ten pixels wide."""
    return 10 * len(text)


def turn(text: str, *, start_ms: int = 0, step_ms: int = 100) -> ShownTurn:
    words = text.split()
    return ShownTurn(
        "Maya", "#ffffff",
        tuple(ShownWord(word, start_ms + i * step_ms, start_ms + (i + 1) * step_ms) for i, word in enumerate(words)),
    )  # fmt: skip


def texts(*turns: ShownTurn, width: int = 110, lines: int = 2) -> list[list[list[tuple[str, int]]]]:
    found = pages_of(turns, width, lines, ten_each)
    return [[[(word.text, word.left) for word in line.words] for line in page.lines] for page in found]


def test_words_fill_lines_and_lines_fill_pages() -> None:
    assert texts(turn("one two three four five six")) == [
        [[("one", 0), ("two", 40)], [("three", 0), ("four", 60)]],
        [[("five", 0), ("six", 50)]],
    ]


def test_a_sentence_and_a_pause_begin_a_page_and_an_initial_does_not() -> None:
    assert [len(page) for page in texts(turn("Yes. He is J. Kay. No"))] == [1, 2, 1]
    paused = ShownTurn("", "#ffffff", (ShownWord("one", 0, 100), ShownWord("two", 1_600, 1_700)))
    assert texts(paused) == [[[("one", 0)]], [[("two", 0)]]]


def test_pages_of_two_speakers_follow_each_other_in_time() -> None:
    found = pages_of((turn("late", start_ms=500), turn("early")), 110, 2, ten_each)
    assert [(page.start_ms, page.end_ms) for page in found] == [(0, 100), (500, 600)]


def test_hebrew_runs_from_the_right_and_english_in_it_from_the_left() -> None:
    words = "שלום על the end היום"
    assert texts(turn(words), width=250) == [
        [[("היום", 50), ("the", 100), ("end", 140), ("על", 180), ("שלום", 210)]],
    ]


def test_a_line_that_begins_with_english_keeps_the_direction_of_its_sentence() -> None:
    assert texts(turn("שלום DuckDB היום"), width=110) == [
        [[("DuckDB", 0), ("שלום", 70)], [("היום", 70)]],
    ]
    assert texts(turn("he says שלום היום now"), width=250) == [
        [[("he", 0), ("says", 30), ("היום", 80), ("שלום", 130), ("now", 180)]],
    ]


def test_chinese_has_no_spaces() -> None:
    words = ShownTurn("", "#ffffff", tuple(ShownWord(char, i, i + 1) for i, char in enumerate("今天我们谈花园")))
    assert texts(words, width=50, lines=3) == [
        [[("今", 0), ("天", 10), ("我", 20), ("们", 30), ("谈", 40)], [("花", 0), ("园", 10)]],
    ]


def test_a_long_word_is_divided_and_a_mark_stays_with_its_letter() -> None:
    assert texts(turn("Donaudampfschiff ahoy"), width=100) == [
        [[("Donaudampf", 0)], [("schiff", 0)]],
        [[("ahoy", 0)]],
    ]
    (page,) = texts(turn("a\u0301" * 6), width=50, lines=9)
    assert [line[0][0] for line in page] == ["a\u0301a\u0301a\u0301", "a\u0301a\u0301a\u0301"]


def test_words_are_spoken_one_after_the_other() -> None:
    (page,) = pages_of((turn("one two three"),), 250, 2, ten_each)
    assert [page.spoken_at(at_ms) for at_ms in (-1, 0, 99, 100, 250)] == [0, 1, 1, 2, 3]


@pytest.mark.parametrize(("text", "found"), [("abc", False), ("שלום", True), ("١٢ مرحبا", True), ("12.", None)])
def test_the_direction_is_that_of_the_first_letter(text: str, found: bool | None) -> None:
    assert is_rtl(text) is found


@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40), max_size=30))
def test_no_character_is_lost_and_nothing_leaves_the_line(words: list[str]) -> None:
    given_words = tuple(ShownWord(word, i * 10, i * 10 + 9) for i, word in enumerate(words))
    pages = pages_of((ShownTurn("", "#ffffff", given_words),), 120, 2, ten_each)
    placed = [word for page in pages for line in page.lines for word in line.words]
    assert sorted("".join(word.text for word in placed)) == sorted("".join(word.strip() for word in words))
    bases = [word for word in placed if is_rtl(word.text) is not None or word.text.isascii()]
    assert all(word.left >= 0 and word.left + ten_each(word.text) <= 120 for word in bases)
