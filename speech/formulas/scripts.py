"""Says roots, powers, indices and accents."""

from __future__ import annotations

from speech.formulas.quantities import ordinal_words, part_words, unit_at
from speech.formulas.shapes import (
    MINUS,
    PRIMES,
    SCRIPTS,
    Row,
    Said,
    Speaker,
    is_chemical,
    is_operand,
    is_operator,
    is_term,
)
from speech.formulas.tree import Node


def say_root(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    node = nodes[index]
    if node.tag not in ("msqrt", "mroot"):
        return None
    words = speaker.words
    inner = node.children[0]
    degree = "".join(map(str, node.children[1])) if node.tag == "mroot" else "2"
    form = {"2": words.square_root, "3": words.cube_root}.get(degree, words.nth_root)
    ordinal = (
        ordinal_words(speaker, degree if degree.isdigit() else speaker.row(node.children[1]))
        if form is words.nth_root
        else ""
    )
    said = form.format(speaker.row(inner), ordinal)
    if not is_term(inner) or is_operand(nodes, index + 1):
        said = f"{said} {words.end_root}"
    return said, index + 1


def say_script(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    node = nodes[index]
    if node.tag not in SCRIPTS or len(node.children) < 2:
        return None
    if node.tag in ("munder", "mover", "munderover"):
        return accented(speaker, node), index + 1
    base = node.children[0]
    if not base:
        above = node.children[1:][::-1]
        return " ".join(degree_words(speaker, row) or speaker.row(row) for row in above), index + 1
    return with_scripts(speaker, speaker.row(base), node, nodes, index + 1), index + 1


def degree_words(speaker: Speaker, row: Row) -> str | None:
    return speaker.words.symbols["°"] if len(row) == 1 and row[0].text == "∘" else None


def with_scripts(speaker: Speaker, base: str, node: Node, nodes: Row, after: int) -> str:
    """What is said of a base, with the index and the exponent of a node."""
    said = base
    follows = is_operand(nodes, after)
    last = node.children[0][-1] if node.children[0] else None
    if last is not None and last.tag == "mn" and unit_at(speaker, nodes, after)[0]:
        follows = False
    if node.tag in ("msub", "msubsup"):
        said = indexed(speaker, said, node, follows=follows and node.tag == "msub")
    if node.tag in ("msup", "msubsup"):
        said = raised(speaker, said, node.children[-1], last, follows=follows)
    return said


def indexed(speaker: Speaker, said: str, node: Node, *, follows: bool) -> str:
    lower = node.children[1]
    name = "".join(node.text for node in lower)
    if name in speaker.words.functions:  # a maximal value, and no maximum
        lower = (Node("mtext", name),)
    if is_chemical(node):
        return f"{said} {speaker.row(lower)}"
    said = speaker.words.sub.format(said, speaker.row(lower))
    if not (is_term(lower) or "," in [one.text for one in lower]) or (follows and len(lower) > 1):
        said = f"{said} {speaker.words.end_sub}"
    return said


def raised(speaker: Speaker, said: str, upper: Row, base: Node | None, *, follows: bool) -> str:  # noqa: PLR0911
    words = speaker.words
    text = upper[0].text if len(upper) == 1 else ""
    if upper and all(one.text in PRIMES for one in upper):
        return f"{said} {words.prime[PRIMES.index(upper[0].text)]}"
    if upper and upper[0].text in PRIMES:  # f'^2
        return raised(speaker, f"{said} {words.prime[PRIMES.index(upper[0].text)]}", upper[1:], base, follows=follows)
    if text == "∘":
        return words.degrees.format(said)
    if text in ("⊤", "⊺") or (text == "T" and base is not None and (base.is_bold or base.text.isupper())):
        return words.transpose.format(said)
    if text in ("*", "∗", "⋆"):
        return words.star.format(said)
    if upper and upper[-1].text in ("+", *MINUS, "†", "±", "∓"):  # an ion, or one side of a limit
        return f"{said} {speaker.row(upper)}"
    return powered(speaker, said, upper, operand_follows=follows)


def powered(speaker: Speaker, said: str, upper: Row, *, operand_follows: bool) -> str:
    words = speaker.words
    text = upper[0].text if len(upper) == 1 and upper[0].tag == "mn" else ""
    if text in ("2", "3"):
        return (words.squared if text == "2" else words.cubed).format(said)
    said = words.power.format(said, speaker.row(upper))
    return f"{said} {words.end_power}" if not is_term(upper) or operand_follows else said


def accented(speaker: Speaker, node: Node) -> str:
    words = speaker.words
    base, *labels = node.children
    is_line = len(labels) == 1 and str(labels[0][0] if labels[0] else "") in ("―", "¯")
    said = part_words(speaker, base) if is_line else speaker.row(base)
    for label in labels:
        text = "".join(map(str, label))
        accent = words.accents.get(text) if len(label) == 1 else None
        if accent and not (len(base) == 1 and is_operator(base, 0)):
            said = accent.format(said) if text != "―" or node.tag == "mover" else said
        elif text in {"def", "△"}:
            said = words.symbols["≔"]
        elif label:
            said = words.with_words.format(said, speaker.row(label))
    return said
