"""Formulas and texts that Hypothesis makes up."""

from __future__ import annotations

from hypothesis import strategies as st

MARKS = (("$", "$"), ("$$", "$$"), (r"\(", r"\)"), (r"\[", r"\]"), (r"\begin{equation}", r"\end{equation}"))
_ATOMS = st.sampled_from(
    ["x", "y", "n", "A", "7", "42", "0.5", "1984", r"\alpha", r"\pi", r"\infty", "x_1", r"\vec{v}", r"\bar{z}", "n!",
     "f(x)", r"\mathbb{R}", r"5\,\mathrm{km}", r"50\%", r"\mathrm{H_2O}", r"90^\circ", "f'(x)", r"\{1, 2\}"]
)  # fmt: skip
_PIECES = st.sampled_from(
    ["$", "$$", r"\(", r"\)", r"\[", r"\]", "{", "}", "^", "_", "-", "−", "1", "5", "x", "ab", " ", " ", "\n", "\\", "%",
     "&", "|", "=", ".", ",", r"\frac", r"\sqrt", r"\begin{align}", r"\end{align}", r"\\", r"\$", "km", "€", "[S1]"]
)  # fmt: skip


def formulas() -> st.SearchStrategy[str]:
    """LaTeX that can be read, each with a known number of signs: those that are written."""
    return st.recursive(_ATOMS, _larger, max_leaves=6).map(lambda inner: f"{inner} = x")


def fragments() -> st.SearchStrategy[str]:
    """Texts of marks, braces and signs, most of them broken."""
    return st.lists(_PIECES, max_size=14).map("".join)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    forms = [
        "-{}", r"\frac{{{}}}{{{}}}", r"\sqrt{{{}}}", r"\sqrt[3]{{{}}}", "{} + {}", "{} - {}", r"{} \cdot {}",
        "x^{{{}}}", "x_{{{}}}", r"\left({}\right)", "({})^2", r"\left|{}\right|", r"\sum_{{i={}}}^{{{}}} i", "e^{{-{}}}",
        r"\int_{{{}}}^{{{}}} x\,dx", r"\lim_{{x \to {}}} {}", r"\begin{{pmatrix}} {} & {} \\ 1 & 2 \end{{pmatrix}}",
        r"\begin{{bmatrix}} {} & 0 \\ {} & y \end{{bmatrix}}^2", r"\begin{{vmatrix}} {} & 0 \\ {} & y \end{{vmatrix}}_1",
        r"\left\{{{} \mid {}\right\}}", r"\overline{{{}}} {}", r"\begin{{cases}} {} & x > {} \\ 0 & x < 0 \end{{cases}}", r"\binom{{{}}}{{{}}}", r"\sin({})", r"\log_2 {}",
        r"\text{{if }} {} < {}", r"{} \le {}", r"\lfloor {} \rfloor", r"\begin{{aligned}} {} &= {} \end{{aligned}}",
    ]  # fmt: skip
    return st.builds(lambda form, one, two: form.format(one, two), st.sampled_from(forms), inner, inner)
