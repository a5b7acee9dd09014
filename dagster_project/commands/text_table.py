"""Rows as a table for the terminal: numbers aligned, NULL shown, long text cut with `…`."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

GAP = "  "
NARROWEST = 8
"""Characters that a column of text keeps, however many columns there are."""


def render(names: Sequence[str], rows: Sequence[Sequence[object]], *, width: int | None = None) -> str:
    """The rows under their names and a rule, at most `width` (by default the terminal's) characters wide.

    Only text is cut to fit: a number is shown whole or not at all.
    """
    width = width or shutil.get_terminal_size((120, 50)).columns
    columns = [[cell(row[index]) for row in rows] for index in range(len(names))]
    is_number = [_are_numbers([row[index] for row in rows]) for index in range(len(names))]
    needed = [max(map(display_width, [name, *column])) for name, column in zip(names, columns, strict=True)]
    widths = _fitted(needed, is_number, width - len(GAP) * (len(names) - 1))

    def line(cells: Sequence[str]) -> str:
        return GAP.join(map(_aligned, cells, widths, is_number)).rstrip()

    rule = GAP.join("─" * size for size in widths)
    return "\n".join([line(names), rule, *map(line, zip(*columns, strict=True))])


def cell(value: object) -> str:
    """A value in one line, without the control characters that text from a feed may hold."""
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(cell, value))}]"
    return "".join(character if character.isprintable() else " " for character in str(value))


def display_width(text: str) -> int:
    """Columns that the text takes in a terminal: two for a Chinese character, none for a combining mark."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _are_numbers(values: Sequence[object]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float | Decimal) for value in known)


def _fitted(needed: Sequence[int], is_number: Sequence[bool], width: int) -> list[int]:
    """The widest columns of text give way first."""
    cap = max(needed, default=0)
    while cap > NARROWEST and sum(_capped(needed, is_number, cap)) > width:
        cap -= 1
    return _capped(needed, is_number, cap)


def _capped(needed: Sequence[int], is_number: Sequence[bool], cap: int) -> list[int]:
    return [size if number else min(size, cap) for size, number in zip(needed, is_number, strict=True)]


def _aligned(text: str, width: int, is_number: bool) -> str:
    if display_width(text) > width:
        while display_width(text) >= width:
            text = text[:-1]
        text += "…"
    padding = " " * (width - display_width(text))
    return padding + text if is_number else text + padding
