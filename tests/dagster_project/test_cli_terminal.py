"""Tables for the terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from dagster_project.commands.terminal import cell, render

KEY = "the-corner-table-20260101-6b86b273"


def test_numbers_are_aligned_right_text_left_and_null_is_shown() -> None:
    rows = [("a", 1, Decimal("0.50")), ("bcd", None, Decimal("12.00"))]
    assert render(("name", "n", "hours"), rows).splitlines() == [
        "name     n  hours",
        "─────────────────",
        "a        1   0.50",
        "bcd   NULL  12.00",
    ]


def test_the_widest_text_wraps_first_and_keys_and_numbers_stay_whole() -> None:
    lines = render(("id", "n", "text"), [(KEY, 123456789012, "word " * 12)], width=70).splitlines()
    assert lines[2].startswith(f"{KEY}  123456789012  word")
    assert max(map(len, lines)) <= 70
    assert " ".join(lines).split().count("word") == 12


def test_text_without_spaces_wraps_too() -> None:
    lines = render(("id", "text"), [("a", "x" * 60)], width=40).splitlines()
    assert "".join(lines[2:]).count("x") == 60


def test_an_embedding_is_cut_and_other_lists_are_not() -> None:
    assert cell([0.03128323, -2.5, *[0.0] * 190]) == "[0.0313, -2.5, … 192 numbers]"
    assert cell(["flag"] * 20) == f"[{', '.join(['flag'] * 20)}]"
    assert cell([0.5, None]) == "[0.5, NULL]"


def test_every_row_is_one_line_where_the_output_is_not_a_terminal() -> None:
    assert len(render(("id", "text"), [(KEY, "word " * 1000)]).splitlines()) == 3


def test_no_rows_is_a_header() -> None:
    assert render(("a", "b"), []).splitlines()[0] == "a  b"


def test_wide_characters_take_two_columns_and_markup_is_text() -> None:
    assert render(("标题", "n"), [("中文播客", 1), ("[red]", 2)], width=20).splitlines() == [
        "标题      n",
        "───────────",
        "中文播客  1",
        "[red]     2",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "True"),
        (1.5, "1.5"),
        ([], "[]"),
        (["audio", None], "[audio, NULL]"),
        (datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), "2026-01-02 03:04:05"),
        ("two\nlines\x1b[31m", "two lines [31m"),
    ],
)
def test_cells(value: object, text: str) -> None:
    assert cell(value) == text
