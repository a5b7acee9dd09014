"""Says a formula's tree in words. Where words alone would be ambiguous, the end of a part is said too.

A part with operators in it ends with "end root", "end power", "end fraction" and so on; so does one that another factor
follows. A minus is always said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from speech.formulas.fractions import fraction_words
from speech.formulas.tree import LINES, NEW_LINE, Node
from speech.formulas.words import FormulaWords
from speech.number_words import decimal_words
from speech.spoken_units import Factor, measure_words, parse_unit, unit_words

Row = Sequence[Node]
Said = tuple[str, int]
"""The words, and the index of the first node that they do not contain."""
_MINUS = ("−", "-")
_RELATIONS = frozenset("=≠<>≤≥⩽⩾≪≫≈≡~∼≃≅∝≔∈∉∋⊂⊄⊆⊈⊃⊇→⟶←↔⇒⟹⇐⟸⇔⟺↦⟼⇌∣|∤⊥⟂∥∴∵⊢⊨≺≻")
_OPERATORS = _RELATIONS | frozenset("+−-±∓×·⋅*∗÷/:∪∩∖⧵∧∨⊕⊗∘,;.") | {NEW_LINE}
_CLOSERS = frozenset(")]}⟩⌋⌉")
_FUNCTION_LETTERS = frozenset("fghuFGHPEφϕψΦΓζη")
_TRIGONOMETRIC = frozenset(("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh"))
_LIMITS = ("lim", "lim sup", "lim inf")
_ARROWS = ("→", "⟶")
_BARS = ("|", "∣")
_NORMS = ("‖", "∥")
_PRIMES = ("′", "″", "‴")
_SCRIPTS = ("msup", "msub", "msubsup", "munder", "mover", "munderover")
_EMPTY: tuple[Node, ...] = ()


class FormulaSpeaker:
    """Says formulas in one language."""

    def __init__(self, words: FormulaWords, language: str) -> None:
        self._words = words
        self._language = language
        self._rules: tuple[Callable[[Row, int], Said | None], ...] = (
            self._measure, self._unit_after, self._mixed_number, self._plain_fraction, self._fraction, self._large,
            self._function, self._application, self._upright, self._table, self._fence, self._bar, self._colon, self._relation, self._arrow,
            self._product, self._root, self._script, self._currency,
        )  # fmt: skip

    def say(self, nodes: Row) -> str:
        """The words of a row of nodes, with commas and semicolons where a speaker pauses."""
        said = self._row(nodes)
        said = re.sub(r"\s+([,;.:?])", r"\1", " ".join(said.split()))
        for separate, one in self._words.contractions:
            said = re.sub(separate, one, said)
        return re.sub(r"([,;:])(?:[,;])+", r"\1", said)

    def _row(self, nodes: Row) -> str:
        parts: list[str] = []
        index = 0
        while index < len(nodes):
            said, index = self._next(nodes, index)
            parts.append(said)
        return " ".join(filter(None, parts))

    def _next(self, nodes: Row, index: int) -> Said:
        for rule in self._rules:
            said = rule(nodes, index)
            if said is not None:
                return said
        return self._node(nodes[index]), index + 1

    def _node(self, node: Node) -> str:
        words = self._words
        if node.tag == "mn":
            return decimal_words(node.text, self._language)
        if node.tag in ("mi", "mo"):
            if node.text == NEW_LINE:
                return ";"
            return words.symbols.get(node.text) or _FENCES(words).get(node.text) or node.text
        if node.tag in ("mtext", "said"):
            return " ".join(node.text.split())
        return " ".join(self._row(row) for row in node.children)

    # Numbers with units, fractions

    def _measure(self, nodes: Row, index: int) -> Said | None:
        if nodes[index].tag != "mn":
            return None
        factors, end = self._unit(nodes, index + 1)
        return (measure_words(nodes[index].text, factors, self._language), end) if factors else None

    def _unit_after(self, nodes: Row, index: int) -> Said | None:
        """A unit after `10^{-3}` or a fraction."""
        before = nodes[index - 1] if index else None
        if before is None or not (
            before.tag == "mfrac"
            or (before.tag == "msup" and before.children[0][-1:] and before.children[0][-1].tag == "mn")
        ):
            return None
        factors, end = self._unit(nodes, index)
        return (unit_words(factors, self._language, plural=True), end) if factors else None

    def _unit(self, nodes: Row, index: int) -> tuple[tuple[Factor, ...], int]:
        """The longest unit that begins at a node, and the index after it."""
        text, end = "", index
        found: tuple[Factor, ...] = ()
        for position in range(index, len(nodes)):
            part = _unit_text(nodes[position])
            if part is None:
                break
            text += part
            factors = parse_unit(text, self._language)
            follower = _unit_text(nodes[position + 1]) if position + 1 < len(nodes) else None
            if factors and not (
                follower and follower[0].isalpha() and part[-1].isalpha() and nodes[position].is_upright
            ):
                found, end = factors, position + 1
        return found, end

    def _mixed_number(self, nodes: Row, index: int) -> Said | None:
        if nodes[index].tag != "mn" or "." in nodes[index].text or index + 1 >= len(nodes):
            return None
        after = nodes[index + 1]
        part = self._numeric(after) if after.tag == "mfrac" else None
        if part is None or int(str(after.children[0][0])) >= int(str(after.children[1][0])):
            return None
        return self._words.mixed.format(self._node(nodes[index]), part), index + 2

    def _plain_fraction(self, nodes: Row, index: int) -> Said | None:
        """`1/2`."""
        part = nodes[index : index + 3]
        if len(part) < 3 or part[0].tag != "mn" or part[1].text != "/" or part[2].tag != "mn":
            return None
        said = self._numeric(Node("mfrac", children=((part[0],), (part[2],))))
        return (said, index + 3) if said else None

    def _numeric(self, node: Node) -> str | None:
        """A fraction of two whole numbers whose name is short: "two thirds"."""
        if len(node.children) != 2 or not node.is_bar:
            return None
        above, below = node.children
        sign = ""
        if len(above) == 2 and above[0].text in _MINUS:
            sign, above = f"{self._words.minus} ", above[1:]
        if len(above) != 1 or len(below) != 1 or above[0].tag != "mn" or below[0].tag != "mn":
            return None
        if not (above[0].text.isdigit() and below[0].text.isdigit()):
            return None
        said = fraction_words(int(above[0].text), int(below[0].text), self._language)
        return sign + said if said else None

    def _fraction(self, nodes: Row, index: int) -> Said | None:
        node = nodes[index]
        if node.tag != "mfrac" or len(node.children) != 2:
            return None
        above, below = node.children
        if not node.is_bar:
            return self._words.binomial.format(self._part(above), self._part(below)), index + 1
        said = self._numeric(node) or self._derivative(above, below)
        if said is None:
            short = _is_term(above) and _is_term(below) and not _is_operand(nodes, index + 1)
            form = self._words.over if short else self._words.fraction
            said = form.format(self._row(above), self._row(below))
        return said, index + 1

    def _derivative(self, above: Row, below: Row) -> str | None:
        sign = _differential(above[0]) if above else None
        if sign is None:
            return None
        variables: list[str] = []
        position = 0
        while position < len(below):
            if _differential(below[position]) != (sign[0], "") or position + 1 >= len(below):
                return None
            variable, power = _power(below[position + 1])
            if not _is_term((variable,)) or _differential(variable):
                return None
            times = int(power) if power.isdigit() and len(below) > 2 else 1
            variables += [self._row((variable,))] * times
            position += 2
        if not variables:
            return None
        order = self._ordinal(sign[1]) + " " if sign[1] else ""
        by = f" {self._words.conjunction} ".join(variables)
        words = self._words
        forms = {("d", True): words.derivative, ("d", False): words.operator_derivative,
                 ("∂", True): words.partial_derivative, ("∂", False): words.operator_partial}  # fmt: skip
        of = above[1:]
        return forms[sign[0], bool(of)].format(self._row(of), by, order)

    def _ordinal(self, text: str) -> str:
        if text.isdigit() and 0 < int(text) <= len(self._words.ordinals):
            return self._words.ordinals[int(text) - 1]
        return self._words.nth.format(decimal_words(text, self._language) if text.isdigit() else text)

    # Large operators, functions

    def _large(self, nodes: Row, index: int) -> Said | None:
        """Integrals, sums, limits and maxima, with what they range over."""
        base, lower, upper = _scripted(nodes[index])
        words = self._words
        name = words.integral.get(base) or words.big.get(base)
        of = f" {words.of}" if _is_operand(nodes, index + 1) or _follows_sign(nodes, index + 1) else ""
        if name:
            if lower and upper:
                name += " " + words.from_to.format(self._lines(lower), self._row(upper))
            elif lower:
                name += " " + words.over_domain.format(self._lines(lower))
            elif upper:
                name += f" {words.to} {self._row(upper)}"
            return name + of, index + 1
        if not lower or upper or base not in words.functions:
            return None
        name = words.functions[base]
        if base in _LIMITS and any(node.text in _ARROWS for node in lower):
            return words.limit.format(name, self._row(self._approaching(lower))), index + 1
        if base in ("max", "min", "sup", "inf", "argmax", "argmin", *_LIMITS):
            return words.over_variable.format(name, self._lines(lower)), index + 1
        return None

    def _approaching(self, nodes: Row) -> tuple[Node, ...]:
        """The condition of a limit: arrows approach, and 0^+ is approached from the right."""
        changed: list[Node] = []
        for node in nodes:
            if node.text in _ARROWS:
                changed.append(Node("said", self._words.approaches))
            elif node.tag == "msup" and str(node.children[1][-1] if node.children[1] else "") in ("+", "−"):
                side = self._words.from_right if str(node.children[1][-1]) == "+" else self._words.from_left
                changed += [*node.children[0], Node("said", side)]
            else:
                changed.append(node)
        return tuple(changed)

    def _lines(self, nodes: Row) -> str:
        r"""Conditions under an operator: those of \substack follow one another."""
        if len(nodes) == 1 and nodes[0].tag == "mtable":
            return ", ".join(self._lines(cell.children[0]) for row in nodes[0].children for cell in row)
        said = self._row(nodes)
        return said.replace(f" {self._words.copula}", " ")

    def _function(self, nodes: Row, index: int) -> Said | None:
        node = nodes[index]
        name, end = self._name(nodes, index)
        base, lower, upper = (name, _EMPTY, _EMPTY) if name else _scripted(node)
        words = self._words
        if base not in words.functions or base == "mod" or (node.tag == "mtext" and not node.is_upright):
            return None
        said = words.functions[base]
        if base in ("log", "lg") and lower:
            said = words.log_base.format(self._row(lower))
        else:
            if lower:
                said = words.sub.format(said, self._row(lower))
            if [one.text for one in upper] in (["−", "1"], ["-", "1"]) and base in _TRIGONOMETRIC:
                said = words.inverse.format(said)
            elif upper:
                said = self._powered(said, upper, operand_follows=False)
            if _is_operand(nodes, end) or _follows_sign(nodes, end):
                said = f"{said} {words.of}"
        inner = self._inner(nodes, end)
        return (f"{said} {inner[0]}", inner[1]) if inner else (said, end)

    def _name(self, nodes: Row, index: int) -> tuple[str, int]:
        """Letters in roman type that are one word: `Var`."""
        end = index
        while end < len(nodes) and nodes[end].tag == "mi" and nodes[end].is_upright and nodes[end].text.isalpha():
            end += 1
        return ("".join(node.text for node in nodes[index:end]), end) if end > index else ("", index + 1)

    def _application(self, nodes: Row, index: int) -> Said | None:
        """`f(x)`, `P(A|B)`, `f'(x)`."""
        base, _, upper = _scripted(nodes[index])
        letter = base or nodes[index].text
        if letter not in _FUNCTION_LETTERS:
            return None
        is_inverse = [one.text for one in upper] in (["−", "1"], ["-", "1"])
        is_order = len(upper) > 2 and upper[0].text == "(" and upper[-1].text == ")"
        if upper and not (is_inverse or is_order or all(one.text in _PRIMES for one in upper)):
            return None
        opener = ("(", "[") if letter == "E" else ("(",)
        if index + 1 >= len(nodes) or nodes[index + 1].text not in opener:
            return None
        inner = self._inner(nodes, index + 1)
        name = self._row((nodes[index],))
        if is_inverse:
            name = self._words.inverse.format(self._row(nodes[index].children[0]))
        elif is_order:
            order = self._ordinal(self._row(upper[1:-1])) if upper[1].tag != "mn" else self._ordinal(upper[1].text)
            name = self._words.derivative_order.format(order, self._row(nodes[index].children[0]))
        if inner is None:
            return self._words.application.format(name, "").strip(), index + 1
        return self._words.application.format(name, inner[0]), inner[1]

    def _inner(self, nodes: Row, index: int) -> Said | None:
        """What stands in parentheses after a function, if it needs none in speech."""
        if index >= len(nodes) or nodes[index].text not in ("(", "["):
            return None
        end = _closing(nodes, index)
        if end is None or nodes[end].tag != "mo":
            return None
        inner = tuple(
            Node("said", self._words.given) if node.text in _BARS and not _pairs(nodes[index + 1 : end]) else node
            for node in nodes[index + 1 : end]
        )
        parts = _split(inner, ",")
        simple = all(_is_term(piece) for part in parts for piece in _split_said(part))
        return (self._row(inner), end + 1) if simple else None

    def _upright(self, nodes: Row, index: int) -> Said | None:
        """A word in roman type, or the elements of a molecule."""
        factors, end = self._unit(nodes, index)
        symbol = nodes[index].text.strip()
        is_quotient = (len(factors) > 1 and index + 1 < len(nodes)) or "/" in symbol
        if factors and (is_quotient or (nodes[index].is_upright and len(factors[0][0]) > 1 and factors[0][0] != "min")):
            return unit_words(factors, self._language, plural=True), end
        if not nodes[index].is_upright or nodes[index].tag != "mi":
            return None
        name, end = self._name(nodes, index)
        chemical = (end < len(nodes) and _is_chemical(nodes[end])) or (index > 0 and _is_chemical(nodes[index - 1]))
        if chemical or not re.fullmatch(r"[A-Za-z]?[a-z]+", name):
            return " ".join(self._node(node) for node in nodes[index:end]), end
        return name, end

    # Tables and fences

    def _table(self, nodes: Row, index: int) -> Said | None:
        """Matrices, determinants, vectors, cases and systems, with their fences."""
        opener = nodes[index].text if nodes[index].tag == "mo" else ""
        at = index + 1 if opener else index
        if at >= len(nodes) or nodes[at].tag != "mtable":
            return None
        rows = nodes[at].children
        if opener == "{":
            end = at + 2 if at + 1 < len(nodes) and nodes[at + 1].text == "}" else at + 1
            return self._cases(rows), end
        if not opener and (nodes[at].text == LINES or all(len(row) == 1 for row in rows)):
            return "; ".join(filter(None, (self._cells(row) for row in rows))), at + 1
        if opener and opener not in "([|‖":
            return None
        end = at + 1
        script = None
        if opener and end < len(nodes) and _base_text(nodes[end]) in (")", "]", "|", "‖"):
            script = nodes[end] if nodes[end].tag in _SCRIPTS else None
            end += 1
        said = self._matrix(rows, closed=_is_operand(nodes, end) or _is_operator(nodes, end) or script is not None)
        if opener == "|":
            said = self._words.determinant.format(said)
        if script is not None:
            said = self._scripted_words(said, script, nodes, end)
        return said, end

    def _matrix(self, rows: Sequence[Row], *, closed: bool) -> str:
        words = self._words
        cells = [[self._row(cell.children[0]) for cell in row] for row in rows]
        if len(cells[0]) == 1 and len(cells) > 1:
            said = words.column_vector.format(", ".join(row[0] for row in cells if row))
        elif len(cells) == 1 and len(cells[0]) > 1:
            said = words.row_vector.format(", ".join(cells[0]))
        else:
            lines = "; ".join(
                words.row.format(decimal_words(str(number), self._language), ", ".join(row))
                for number, row in enumerate(cells, start=1)
            )
            height, width = (decimal_words(str(one), self._language) for one in (len(cells), max(map(len, cells))))
            said = words.matrix.format(height, width, lines)
        return f"{said}; {words.end_matrix}" if closed else said

    def _cells(self, row: Row) -> str:
        return self._row(tuple(node for cell in row for node in cell.children[0]))

    def _cases(self, rows: Sequence[Row]) -> str:
        filled = [row for row in rows if any(cell.children[0] for cell in row)]
        if all(len(row) == 1 or _starts_with_relation(row[1].children[0]) for row in filled):
            return self._words.system.format("; ".join(self._cells(row) for row in filled))
        lines = []
        for row in filled:
            value = _without_comma(row[0].children[0])
            condition = tuple(node for cell in row[1:] for node in cell.children[0])
            said = self._row(condition)
            if condition and condition[0].tag != "mtext":
                said = f"{self._words.if_} {said}"
            lines.append(f"{self._row(value)} {said}".strip())
        return self._words.cases.format("; ".join(lines))

    def _fence(self, nodes: Row, index: int) -> Said | None:  # noqa: PLR0911 - one for each kind of fence
        opener = nodes[index].text if nodes[index].tag in ("mo", "mi") else ""
        if opener not in ("(", "{", "⌊", "⌈", "⟨"):
            return None
        end = _closing(nodes, index)
        if end is None:
            return None
        inner = tuple(nodes[index + 1 : end])
        words = self._words
        if opener == "(" and len(inner) == 1 and inner[0].tag == "mfrac" and not inner[0].is_bar:
            return self._grouped(self._row(inner), "", nodes, end, always=False)
        if opener == "(" and inner and inner[0].text == "mod":
            return words.modulo.format(self._row(inner[1:])), end + 1
        if opener == "(":
            return None
        if opener == "⟨":
            parts = _split(inner, ",")
            if len(parts) != 2:
                return None
            return words.inner_product.format(*map(self._row, parts)), end + 1
        if opener == "{":
            if not inner:
                return words.symbols["∅"], end + 1
            conditional = self._with_condition(inner)
            form = words.set_of if conditional is inner else words.set_where
            said = form.format(self._row(conditional))
            return self._grouped(said, words.end_set, nodes, end, always=False)
        form, closing = (words.floor, words.end_floor) if opener == "⌊" else (words.ceiling, words.end_ceiling)
        return self._grouped(form.format(self._row(inner)), closing, nodes, end, always=not _is_term(inner))

    def _with_condition(self, nodes: Row) -> Row:
        """What a set contains: its bar or colon is "such that", its other bars are absolute values."""
        depths = [_depth(nodes[:at]) for at in range(len(nodes))]
        at = next((at for at, one in enumerate(nodes) if one.text in (":", "∣") and depths[at] == 0), None)
        if at is None and sum(_base_text(one) == "|" for one in nodes) % 2:
            at = next(at for at, one in enumerate(nodes) if _base_text(one) == "|")
        return nodes if at is None else (*nodes[:at], Node("said", self._words.such_that), *nodes[at + 1 :])

    def _relation(self, nodes: Row, index: int) -> Said | None:
        """After a quantifier: "for all x greater than zero", without "is"."""
        words = self._words
        said = words.symbols.get(nodes[index].text, "")
        if index > 1 and nodes[index - 2].text in ("∀", "∃") and said.startswith(words.copula):
            return said.removeprefix(words.copula), index + 1
        return None

    def _bar(self, nodes: Row, index: int) -> Said | None:
        """Absolute values and norms; a bar alone divides, or is where a result is evaluated."""
        text = _base_text(nodes[index])
        if text not in (*_BARS, *_NORMS):
            return None
        if nodes[index].tag in ("msub", "msubsup"):
            lower, *upper = nodes[index].children[1:]
            limits = self._words.from_to.format(self._row(lower), self._row(upper[0])) if upper else ""
            if limits:
                return self._words.evaluated.format(limits), index + 1
            return self._words.evaluated_at.format(self._row(lower)), index + 1
        kind = _BARS if text in _BARS else _NORMS
        if nodes[index].tag in _SCRIPTS:
            return None
        end = next(
            (
                at
                for at in range(index + 1, len(nodes))
                if _base_text(nodes[at]) in kind and _depth(nodes[index + 1 : at]) == 0
            ),
            None,
        )
        opens = index == 0 or not _ends_operand(nodes[index - 1]) or text == "‖" or sum(
            _base_text(node) in kind for node in nodes[index:]
        ) >= 2  # fmt: skip
        if end is None or end == index + 1 or not opens or text in ("∣", "∥"):
            return None
        inner = nodes[index + 1 : end]
        words = self._words
        form, closing = (words.absolute, words.end_absolute) if kind is _BARS else (words.norm, words.end_norm)
        return self._grouped(form.format(self._row(inner)), closing, nodes, end, always=not _is_term(inner))

    def _grouped(self, said: str, closing: str, nodes: Row, end: int, *, always: bool) -> Said:
        """A part with its end, if that must be said, and with the power at its closing fence."""
        script = nodes[end] if nodes[end].tag in _SCRIPTS else None
        if closing and (always or script is not None or _is_operand(nodes, end + 1)):
            said = f"{said} {closing}"
        if script is not None:
            said = self._scripted_words(said, script, nodes, end + 1)
        return said, end + 1

    def _colon(self, nodes: Row, index: int) -> Said | None:
        if nodes[index].text != ":":
            return None
        if index + 1 < len(nodes) and nodes[index + 1].text == "=":
            return self._words.symbols["≔"], index + 2
        if any(node.text in _ARROWS for node in nodes[index:]):
            return self._words.from_, index + 1
        before = [node.text for node in nodes[:index]]
        if "∃" in before:
            return self._words.such_that, index + 1
        return (",", index + 1) if "∀" in before else None

    def _arrow(self, nodes: Row, index: int) -> Said | None:
        """The arrow of a reaction, and that before what is approached."""
        if nodes[index].text not in _ARROWS:
            return None
        if nodes[index].tag == "mtext" or any(map(_is_chemical, nodes)):
            return self._words.yields, index + 1
        target = next((one for one in nodes[index + 1 :] if one.text not in (*_MINUS, "+")), None)
        if target is not None and (target.tag == "mn" or target.text == "∞"):
            return self._words.approaches, index + 1
        return None

    def _product(self, nodes: Row, index: int) -> Said | None:
        """The dot and the cross of vectors; the sign of a distribution."""
        text = nodes[index].text
        if text in ("~", "∼") and index + 2 < len(nodes) and nodes[index + 2].text == "(":
            return self._words.distributed, index + 1
        if text not in ("·", "⋅", "×") or not 0 < index < len(nodes) - 1:
            return None
        if not (_is_vector(nodes[index - 1]) and _is_vector(nodes[index + 1])) and nodes[index - 1].text != "∇":
            return None
        return (self._words.cross_product if text == "×" else self._words.dot_product), index + 1

    # Roots, powers, indices, accents

    def _root(self, nodes: Row, index: int) -> Said | None:
        node = nodes[index]
        if node.tag not in ("msqrt", "mroot"):
            return None
        words = self._words
        inner = node.children[0]
        degree = "".join(map(str, node.children[1])) if node.tag == "mroot" else "2"
        form = {"2": words.square_root, "3": words.cube_root}.get(degree, words.nth_root)
        ordinal = (
            self._ordinal(degree if degree.isdigit() else self._row(node.children[1])) if form is words.nth_root else ""
        )
        said = form.format(self._row(inner), ordinal)
        if not _is_term(inner) or _is_operand(nodes, index + 1):
            said = f"{said} {words.end_root}"
        return said, index + 1

    def _script(self, nodes: Row, index: int) -> Said | None:
        node = nodes[index]
        if node.tag not in _SCRIPTS or len(node.children) < 2:
            return None
        if node.tag in ("munder", "mover", "munderover"):
            return self._accented(node), index + 1
        base = node.children[0]
        if not base:
            above = node.children[1:][::-1]
            return " ".join(self._degrees(row) or self._row(row) for row in above), index + 1
        return self._scripted_words(self._row(base), node, nodes, index + 1), index + 1

    def _degrees(self, row: Row) -> str | None:
        return self._words.symbols["°"] if len(row) == 1 and row[0].text == "∘" else None

    def _scripted_words(self, base: str, node: Node, nodes: Row, after: int) -> str:
        """What is said of a base, with the index and the exponent of a node."""
        said = base
        follows = _is_operand(nodes, after)
        last = node.children[0][-1] if node.children[0] else None
        if last is not None and last.tag == "mn" and self._unit(nodes, after)[0]:
            follows = False
        if node.tag in ("msub", "msubsup"):
            said = self._indexed(said, node, follows=follows and node.tag == "msub")
        if node.tag in ("msup", "msubsup"):
            said = self._raised(said, node.children[-1], last, follows=follows)
        return said

    def _indexed(self, said: str, node: Node, *, follows: bool) -> str:
        lower = node.children[1]
        if len(lower) == 1 and lower[0].text in self._words.functions:
            lower = (Node("mtext", lower[0].text),)
        if _is_chemical(node):
            return f"{said} {self._row(lower)}"
        said = self._words.sub.format(said, self._row(lower))
        if not (_is_term(lower) or "," in [one.text for one in lower]) or (follows and len(lower) > 1):
            said = f"{said} {self._words.end_sub}"
        return said

    def _raised(self, said: str, upper: Row, base: Node | None, *, follows: bool) -> str:  # noqa: PLR0911
        words = self._words
        text = upper[0].text if len(upper) == 1 else ""
        if upper and all(one.text in _PRIMES for one in upper):
            return f"{said} {words.prime[_PRIMES.index(upper[0].text)]}"
        if upper and upper[0].text in _PRIMES:  # f'^2
            return self._raised(f"{said} {words.prime[_PRIMES.index(upper[0].text)]}", upper[1:], base, follows=follows)
        if text == "∘":
            return words.degrees.format(said)
        if text in ("⊤", "⊺") or (text == "T" and base is not None and (base.is_bold or base.text.isupper())):
            return words.transpose.format(said)
        if text in ("*", "∗", "⋆"):
            return words.star.format(said)
        if upper and upper[-1].text in ("+", *_MINUS, "†", "±", "∓"):  # an ion, or one side of a limit
            return f"{said} {self._row(upper)}"
        return self._powered(said, upper, operand_follows=follows)

    def _powered(self, said: str, upper: Row, *, operand_follows: bool) -> str:
        words = self._words
        text = upper[0].text if len(upper) == 1 and upper[0].tag == "mn" else ""
        if text in ("2", "3"):
            return (words.squared if text == "2" else words.cubed).format(said)
        said = words.power.format(said, self._row(upper))
        return f"{said} {words.end_power}" if not _is_term(upper) or operand_follows else said

    def _accented(self, node: Node) -> str:
        words = self._words
        base, *labels = node.children
        said = self._row(base)
        for label in labels:
            text = "".join(map(str, label))
            accent = words.accents.get(text) if len(label) == 1 else None
            if accent and not (len(base) == 1 and _is_operator(base, 0)):
                said = accent.format(said) if text != "―" or node.tag == "mover" else said
            elif text in {"def", "△"}:
                said = words.symbols["≔"]
            elif label:
                said = words.with_words.format(said, self._row(label))
        return said

    def _currency(self, nodes: Row, index: int) -> Said | None:
        r"""`\$5`."""
        name = self._words.currencies.get(nodes[index].text)
        if name is None:
            return None
        if index + 1 < len(nodes) and nodes[index + 1].tag == "mn":
            return f"{self._node(nodes[index + 1])} {name}", index + 2
        return name, index + 1

    def _part(self, nodes: Row) -> str:
        """A part between two words, with parentheses around what has operators."""
        said = self._row(nodes)
        words = self._words
        return said if _is_term(nodes) else f"{words.open_parenthesis} {said} {words.close_parenthesis}"


def _FENCES(words: FormulaWords) -> Mapping[str, str]:  # noqa: N802
    return {
        "(": words.open_parenthesis, ")": words.close_parenthesis, "[": words.open_bracket, "]": words.close_bracket,
        "{": words.open_brace, "}": words.close_brace,
    }  # fmt: skip


def _scripted(node: Node) -> tuple[str, Row, Row]:
    """The text of a base, what stands under it and what stands over it. A node without either has its text alone."""
    if node.tag in ("mi", "mo", "mtext"):
        return node.text, (), ()
    if node.tag not in _SCRIPTS:
        return "", (), ()
    base = node.children[0]
    text = "".join(map(str, base))
    if len(base) == 1 and base[0].tag in _SCRIPTS:
        return "", (), ()
    if node.tag in ("msub", "munder"):
        return text, node.children[1], ()
    if node.tag in ("msup", "mover"):
        return text, (), node.children[1]
    return text, node.children[1], node.children[2]


def _base_text(node: Node) -> str:
    return node.children[0][0].text if node.tag in _SCRIPTS and node.children[0] else node.text


def _unit_text(node: Node) -> str | None:
    """A node as a part of a unit: `km`, `/`, `s^-2`."""
    if node.tag == "mtext" or (node.tag == "mi" and node.is_upright):
        return node.text.strip() or None
    if node.text in ("/", "·", "⋅"):
        return node.text
    if node.tag == "msup" and node.children[0]:
        base = "".join(filter(None, map(_unit_text, node.children[0])))
        power = "".join(map(str, node.children[1])).replace("−", "-")
        return f"{base}^{power}" if base and re.fullmatch(r"-?\d", power) else None
    if node.tag == "mfrac":
        parts = ["".join(filter(None, map(_unit_text, row))) for row in node.children]
        return "/".join(parts) if all(parts) else None
    return None


def _power(node: Node) -> tuple[Node, str]:
    """A node without its exponent, and the exponent."""
    if node.tag == "msup" and len(node.children[0]) == 1:
        return node.children[0][0], "".join(map(str, node.children[1]))
    return node, ""


def _differential(node: Node) -> tuple[str, str] | None:
    """`d` or `∂` and its order."""
    base, order = _power(node)
    return (base.text, order) if base.tag in ("mi", "mo") and base.text in ("d", "∂") else None


def _is_operator(nodes: Row, index: int) -> bool:
    return index < len(nodes) and nodes[index].tag in ("mi", "mo") and nodes[index].text in _OPERATORS


def _is_operand(nodes: Row, index: int) -> bool:
    """Whether a factor follows, which a listener could take for a part of what stands before it."""
    if index >= len(nodes) or _is_operator(nodes, index):
        return False
    return (
        _base_text(nodes[index]) not in _CLOSERS
        and nodes[index].tag != "said"
        and (nodes[index].tag != "mtext" or len(nodes[index].text.strip()) == 1)
    )


def _follows_sign(nodes: Row, index: int) -> bool:
    return index < len(nodes) and nodes[index].text in (*_MINUS, "+", "±", "∓", "|", "‖")


def _ends_operand(node: Node) -> bool:
    return not (node.tag in ("mi", "mo") and (node.text in _OPERATORS or node.text in ("(", "[", "{")))


def _is_term(nodes: Row) -> bool:
    """A number, a letter or a product of them, with a sign at most: it needs no end in speech."""
    if nodes and nodes[0].tag in ("mi", "mo") and nodes[0].text in (*_MINUS, "+", "±", "∓"):
        nodes = nodes[1:]
    return bool(nodes) and all(map(_is_factor, nodes))


def _is_factor(node: Node) -> bool:
    if node.tag in ("mi", "mo"):
        return (
            len(node.text) == 1
            and node.text not in _OPERATORS
            and node.text not in ("(", ")", "[", "]", "{", "}", "‖", "∑", "∏", "∫")
        )
    if node.tag == "mfrac":
        return all(len(row) == 1 and row[0].tag == "mn" for row in node.children)
    if node.tag in ("msup", "msub", "msubsup"):
        return all(map(_is_term, node.children))
    if node.tag in ("msqrt", "mroot"):
        return _is_term(node.children[0])
    return node.tag in ("mn", "mtext", "mover", "munder")


def _is_chemical(node: Node) -> bool:
    """`H_2` in roman type."""
    if node.tag not in ("msub", "msubsup") or len(node.children[0]) != 1 or len(node.children[1]) != 1:
        return False
    base = node.children[0][0]
    upright = (
        (base.tag == "mi" and base.is_upright) or (base.tag == "mtext" and len(base.text) <= 2) or base.text == ")"
    )
    return upright and base.text[:1].isalpha() and node.children[1][0].tag == "mn"


def _is_vector(node: Node) -> bool:
    return node.is_bold or node.text == "∇" or (node.tag == "mover" and str(node.children[1][0]) == "→")


def _starts_with_relation(nodes: Row) -> bool:
    return bool(nodes) and nodes[0].text in _RELATIONS


def _without_comma(nodes: Row) -> Row:
    return nodes[:-1] if nodes and nodes[-1].text == "," else nodes


def _depth(nodes: Row) -> int:
    return sum((node.text in ("(", "[", "{")) - (_base_text(node) in (")", "]", "}")) for node in nodes)


def _pairs(nodes: Row) -> bool:
    """Whether the bars of a row are those of absolute values."""
    return sum(_base_text(node) in _BARS for node in nodes) % 2 == 0


def _closing(nodes: Row, index: int) -> int | None:
    """Where the fence that opens at an index is closed."""
    opener = nodes[index].text
    closers = {"(": ")]", "[": "])", "{": "}", "⌊": "⌋", "⌈": "⌉", "⟨": "⟩"}[opener]
    depth = 0
    for position in range(index, len(nodes)):
        text = _base_text(nodes[position])
        if text in ("(", "[", "{", "⌊", "⌈", "⟨") and nodes[position].tag in ("mo", "mi"):
            depth += 1
        elif text and text in ")]}⌋⌉⟩":
            depth -= 1
            if depth == 0:
                return position if text in closers else None
    return None


def _split(nodes: Row, separator: str) -> list[Row]:
    parts: list[list[Node]] = [[]]
    for node in nodes:
        if node.text == separator:
            parts.append([])
        else:
            parts[-1].append(node)
    return [tuple(part) for part in parts]


def _split_said(nodes: Row) -> list[Row]:
    parts: list[list[Node]] = [[]]
    for node in nodes:
        if node.tag == "said":
            parts.append([])
        else:
            parts[-1].append(node)
    return [tuple(part) for part in parts]
