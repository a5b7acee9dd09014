"""A formula as a tree of a few kinds of nodes: LaTeX is prepared, converted to MathML, and its layout removed."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

NEW_LINE = "\n"
"""The text of a node between two lines of a formula."""
YIELDS = "→"
"""The text of the arrow of a chemical reaction."""
LINES = "lines"
"""The text of a table that is lines of a derivation, and not a matrix."""
_SCRIPT_PARTS = {"msup": 2, "msub": 2, "msubsup": 3}
_CLOSING = (")", "]", "}", "|", "‖", "⟩", "⌋", "⌉")
_LAYOUT = re.compile(
    r"\\(?:label|tag\*?|hspace\*?|vspace\*?|phantom|hphantom|vphantom|intertext)\s*\{[^{}]*\}"
    r"|\\(?:nonumber|notag|displaystyle|textstyle|scriptstyle|limits|nolimits|hline|centering|allowbreak|strut)(?![a-zA-Z])"
    r"|(?<=\\\\)\s*\[[\d.]+\s*(?:pt|em|ex|cm|mm|in)\]"
)
_LINES = re.compile(
    r"\\begin\{(?:aligned|alignedat|alignat|align|flalign|gather|gathered|multlined?|eqnarray|split)\*?\}"
)
_LINES_END = re.compile(
    r"\\end\{(?:aligned|alignedat|alignat|align|flalign|gather|gathered|multlined?|eqnarray|split)\*?\}"
)
_WHOLE = re.compile(r"\\(?:begin|end)\{(?:math|displaymath|equation|subequations)\*?\}")
_OPERATORS = re.compile(r"\\(arg|sgn|sign|rank|tr|diag|Var|Cov|E|lcm|erf|span|grad|curl|sech|csch|lb)(?![a-zA-Z])")
_LENGTH = re.compile(r"(?<=\d)(\s*)(?=(?:in|mm|cm|pt|em|ex|pc|bp|dd|cc|sp|mu)(?![a-zA-Z]))")
_UPRIGHT = "normal"
_PLAIN_UNIT = re.compile(r"(?<=\d)\s*(?:\\[,;: ]|~)?\s*(km/h|km|cm|mm|kg|kHz|MHz|GHz|Hz|kWh|kW|GB|MB)(?![a-zA-Z{_^])")
"""Units after a number that are not set in roman type, as they ought to be."""


class BrokenFormula(ValueError):
    """The text between the marks of a formula is not LaTeX that can be read."""


@dataclass(frozen=True, slots=True)
class Node:
    """An element of a formula, by MathML's name without rows, styles and spaces."""

    tag: str
    """`mi` (letter), `mn` (number), `mo` (operator), `mtext`, `row`, `mfrac`, `msup`, `mtable`, …"""
    text: str = ""
    children: tuple[tuple[Node, ...], ...] = ()
    """Rows of nodes: base and exponent, numerator and denominator. Of a table, its rows, each of one `row` a cell."""
    is_upright: bool = False
    """Set in roman type: a unit, a function or a chemical element."""
    is_bold: bool = False
    is_bar: bool = True
    """Of a fraction: it has a line. A binomial coefficient has none."""

    def __str__(self) -> str:
        return self.text or "".join(str(node) for row in self.children for node in row)


def parse_formula(latex: str, language: str) -> tuple[Node, ...]:
    """The nodes of a formula without its marks. Raises `BrokenFormula`."""
    from latex2mathml.converter import convert_to_element

    prepared = _prepared(latex, language)
    if not prepared.strip():
        return ()
    try:
        element = convert_to_element(prepared)
    except Exception as error:
        raise BrokenFormula(f"It is not LaTeX that can be converted ({type(error).__name__}).") from error
    nodes = tuple(_nodes(element))
    for node in _all(nodes):
        if node.tag in ("mi", "mo") and node.text.startswith("\\"):
            raise BrokenFormula(f"The command {node.text} is unknown.")
    return nodes


def _prepared(latex: str, language: str) -> str:
    """LaTeX that latex2mathml converts as it is meant."""
    latex = re.sub(r"\\(?:ce|cf)\s*\{((?:[^{}]|\{[^{}]*\})*)\}", lambda match: _chemical(match[1]), latex)
    latex = re.sub(r"\\(?:SI|qty)\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"\1\\,\\mathrm{\2}", latex)
    latex = re.sub(r"\\(?:num)\s*\{([^{}]*)\}", r"\1", latex)
    latex = re.sub(r"\\(?:si|unit)\s*\{([^{}]*)\}", r"\\mathrm{\1}", latex)
    latex = re.sub(r"(?<!\\)\|\|", r"\\Vert ", latex)
    latex = _WHOLE.sub("", _LAYOUT.sub(" ", latex))
    latex = re.sub(r"\\begin\{(?:alignat|alignedat)(\*?)\}\s*\{\d+\}", r"\\begin{align*}", latex)
    latex = _LINES_END.sub(r"\\end{align*}", _LINES.sub(r"\\begin{align*}", latex))
    latex = re.sub(r"\\(begin|end)\{[dr]cases(\*?)\}", r"\\\1{cases}", latex)
    latex = re.sub(
        r"\\(text(?:bf|it|rm|sf|tt|up|normal)?|mbox)\s*\{([^{}$]*)\$([^$]*)\$([^{}$]*)\}", r"\\\1{\2}\3\\\1{\4}", latex
    )
    latex = re.sub(r"\\(bra|ket)\s*\{([^{}]*)\}", r"\\text{\1 }\2", re.sub(r"\\not\s*=", r"\\neq ", latex))
    latex = _upright(latex)
    latex = _OPERATORS.sub(r"\\operatorname{\1}", latex)
    latex = latex.replace("−", "-").replace("–", "-").replace(r"\micro", r"\mu ")
    latex = re.sub(r"(?<![\d.])\.(?=\d)", "0.", latex)
    latex = _numbers(latex, language)
    return _LENGTH.sub(r"{}", latex)


def _upright(latex: str) -> str:
    """Units and names in roman type as latex2mathml keeps them: it forgets the type of a single letter."""
    latex = re.sub(r"\\(?:mathrm|operatorname|text|textrm)\{d\}|\\differential(?![a-zA-Z])", " d ", latex)
    degree = r"(?:\^\s*\{?\s*\\circ\s*\}?|\\degree(?![a-zA-Z])|°)"
    latex = re.sub(rf"{degree}(?:\\[,;:]|~|\s)*\\(?:mathrm|text|textrm)\{{([CF])\}}", r"\\text{°\1}", latex)
    latex = re.sub(rf"\\(?:mathrm|text|textrm)\{{\s*{degree}\s*([CF])\}}", r"\\text{°\1}", latex)
    latex = re.sub(r"(?<=\d)(?:\\[,;: ]|~)\s*\\Omega(?![a-zA-Z])", r"\\text{Ω}", latex)
    latex = _PLAIN_UNIT.sub(r"\\text{\1}", latex)
    latex = re.sub(r"\\mu\s*\\(?:mathrm|text)\{([a-zA-Z]+)\}", r"\\text{µ\1}", latex)
    latex = re.sub(r"\\(?:mathrm|rm)\{([a-zA-Z])\}", r"\\text{\1}", latex)
    return re.sub(r"\\mathrm\{((?:[^{}]|\{[^{}]*\})*)\}", _without_spaces, latex)


def _without_spaces(match: re.Match[str]) -> str:
    r"""The argument of \mathrm with products instead of spaces: `N\,m` is newton metres, and no mm."""
    inner = re.sub(r"(?<=\S)(?:\\[,;: ]|~)", r"\\cdot ", match[1])
    return rf"\mathrm{{{inner}}}"


def _numbers(latex: str, language: str) -> str:
    """Numbers without separators of thousands, and with a point before decimals."""
    latex = re.sub(
        r"(?<![\d.,])\d{1,3}(?:(?:\\[,;: ]|~|\{\\,\})\d{3})+(?!\d)", lambda match: re.sub(r"\D", "", match[0]), latex
    )
    if language == "en":
        pattern = r"(?<![\d.,])[1-9]\d{0,2}(?:(?:\{,\}|,)\d{3})+(?![\d])"
        return re.sub(pattern, lambda match: re.sub(r"\D", "", match[0]), latex).replace("{,}", ".")
    latex = re.sub(r"(?<![\d.,])[1-9]\d{0,2}(?:\.\d{3}){2,}(?!\d)", lambda match: match[0].replace(".", ""), latex)
    latex = re.sub(r"(?<=\d)\{,\}(?=\d)", ".", latex)
    return re.sub(r"(?<![\d.,])\d+,\d+(?![\d,.])", lambda match: _decimal(match, latex), latex)


def _decimal(match: re.Match[str], latex: str) -> str:
    """A comma between digits is before decimals, except in a list: between brackets or in an index."""
    before = latex[: match.start()]
    depth = sum(before.count(one) for one in "([{") - sum(before.count(one) for one in ")]}")
    return match[0] if depth else match[0].replace(",", ".")


def _chemical(formula: str) -> str:
    r"""The argument of mhchem's `\ce`, in LaTeX: `2H2 + O2 -> 2H2O`."""
    formula = re.sub(r"\s*<=>>?\s*", r" \\rightleftharpoons ", formula)
    formula = re.sub(r"\s*<->\s*", r" \\leftrightarrow ", formula)
    formula = re.sub(r"\s*->(?:\[[^\]]*\])?\s*", rf" \\text{{{YIELDS}}} ", formula)
    return " ".join(map(_molecule, formula.split()))


def _molecule(text: str) -> str:
    r"""`2SO4^2-` → `2\mathrm{SO_{4}^{2-}}`."""
    found = re.fullmatch(r"(\d*)([A-Z(\[].*)", text)
    if not found:
        return text
    charged = re.sub(r"\^\{?(\d*[+-])\}?$", r"^{\1}", re.sub(r"(?<=[A-Za-z\d)\]])([+-])$", r"^{\1}", found[2]))
    charged = charged if "^{" in charged else re.sub(r"\^(\d*[+-])", r"^{\1}", charged)
    charged = re.sub(r"\^(\d+)\^\{([+-])\}", r"^{\1\2}", charged)
    counted = re.sub(r"(?<=[A-Za-z)\]])(\d+)", r"_{\1}", charged)
    return rf"{found[1]}\mathrm{{{counted}}}"


def _nodes(element: Any) -> Iterable[Node]:
    tag = element.tag.rpartition("}")[2]
    text = html.unescape(element.text or "").replace("\u00a0", " ").replace("\u2006", " ")
    if tag == "mspace":
        if element.get("linebreak") == "newline":
            yield Node("mo", NEW_LINE)
    elif tag in {"mphantom", "none"}:
        return
    elif tag in ("mi", "mo", "mn", "mtext") and not len(element):
        if text.strip():
            yield _leaf(tag, text, element)
    elif tag in ("math", "mrow", "mstyle", "mpadded", "menclose", "mi", "mo", "semantics"):
        inner = tuple(node for child in element for node in _nodes(child))
        if tag in ("mi", "mo"):  # \mathop{abc}
            yield Node("row", children=(inner,))
        else:
            yield from inner
    elif tag == "mtable":
        rows = tuple(
            tuple(Node("row", children=(tuple(node for part in cell for node in _nodes(part)),)) for cell in row)
            for row in element
        )
        yield Node("mtable", LINES if element.get("displaystyle") == "true" else "", rows)
    elif tag == "msqrt":
        yield Node("msqrt", children=(tuple(node for child in element for node in _nodes(child)),))
    else:
        yield from _composed(tag, element)


def _composed(tag: str, element: Any) -> Iterable[Node]:
    """A fraction, a root, or a base with scripts."""
    children = tuple(tuple(_nodes(child)) for child in element)
    if (more := len(children) - _SCRIPT_PARTS.get(tag, len(children))) > 0:  # a matrix as a base is not in a row
        children = (tuple(node for row in children[: more + 1] for node in row), *children[more + 1 :])
    if tag in _SCRIPT_PARTS and len(children[0]) > 1 and children[0][-1].text in _CLOSING:
        yield from children[0][:-1]  # \left( … \right)^2 as (…)^2
        children = (children[0][-1:], *children[1:])
    yield Node(tag, children=children, is_bar=element.get("linethickness") != "0")


def _leaf(tag: str, text: str, element: Any) -> Node:
    variant = element.get("mathvariant") or ""
    letter = text if tag == "mtext" else text.strip()
    plain, is_bold = _plain_letter(letter)
    if re.fullmatch(r"\d+(?:\.\d+)?", plain):
        tag = "mn"
    return Node(tag, plain, is_upright=variant == _UPRIGHT, is_bold=is_bold or "bold" in variant)


def _plain_letter(text: str) -> tuple[str, bool]:
    """A mathematical letter (𝐱, ℒ) as an ordinary one, and whether it is bold. Double-struck letters name sets."""
    import unicodedata

    if len(text) != 1 or ord(text) < 0x2100 or text in "ℝℕℤℚℂℏℓ℘ℵℜℑ":
        return text, False
    name = unicodedata.name(text, "")
    if not name.startswith(("MATHEMATICAL", "SCRIPT", "BLACK-LETTER", "DOUBLE-STRUCK")):
        return text, False
    plain = unicodedata.normalize("NFKC", text)
    return (plain, "BOLD" in name) if plain.isalnum() else (text, False)


def _all(nodes: Iterable[Node]) -> Iterable[Node]:
    for node in nodes:
        yield node
        for row in node.children:
            yield from _all(row)
