"""Says what stands between fences: matrices, cases, sets, absolute values, binomial coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from speech.formulas.scripts import with_scripts
from speech.formulas.shapes import (
    BARS,
    NORMS,
    SCRIPTS,
    Row,
    Said,
    Speaker,
    base_text,
    closing_index,
    depth_of,
    ends_operand,
    is_operand,
    is_operator,
    is_term,
    split_at,
    starts_with_relation,
    without_comma,
)
from speech.formulas.tree import LINES, Node
from speech.number_words import decimal_words


def say_table(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    """Matrices, determinants, vectors, cases and systems, with their fences."""
    opener = nodes[index].text if nodes[index].tag == "mo" else ""
    at = index + 1 if opener else index
    if at >= len(nodes) or nodes[at].tag != "mtable":
        return None
    rows = nodes[at].children
    if opener == "{":
        end = at + 2 if at + 1 < len(nodes) and nodes[at + 1].text == "}" else at + 1
        return case_words(speaker, rows), end
    if not opener and (nodes[at].text == LINES or all(len(row) == 1 for row in rows)):
        return "; ".join(filter(None, (cell_words(speaker, row) for row in rows))), at + 1
    if opener and opener not in "([|‖":
        return None
    end = at + 1
    script = None
    if opener and end < len(nodes) and base_text(nodes[end]) in (")", "]", "|", "‖"):
        script = nodes[end] if nodes[end].tag in SCRIPTS else None
        end += 1
    said = matrix_words(speaker, rows, closed=is_operand(nodes, end) or is_operator(nodes, end) or script is not None)
    if opener == "|":
        said = speaker.words.determinant.format(said)
    if script is not None:
        matrix = Node("mi", is_bold=True)  # T is then the transpose
        said = with_scripts(speaker, said, replace(script, children=((matrix,), *script.children[1:])), nodes, end)
    return said, end


def matrix_words(speaker: Speaker, rows: Sequence[Row], *, closed: bool) -> str:
    words = speaker.words
    cells = [[speaker.row(cell.children[0]) for cell in row] for row in rows]
    if len(cells[0]) == 1 and len(cells) > 1:
        said = words.column_vector.format(", ".join(row[0] for row in cells if row))
    elif len(cells) == 1 and len(cells[0]) > 1:
        said = words.row_vector.format(", ".join(cells[0]))
    else:
        lines = "; ".join(
            words.row.format(decimal_words(str(number), speaker.language), ", ".join(row))
            for number, row in enumerate(cells, start=1)
        )
        height, width = (decimal_words(str(one), speaker.language) for one in (len(cells), max(map(len, cells))))
        said = words.matrix.format(height, width, lines)
    return f"{said}; {words.end_matrix}" if closed else said


def cell_words(speaker: Speaker, row: Row) -> str:
    return speaker.row(tuple(node for cell in row for node in cell.children[0]))


def case_words(speaker: Speaker, rows: Sequence[Row]) -> str:
    filled = [row for row in rows if any(cell.children[0] for cell in row)]
    if all(len(row) == 1 or starts_with_relation(row[1].children[0]) for row in filled):
        return speaker.words.system.format("; ".join(cell_words(speaker, row) for row in filled))
    lines = []
    for row in filled:
        value = without_comma(row[0].children[0])
        condition = tuple(node for cell in row[1:] for node in cell.children[0])
        said = speaker.row(condition)
        if condition and condition[0].tag != "mtext":
            said = f"{speaker.words.if_} {said}"
        lines.append(f"{speaker.row(value)} {said}".strip())
    return speaker.words.cases.format("; ".join(lines))


def say_fence(speaker: Speaker, nodes: Row, index: int) -> Said | None:  # noqa: PLR0911 - one for each kind of fence
    opener = nodes[index].text if nodes[index].tag in ("mo", "mi") else ""
    if opener not in ("(", "{", "⌊", "⌈", "⟨"):
        return None
    if opener == "⟨":
        return _bracket(speaker, nodes, index)
    end = closing_index(nodes, index)
    if end is None:
        return None
    inner = tuple(nodes[index + 1 : end])
    words = speaker.words
    if opener == "(" and len(inner) == 1 and inner[0].tag == "mfrac" and not inner[0].is_bar:
        return grouped(speaker, speaker.row(inner), "", nodes, end, always=False)
    if opener == "(" and inner and inner[0].text == "mod":
        return words.modulo.format(speaker.row(inner[1:])), end + 1
    if opener == "(":
        return None
    if opener == "{":
        if not inner:
            return words.symbols["∅"], end + 1
        conditional = with_condition(speaker, inner)
        form = words.set_of if conditional is inner else words.set_where
        said = form.format(speaker.row(conditional))
        return grouped(speaker, said, words.end_set, nodes, end, always=False)
    form, closing = (words.floor, words.end_floor) if opener == "⌊" else (words.ceiling, words.end_ceiling)
    return grouped(speaker, form.format(speaker.row(inner)), closing, nodes, end, always=not is_term(inner))


def _bracket(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    """Inner products ⟨u, v⟩ and ⟨a|b⟩, and the bra ⟨a|."""
    end = closing_index(nodes, index)
    bar = next((at for at in range(index + 1, end or len(nodes)) if nodes[at].text in BARS), None)
    if end is None:
        return (f"bra {speaker.row(nodes[index + 1 : bar])}", bar + 1) if bar else None
    inner = nodes[index + 1 : end]
    parts = split_at(inner, ",") if bar is None else [inner[: bar - index - 1], inner[bar - index :]]
    if len(parts) != 2 or any(node.text in BARS for part in parts for node in part):
        return None
    return speaker.words.inner_product.format(*map(speaker.row, parts)), end + 1


def with_condition(speaker: Speaker, nodes: Row) -> Row:
    """What a set contains: its bar or colon is "such that", its other bars are absolute values."""
    depths = [depth_of(nodes[:at]) for at in range(len(nodes))]
    at = next((at for at, one in enumerate(nodes) if one.text in (":", "∣") and depths[at] == 0), None)
    if at is None and sum(base_text(one) == "|" for one in nodes) % 2:
        at = next(at for at, one in enumerate(nodes) if base_text(one) == "|")
    return nodes if at is None else (*nodes[:at], Node("said", speaker.words.such_that), *nodes[at + 1 :])


def say_bar(speaker: Speaker, nodes: Row, index: int) -> Said | None:  # noqa: PLR0911 - one for each meaning
    """Absolute values and norms; a bar alone divides, or is where a result is evaluated."""
    text = base_text(nodes[index])
    if text not in (*BARS, *NORMS):
        return None
    if nodes[index].tag in ("msub", "msubsup"):
        lower, *upper = nodes[index].children[1:]
        limits = speaker.words.from_to.format(speaker.row(lower), speaker.row(upper[0])) if upper else ""
        if limits:
            return speaker.words.evaluated.format(limits), index + 1
        return speaker.words.evaluated_at.format(speaker.row(lower)), index + 1
    ket = next((at for at in range(index + 1, len(nodes)) if nodes[at].text in ("⟩", "⟨", *BARS)), None)
    if ket is not None and nodes[ket].text == "⟩":
        return f"ket {speaker.row(nodes[index + 1 : ket])}", ket + 1
    kind = BARS if text in BARS else NORMS
    if nodes[index].tag in SCRIPTS:
        return None
    end = next(
        (
            at
            for at in range(index + 1, len(nodes))
            if base_text(nodes[at]) in kind and depth_of(nodes[index + 1 : at]) == 0
        ),
        None,
    )
    opens = index == 0 or not ends_operand(nodes[index - 1]) or text == "‖" or sum(
        base_text(node) in kind for node in nodes[index:]
    ) >= 2  # fmt: skip
    if end is None or end == index + 1 or not opens or text in ("∣", "∥"):
        return None
    inner = nodes[index + 1 : end]
    words = speaker.words
    form, closing = (words.absolute, words.end_absolute) if kind is BARS else (words.norm, words.end_norm)
    return grouped(speaker, form.format(speaker.row(inner)), closing, nodes, end, always=not is_term(inner))


def grouped(speaker: Speaker, said: str, closing: str, nodes: Row, end: int, *, always: bool) -> Said:
    """A part with its end, if that must be said, and with the power at its closing fence."""
    script = nodes[end] if nodes[end].tag in SCRIPTS else None
    if closing and (always or script is not None or is_operand(nodes, end + 1)):
        said = f"{said} {closing}"
    if script is not None:
        said = with_scripts(speaker, said, script, nodes, end + 1)
    return said, end + 1
