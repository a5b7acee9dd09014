"""What a language must know to say formulas. Each language is a module with one `FormulaWords`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FormulaWords:
    """The words of a language. `{0}`, `{1}` … stand for what is said of the parts."""

    symbols: Mapping[str, str]
    """Operators, relations, arrows, Greek letters and sets of numbers, by character."""
    functions: Mapping[str, str]
    """What is said for `sin`, `log`, `max`; other names are said as they are written."""
    fractions: Mapping[int, tuple[str, str]]
    """A half, a third: one and several, by denominator."""
    ordinals: tuple[str, ...]
    """first, second, third, fourth: of derivatives and roots."""
    nth: str
    """The ordinal of a letter."""
    one_fraction: str
    """One, before the name of a fraction."""
    minus: str
    copula: str
    """What relations begin with ("is greater than") that is left out after "for all x"."""
    conjunction: str
    over: str
    fraction: str
    mixed: str
    square_root: str
    cube_root: str
    nth_root: str
    end_root: str
    squared: str
    cubed: str
    power: str
    end_power: str
    sub: str
    end_sub: str
    prime: tuple[str, str, str]
    integral: Mapping[str, str]
    """What the signs ∫ ∬ ∭ ∮ are called."""
    big: Mapping[str, str]
    """What the signs ∑ ∏ ⋃ ⋂ … are called."""
    to: str
    """Between a large operator and an upper limit that has no lower one."""
    from_to: str
    """Of an integral or a sum: the limits {0} and {1}, before its body."""
    over_domain: str
    of: str
    """Between a large operator and its body."""
    limit: str
    """{0} is the limit's name, {1} what approaches what."""
    approaches: str
    from_right: str
    from_left: str
    over_variable: str
    """Of a maximum: `{0} over {1} of`."""
    derivative: str
    partial_derivative: str
    derivative_order: str
    """`f^{(n)}`: {0} the ordinal, {1} the function."""
    operator_derivative: str
    operator_partial: str
    """Derivatives: {0} of what, {1} by what, {2} the ordinal with a space after it, or nothing."""
    open_parenthesis: str
    close_parenthesis: str
    open_bracket: str
    close_bracket: str
    open_brace: str
    close_brace: str
    application: str
    """`f(x)`."""
    inverse: str
    log_base: str
    absolute: str
    end_absolute: str
    norm: str
    end_norm: str
    floor: str
    end_floor: str
    ceiling: str
    end_ceiling: str
    inner_product: str
    binomial: str
    set_of: str
    set_where: str
    """Of a set with a condition."""
    end_set: str
    such_that: str
    given: str
    matrix: str
    row: str
    end_matrix: str
    determinant: str
    column_vector: str
    row_vector: str
    cases: str
    system: str
    if_: str
    modulo: str
    accents: Mapping[str, str]
    transpose: str
    star: str
    dot_product: str
    cross_product: str
    from_: str
    distributed: str
    """Of a random variable: `X ~ N(0, 1)`."""
    yields: str
    evaluated: str
    """At limits: {0} is "from zero to one"."""
    evaluated_at: str
    degrees: str
    with_words: str
    """A relation or an arrow with words over it: {0} the sign, {1} the words."""
    currencies: Mapping[str, str]
    contractions: tuple[tuple[str, str], ...]
    """Regular expressions of words that become one, and that one: "de el" → "del"."""
