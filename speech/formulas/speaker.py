"""Says a formula's tree in words. Where words alone would be ambiguous, the end of a part is said too.

A part with operators in it ends with "end root", "end power", "end fraction" and so on; so does one that another factor
follows. A minus is always said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from speech.formulas.fences import say_bar, say_fence, say_table
from speech.formulas.operators import (
    say_application,
    say_arrow,
    say_colon,
    say_function,
    say_large_operator,
    say_product,
    say_relation,
    say_upright,
)
from speech.formulas.quantities import (
    say_currency,
    say_fraction,
    say_measure,
    say_mixed_number,
    say_plain_fraction,
    say_unit_after,
)
from speech.formulas.scripts import say_root, say_script
from speech.formulas.shapes import Row, Said, Speaker
from speech.formulas.tree import NEW_LINE, Node
from speech.formulas.words import FormulaWords
from speech.number_words import decimal_words

_RULES: tuple[Callable[[Speaker, Row, int], Said | None], ...] = (
    say_measure,
    say_unit_after,
    say_mixed_number,
    say_plain_fraction,
    say_fraction,
    say_large_operator,
    say_function,
    say_application,
    say_upright,
    say_table,
    say_fence,
    say_bar,
    say_colon,
    say_relation,
    say_arrow,
    say_product,
    say_root,
    say_script,
    say_currency,
)
"""What may begin at a node, the most special first. A node that none of them says is said alone."""


class FormulaSpeaker:
    """Says formulas in one language."""

    def __init__(self, words: FormulaWords, language: str) -> None:
        self._words = words
        self._language = language

    @property
    def words(self) -> FormulaWords:
        return self._words

    @property
    def language(self) -> str:
        return self._language

    def say(self, nodes: Row) -> str:
        """The words of a row of nodes, with commas and semicolons where a speaker pauses."""
        said = self.row(nodes)
        said = re.sub(r"\s+([,;.:?])", r"\1", " ".join(said.split()))
        for separate, one in self._words.contractions:
            said = re.sub(separate, one, said)
        return re.sub(r"([,;:])(?:[,;])+", r"\1", said)

    def row(self, nodes: Row) -> str:
        parts: list[str] = []
        index = 0
        while index < len(nodes):
            said, index = self._next(nodes, index)
            parts.append(said)
        return " ".join(filter(None, parts))

    def _next(self, nodes: Row, index: int) -> Said:
        for rule in _RULES:
            said = rule(self, nodes, index)
            if said is not None:
                return said
        return self.node(nodes[index]), index + 1

    def node(self, node: Node) -> str:
        words = self._words
        if node.tag == "mn":
            return decimal_words(node.text, self._language)
        if node.tag in ("mi", "mo"):
            if node.text == NEW_LINE:
                return ";"
            return words.symbols.get(node.text) or _fences(words).get(node.text) or node.text
        if node.tag in ("mtext", "said"):
            return " ".join(node.text.split())
        return " ".join(self.row(row) for row in node.children)


def _fences(words: FormulaWords) -> Mapping[str, str]:
    return {
        "(": words.open_parenthesis, ")": words.close_parenthesis, "[": words.open_bracket, "]": words.close_bracket,
        "{": words.open_brace, "}": words.close_brace,
    }  # fmt: skip
