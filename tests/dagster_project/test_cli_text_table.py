from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from dagster_project.commands.text_table import cell, display_width, render


def test_numbers_are_aligned_right_text_left_and_null_is_shown() -> None:
    rows = [("a", 1, Decimal("0.50")), ("bcd", None, Decimal("12.00"))]
    assert render(("name", "n", "hours"), rows).splitlines() == [
        "name     n  hours",
        "────  ────  ─────",
        "a        1   0.50",
        "bcd   NULL  12.00",
    ]


def test_the_widest_text_gives_way_first_and_numbers_never() -> None:
    table = render(("id", "n", "text"), [("show-1", 123456789012, "x" * 60)], width=40)
    assert table.splitlines()[2] == "show-1  123456789012  xxxxxxxxxxxxxxxxx…"
    assert max(map(len, table.splitlines())) == 40


def test_no_rows_is_a_header() -> None:
    assert render(("a", "b"), []) == "a  b\n─  ─"


def test_wide_characters_take_two_columns() -> None:
    assert display_width("中文 é") == 6
    assert render(("标题", "n"), [("中文播客", 1), ("abc", 2)], width=20).splitlines() == [
        "标题      n",
        "────────  ─",
        "中文播客  1",
        "abc       2",
    ]
    assert render(("标题",), [("中文播客节目",)], width=8).splitlines()[2] == "中文播…"


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
