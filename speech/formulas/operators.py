"""Says sums, integrals, limits, functions, arrows and what depends on the signs around them."""

from __future__ import annotations

import re

from speech.formulas.quantities import ordinal_words, unit_at
from speech.formulas.scripts import powered
from speech.formulas.shapes import (
    ARROWS,
    BARS,
    EMPTY,
    FUNCTION_LETTERS,
    LIMITS,
    MINUS,
    PRIMES,
    SCRIPTS,
    TRIGONOMETRIC,
    Row,
    Said,
    Speaker,
    are_bars_paired,
    closing_index,
    is_chemical,
    is_operand,
    is_sign,
    is_term,
    is_vector,
    parts_of,
    split_at,
    split_at_words,
)
from speech.formulas.tree import Node
from speech.spoken_units import unit_words


def say_large_operator(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    """Integrals, sums, limits and maxima, with what they range over."""
    base, lower, upper = parts_of(nodes[index])
    words = speaker.words
    name = words.integral.get(base) or words.big.get(base)
    of = f" {words.of}" if is_operand(nodes, index + 1) or is_sign(nodes, index + 1) else ""
    if name:
        if lower and upper:
            name += " " + words.from_to.format(condition_words(speaker, lower), speaker.row(upper))
        elif lower:
            name += " " + words.over_domain.format(condition_words(speaker, lower))
        elif upper:
            name += f" {words.to} {speaker.row(upper)}"
        return name + of, index + 1
    if not lower or upper or base not in words.functions:
        return None
    name = words.functions[base]
    if base in LIMITS and any(node.text in ARROWS for node in lower):
        return words.limit.format(name, speaker.row(approaching(speaker, lower))), index + 1
    if base in ("max", "min", "sup", "inf", "argmax", "argmin", *LIMITS):
        return words.over_variable.format(name, condition_words(speaker, lower)), index + 1
    return None


def approaching(speaker: Speaker, nodes: Row) -> tuple[Node, ...]:
    """The condition of a limit: arrows approach, and 0^+ is approached from the right."""
    changed: list[Node] = []
    for node in nodes:
        if node.text in ARROWS:
            changed.append(Node("said", speaker.words.approaches))
        elif node.tag == "msup" and str(node.children[1][-1] if node.children[1] else "") in ("+", "−"):
            side = speaker.words.from_right if str(node.children[1][-1]) == "+" else speaker.words.from_left
            changed += [*node.children[0], Node("said", side)]
        else:
            changed.append(node)
    return tuple(changed)


def condition_words(speaker: Speaker, nodes: Row) -> str:
    r"""Conditions under an operator: those of \substack follow one another."""
    if len(nodes) == 1 and nodes[0].tag == "mtable":
        return ", ".join(condition_words(speaker, cell.children[0]) for row in nodes[0].children for cell in row)
    said = speaker.row(nodes)
    return said.replace(f" {speaker.words.copula}", " ")


def say_function(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    node = nodes[index]
    name, end = name_at(nodes, index)
    base, lower, upper = (name, EMPTY, EMPTY) if name else parts_of(node)
    words = speaker.words
    if base not in words.functions or base == "mod" or (node.tag == "mtext" and not node.is_upright):
        return None
    said = words.functions[base]
    if base in ("log", "lg") and lower:
        said = words.log_base.format(speaker.row(lower))
    else:
        if lower:
            said = words.sub.format(said, speaker.row(lower))
        if [one.text for one in upper] in (["−", "1"], ["-", "1"]) and base in TRIGONOMETRIC:
            said = words.inverse.format(said)
        elif upper:
            said = powered(speaker, said, upper, operand_follows=False)
        if is_operand(nodes, end) or is_sign(nodes, end):
            said = f"{said} {words.of}"
    inner = inner_words(speaker, nodes, end)
    return (f"{said} {inner[0]}", inner[1]) if inner else (said, end)


def name_at(nodes: Row, index: int) -> tuple[str, int]:
    """Letters in roman type that are one word: `Var`."""
    end = index
    while end < len(nodes) and nodes[end].tag == "mi" and nodes[end].is_upright and nodes[end].text.isalpha():
        end += 1
    return ("".join(node.text for node in nodes[index:end]), end) if end > index else ("", index + 1)


def say_application(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    """`f(x)`, `P(A|B)`, `f'(x)`."""
    base, _, upper = parts_of(nodes[index])
    letter = base or nodes[index].text
    if letter not in FUNCTION_LETTERS and not _is_of_a_variable(nodes, index, letter):
        return None
    is_inverse = [one.text for one in upper] in (["−", "1"], ["-", "1"])
    is_order = len(upper) > 2 and upper[0].text == "(" and upper[-1].text == ")"
    if upper and not (is_inverse or is_order or all(one.text in PRIMES for one in upper)):
        return None
    opener = ("(", "[") if letter == "E" else ("(",)
    if index + 1 >= len(nodes) or nodes[index + 1].text not in opener:
        return None
    inner = inner_words(speaker, nodes, index + 1)
    name = speaker.row((nodes[index],))
    if is_inverse:
        name = speaker.words.inverse.format(speaker.row(nodes[index].children[0]))
    elif is_order:
        order = (
            ordinal_words(speaker, speaker.row(upper[1:-1]))
            if upper[1].tag != "mn"
            else ordinal_words(speaker, upper[1].text)
        )
        name = speaker.words.derivative_order.format(order, speaker.row(nodes[index].children[0]))
    if inner is not None:
        return speaker.words.application.format(name, inner[0]), inner[1]
    end = closing_index(nodes, index + 1)
    if end is None:
        return speaker.words.application.format(name, "").strip(), index + 1
    argument = speaker.row([nodes[index + 1], *_with_given(speaker, nodes[index + 2 : end])])
    return speaker.words.application.format(name, argument), end


def _is_of_a_variable(nodes: Row, index: int, letter: str) -> bool:
    """`v(t)`: one letter in parentheses after another one is rather an argument than a factor."""
    inner = nodes[index + 1 : index + 4]
    return (
        len(letter) == 1 and letter.isalpha() and nodes[index].tag in ("mi", *SCRIPTS) and len(inner) == 3
        and inner[0].text == "(" and inner[1].tag == "mi" and inner[1].text.isalpha() and inner[1].text != letter
        and inner[2].text == ")"
    )  # fmt: skip


def _with_given(speaker: Speaker, nodes: Row) -> Row:
    """The argument of a probability: a bar that is not of an absolute value is "given"."""
    if are_bars_paired(nodes):
        return nodes
    return [Node("said", speaker.words.given) if node.text in BARS else node for node in nodes]


def inner_words(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    """What stands in parentheses after a function, if it needs none in speech."""
    if index >= len(nodes) or nodes[index].text not in ("(", "["):
        return None
    end = closing_index(nodes, index)
    if end is None or nodes[end].tag != "mo":
        return None
    inner = _with_given(speaker, nodes[index + 1 : end])
    parts = split_at(inner, ",")
    simple = all(is_term(piece) for part in parts for piece in split_at_words(part))
    return (speaker.row(inner), end + 1) if simple else None


def say_upright(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    """A word in roman type, or the elements of a molecule."""
    factors, end = unit_at(speaker, nodes, index)
    symbol = nodes[index].text.strip()
    is_quotient = (len(factors) > 1 and index + 1 < len(nodes)) or "/" in symbol
    if factors and (is_quotient or (nodes[index].is_upright and len(factors[0][0]) > 1 and factors[0][0] != "min")):
        return unit_words(factors, speaker.language, plural=True), end
    if not nodes[index].is_upright or nodes[index].tag != "mi":
        return None
    name, end = name_at(nodes, index)
    chemical = (end < len(nodes) and is_chemical(nodes[end])) or (index > 0 and is_chemical(nodes[index - 1]))
    if chemical or not re.fullmatch(r"[A-Za-z]?[a-z]+", name):
        return " ".join(speaker.node(node) for node in nodes[index:end]), end
    return name, end


def say_colon(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    if nodes[index].text != ":":
        return None
    if index + 1 < len(nodes) and nodes[index + 1].text == "=":
        return speaker.words.symbols["≔"], index + 2
    if any(node.text in ARROWS for node in nodes[index:]):
        return speaker.words.from_, index + 1
    before = [node.text for node in nodes[:index]]
    if "∃" in before:
        return speaker.words.such_that, index + 1
    return (",", index + 1) if "∀" in before else None


def say_arrow(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    """The arrow of a reaction, and that before what is approached."""
    if nodes[index].text not in ARROWS:
        return None
    if nodes[index].tag == "mtext" or any(map(is_chemical, nodes)):
        return speaker.words.yields, index + 1
    target = next((one for one in nodes[index + 1 :] if one.text not in (*MINUS, "+")), None)
    if target is not None and (target.tag == "mn" or target.text == "∞"):
        return speaker.words.approaches, index + 1
    return None


def say_product(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    """The dot and the cross of vectors; the sign of a distribution."""
    text = nodes[index].text
    if text in ("~", "∼") and index + 2 < len(nodes) and nodes[index + 2].text == "(":
        return speaker.words.distributed, index + 1
    if text not in ("·", "⋅", "×") or not 0 < index < len(nodes) - 1:
        return None
    follows = is_vector(nodes[index + 1]) or nodes[index + 1].text == "d"
    if not (is_vector(nodes[index - 1]) and follows) and nodes[index - 1].text != "∇":
        return None
    return (speaker.words.cross_product if text == "×" else speaker.words.dot_product), index + 1


def say_relation(speaker: Speaker, nodes: Row, index: int) -> Said | None:
    """After a quantifier: "for all x greater than zero", without "is"."""
    words = speaker.words
    said = words.symbols.get(nodes[index].text, "")
    if index > 1 and nodes[index - 2].text in ("∀", "∃") and said.startswith(words.copula):
        return said.removeprefix(words.copula), index + 1
    return None
