"""Rows as a table to read: numbers aligned to the right, NULL shown, long text wrapped and never cut, embeddings cut."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNLIMITED = 1_000_000
"""Columns of an output that is not a terminal: each row stays on one line."""
_NARROWEST = 8
"""Columns that text needs beside keys and numbers."""

_MOST_NUMBERS = 16
"""Of a list: longer ones are embeddings, which nobody reads. The other output formats have them whole."""


def render(names: Sequence[str], rows: Sequence[Sequence[object]], *, width: int | None = None) -> str:
    """The rows under their names, at most `width` columns wide: by default those of the terminal.

    Text wraps where the space does not suffice, the widest column first. Numbers do not wrap, and neither does a column
    of single words, such as keys, unless that leaves no space for the others.
    """
    width = width or (shutil.get_terminal_size().columns if sys.stdout.isatty() else _UNLIMITED)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    columns = [[row[index] for row in rows] for index in range(len(names))]
    widths = [max(map(cell_len, [name, *map(cell, values)])) for name, values in zip(names, columns, strict=True)]
    stay = [not any(" " in cell(value) for value in values) for values in columns]
    fits = (
        sum(size if whole else _NARROWEST for size, whole in zip(widths, stay, strict=True)) + 2 * len(names) <= width
    )
    for name, values, size, whole in zip(names, columns, widths, stay, strict=True):
        if _are_numbers(values):
            table.add_column(Text(name), justify="right", min_width=size, no_wrap=True)
        else:
            table.add_column(Text(name), overflow="fold", no_wrap=fits and whole)
    for row in rows:
        table.add_row(*[Text(cell(value)) for value in row])
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(table, crop=False)
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n"))


def cell(value: object) -> str:
    """A value in one line, without the control characters that text from a feed can contain."""
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list | tuple):
        if len(value) > _MOST_NUMBERS and all(isinstance(one, int | float) for one in value):
            return f"[{value[0]:.3g}, {value[1]:.3g}, … {len(value)} numbers]"
        return f"[{', '.join(map(cell, value))}]"
    return "".join(character if character.isprintable() else " " for character in str(value))


def _are_numbers(values: Sequence[object]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float | Decimal) for value in known)
