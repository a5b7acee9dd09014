"""What a node of a formula is to a listener: an operator, a factor, a term, a unit; and what the rules share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from speech.formulas.tree import NEW_LINE, Node
from speech.formulas.words import FormulaWords

Row = Sequence[Node]
Said = tuple[str, int]
"""The words, and the index of the first node that they do not contain."""


class Speaker(Protocol):
    """What a rule needs to say the parts of what it has found."""

    @property
    def words(self) -> FormulaWords:
        """The words of the language."""

    @property
    def language(self) -> str:
        """Its tag."""

    def row(self, nodes: Row) -> str:
        """Says nodes that stand side by side."""

    def node(self, node: Node) -> str:
        """Says a node alone."""


MINUS = ("−", "-")
RELATIONS = frozenset("=≠<>≤≥⩽⩾≪≫≈≡~∼≃≅∝≔∈∉∋⊂⊄⊆⊈⊃⊇→⟶←↔⇒⟹⇐⟸⇔⟺↦⟼⇌∣|∤⊥⟂∥∴∵⊢⊨≺≻")
OPERATORS = RELATIONS | frozenset("+−-±∓×·⋅*∗÷/:∪∩∖⧵∧∨⊕⊗∘,;.") | {NEW_LINE}
CLOSERS = frozenset(")]}⟩⌋⌉")
FUNCTION_LETTERS = frozenset("fghuFGHPENOLφϕψΦΓζη")
TRIGONOMETRIC = frozenset(("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh"))
LIMITS = ("lim", "lim sup", "lim inf")
ARROWS = ("→", "⟶")
BARS = ("|", "∣")
NORMS = ("‖", "∥")
PRIMES = ("′", "″", "‴")
SCRIPTS = ("msup", "msub", "msubsup", "munder", "mover", "munderover")
EMPTY: tuple[Node, ...] = ()


def parts_of(node: Node) -> tuple[str, Row, Row]:
    """The text of a base, what stands under it and what stands over it. A node without either has its text alone."""
    if node.tag in ("mi", "mo", "mtext"):
        return node.text, (), ()
    if node.tag not in SCRIPTS:
        return "", (), ()
    base = node.children[0]
    text = "".join(map(str, base))
    if len(base) == 1 and base[0].tag in SCRIPTS:
        return "", (), ()
    if node.tag in ("msub", "munder"):
        return text, node.children[1], ()
    if node.tag in ("msup", "mover"):
        return text, (), node.children[1]
    return text, node.children[1], node.children[2]


def base_text(node: Node) -> str:
    return node.children[0][0].text if node.tag in SCRIPTS and node.children[0] else node.text


def unit_text(node: Node) -> str | None:
    """A node as a part of a unit: `km`, `/`, `s^-2`."""
    if node.tag == "mtext" or (node.tag == "mi" and node.is_upright):
        return node.text.strip() or None
    if node.text in ("/", "·", "⋅"):
        return node.text
    if node.tag == "msup" and node.children[0]:
        base = "".join(filter(None, map(unit_text, node.children[0])))
        power = "".join(map(str, node.children[1])).replace("−", "-")
        return f"{base}^{power}" if base and re.fullmatch(r"-?\d", power) else None
    if node.tag == "mfrac":
        parts = ["".join(filter(None, map(unit_text, row))) for row in node.children]
        return "/".join(parts) if all(parts) else None
    return None


def power_of(node: Node) -> tuple[Node, str]:
    """A node without its exponent, and the exponent."""
    if node.tag == "msup" and len(node.children[0]) == 1:
        return node.children[0][0], "".join(map(str, node.children[1]))
    return node, ""


def differential_of(node: Node) -> tuple[str, str] | None:
    """`d` or `∂` and its order."""
    base, order = power_of(node)
    return (base.text, order) if base.tag in ("mi", "mo") and base.text in ("d", "∂") else None


def is_operator(nodes: Row, index: int) -> bool:
    return index < len(nodes) and nodes[index].tag in ("mi", "mo") and nodes[index].text in OPERATORS


def is_operand(nodes: Row, index: int) -> bool:
    """Whether a factor follows, which a listener could take for a part of what stands before it."""
    if index >= len(nodes) or is_operator(nodes, index):
        return False
    return (
        base_text(nodes[index]) not in CLOSERS
        and nodes[index].tag != "said"
        and (nodes[index].tag != "mtext" or len(nodes[index].text.strip()) == 1)
    )


def is_sign(nodes: Row, index: int) -> bool:
    return index < len(nodes) and nodes[index].text in (*MINUS, "+", "±", "∓", "|", "‖")


def ends_operand(node: Node) -> bool:
    return not (node.tag in ("mi", "mo") and (node.text in OPERATORS or node.text in ("(", "[", "{")))


def is_term(nodes: Row) -> bool:
    """A number, a letter or a product of them, with a sign at most: it needs no end in speech."""
    if nodes and nodes[0].tag in ("mi", "mo") and nodes[0].text in (*MINUS, "+", "±", "∓"):
        nodes = nodes[1:]
    return bool(nodes) and all(map(is_factor, nodes))


def is_factor(node: Node) -> bool:
    if node.tag in ("mi", "mo"):
        return (
            len(node.text) == 1
            and node.text not in OPERATORS
            and node.text not in ("(", ")", "[", "]", "{", "}", "‖", "∑", "∏", "∫")
        )
    if node.tag == "mfrac":
        return all(len(row) == 1 and row[0].tag == "mn" for row in node.children)
    if node.tag in ("msup", "msub", "msubsup"):
        return all(map(is_term, node.children))
    if node.tag in ("msqrt", "mroot"):
        return is_term(node.children[0])
    return node.tag in ("mn", "mtext", "mover", "munder")


def is_chemical(node: Node) -> bool:
    """`H_2` in roman type."""
    if node.tag not in ("msub", "msubsup") or len(node.children[0]) != 1 or len(node.children[1]) != 1:
        return False
    base = node.children[0][0]
    upright = (
        (base.tag == "mi" and base.is_upright) or (base.tag == "mtext" and len(base.text) <= 2) or base.text == ")"
    )
    return upright and base.text[:1].isalpha() and node.children[1][0].tag == "mn"


def is_vector(node: Node) -> bool:
    return node.is_bold or node.text == "∇" or (node.tag == "mover" and str(node.children[1][0]) == "→")


def starts_with_relation(nodes: Row) -> bool:
    return bool(nodes) and nodes[0].text in RELATIONS


def without_comma(nodes: Row) -> Row:
    return nodes[:-1] if nodes and nodes[-1].text == "," else nodes


def depth_of(nodes: Row) -> int:
    return sum((node.text in ("(", "[", "{")) - (base_text(node) in (")", "]", "}")) for node in nodes)


def are_bars_paired(nodes: Row) -> bool:
    """Whether the bars of a row are those of absolute values."""
    return sum(base_text(node) in BARS for node in nodes) % 2 == 0


def closing_index(nodes: Row, index: int) -> int | None:
    """Where the fence that opens at an index is closed."""
    opener = nodes[index].text
    closers = {"(": ")]", "[": "])", "{": "}", "⌊": "⌋", "⌈": "⌉", "⟨": "⟩"}[opener]
    depth = 0
    for position in range(index, len(nodes)):
        text = base_text(nodes[position])
        if text in ("(", "[", "{", "⌊", "⌈", "⟨") and nodes[position].tag in ("mo", "mi"):
            depth += 1
        elif text and text in ")]}⌋⌉⟩":
            depth -= 1
            if depth == 0:
                return position if text in closers else None
    return None


def split_at(nodes: Row, separator: str) -> list[Row]:
    parts: list[list[Node]] = [[]]
    for node in nodes:
        if node.text == separator:
            parts.append([])
        else:
            parts[-1].append(node)
    return [tuple(part) for part in parts]


def split_at_words(nodes: Row) -> list[Row]:
    parts: list[list[Node]] = [[]]
    for node in nodes:
        if node.tag == "said":
            parts.append([])
        else:
            parts[-1].append(node)
    return [tuple(part) for part in parts]
