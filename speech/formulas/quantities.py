"""Says numbers with units, fractions and derivatives."""

from __future__ import annotations

from speech.formulas.fractions import fraction_words
from speech.formulas.shapes import MINUS, Row, Said, Speaker, differential_of, is_operand, is_term, power_of, unit_text
from speech.formulas.tree import Node
from speech.number_words import decimal_words
from speech.spoken_units import Factor, measure_words, parse_unit, unit_words


def say_measure(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    if nodes[index].tag != "mn":
        return None
    factors, end = unit_at(speaker, nodes, index + 1)
    return (measure_words(nodes[index].text, factors, speaker.language), end) if factors else None


def say_unit_after(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    """A unit after `10^{-3}` or a fraction."""
    before = nodes[index - 1] if index else None
    if before is None or not (
        before.tag == "mfrac"
        or (before.tag == "msup" and before.children[0][-1:] and before.children[0][-1].tag == "mn")
    ):
        return None
    factors, end = unit_at(speaker, nodes, index)
    return (unit_words(factors, speaker.language, plural=True), end) if factors else None


def unit_at(speaker: Speaker, nodes: Row, index: int) -> tuple[tuple[Factor, ...], int]:
    """The longest unit that begins at a node, and the index after it."""
    text, end = "", index
    found: tuple[Factor, ...] = ()
    for position in range(index, len(nodes)):
        part = unit_text(nodes[position])
        if part is None:
            break
        text += part
        factors = parse_unit(text, speaker.language)
        follower = unit_text(nodes[position + 1]) if position + 1 < len(nodes) else None
        if factors and not (follower and follower[0].isalpha() and part[-1].isalpha() and nodes[position].is_upright):
            found, end = factors, position + 1
    return found, end


def say_currency(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    r"""`\$5`."""
    name = speaker.words.currencies.get(nodes[index].text)
    if name is None:
        return None
    if index + 1 < len(nodes) and nodes[index + 1].tag == "mn":
        return f"{speaker.node(nodes[index + 1])} {name}", index + 2
    return name, index + 1


def say_mixed_number(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    if nodes[index].tag != "mn" or "." in nodes[index].text or index + 1 >= len(nodes):
        return None
    after = nodes[index + 1]
    part = numeric_words(speaker, after) if after.tag == "mfrac" else None
    if part is None or int(str(after.children[0][0])) >= int(str(after.children[1][0])):
        return None
    return speaker.words.mixed.format(speaker.node(nodes[index]), part), index + 2


def say_plain_fraction(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    """`1/2`."""
    part = nodes[index : index + 3]
    if len(part) < 3 or part[0].tag != "mn" or part[1].text != "/" or part[2].tag != "mn":
        return None
    said = numeric_words(speaker, Node("mfrac", children=((part[0],), (part[2],))))
    return (said, index + 3) if said else None


def numeric_words(speaker: Speaker, node: Node) -> str | None:
    """A fraction of two whole numbers whose name is short: "two thirds"."""
    if len(node.children) != 2 or not node.is_bar:
        return None
    above, below = node.children
    sign = ""
    if len(above) == 2 and above[0].text in MINUS:
        sign, above = f"{speaker.words.minus} ", above[1:]
    if len(above) != 1 or len(below) != 1 or above[0].tag != "mn" or below[0].tag != "mn":
        return None
    if not (above[0].text.isdigit() and below[0].text.isdigit()):
        return None
    said = fraction_words(int(above[0].text), int(below[0].text), speaker.language)
    return sign + said if said else None


def say_fraction(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    node = nodes[index]
    if node.tag != "mfrac" or len(node.children) != 2:
        return None
    above, below = node.children
    if not node.is_bar:
        return speaker.words.binomial.format(part_words(speaker, above), part_words(speaker, below)), index + 1
    said = numeric_words(speaker, node) or derivative_words(speaker, above, below)
    if said is None:
        short = is_term(above) and is_term(below) and not is_operand(nodes, index + 1)
        form = speaker.words.over if short else speaker.words.fraction
        said = form.format(speaker.row(above), speaker.row(below))
    return said, index + 1


def derivative_words(speaker: Speaker, above: Row, below: Row) -> str | None:
    sign = differential_of(above[0]) if above else None
    if sign is None:
        return None
    variables: list[str] = []
    position = 0
    while position < len(below):
        if differential_of(below[position]) != (sign[0], "") or position + 1 >= len(below):
            return None
        variable, power = power_of(below[position + 1])
        if not is_term((variable,)) or differential_of(variable):
            return None
        times = int(power) if power.isdigit() and len(below) > 2 else 1
        variables += [speaker.row((variable,))] * times
        position += 2
    if not variables:
        return None
    order = ordinal_words(speaker, sign[1]) + " " if sign[1] else ""
    by = f" {speaker.words.conjunction} ".join(variables)
    words = speaker.words
    forms = {("d", True): words.derivative, ("d", False): words.operator_derivative,
             ("∂", True): words.partial_derivative, ("∂", False): words.operator_partial}  # fmt: skip
    of = above[1:]
    return forms[sign[0], bool(of)].format(speaker.row(of), by, order)


def ordinal_words(speaker: Speaker, text: str) -> str:
    if text.isdigit() and 0 < int(text) <= len(speaker.words.ordinals):
        return speaker.words.ordinals[int(text) - 1]
    return speaker.words.nth.format(decimal_words(text, speaker.language) if text.isdigit() else text)


def part_words(speaker: Speaker, nodes: Row) -> str:
    """A part between two words, with parentheses around what has operators."""
    said = speaker.row(nodes)
    words = speaker.words
    return said if is_term(nodes) else f"{words.open_parenthesis} {said} {words.close_parenthesis}"
