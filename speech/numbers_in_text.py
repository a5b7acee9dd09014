"""Finds the numbers of a text, in digits or in words, and says which of them a translation has lost or invented.

`1,250`, `1.250`, `1 250` and `one thousand two hundred and fifty` are one number. A text that can be read in two ways
(`1.250` is 1250 or 1.25) has both values, and matches what has one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from speech.spelled_numbers import SCALES, plain_letters, spelled_numbers

_SPACES = " \u00a0\u202f\u2009"
_DIGITS = re.compile(
    r"\d+(?:[.:/\-]\d+){2,}"  # a date, a version: each part is a number
    rf"|\d{{1,3}}(?:[{_SPACES}'’]\d{{3}})+(?![\d])(?:[.,]\d+)?|\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?(?!\d)"
    r"|\d{1,3}(?:\.\d{3})+(?:,\d+)?(?!\d)|\d+[.,]\d+|\d+"
)
_ROMAN = re.compile(r"\b[IVXLCDM]+\b")
_CJK = re.compile(r"[〇零一二两三四五六七八九十百千万萬亿億]+")
_AFTERNOON = re.compile(r"\s?p\.?\s?m\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_CJK_NUMBER = re.compile(r"(?=.*[十百千万萬亿億])[一二两三四五六七八九十].+")
"""Others are idioms (万一, 千万), or two neighbours (三四)."""
_LONG_ENDINGS = frozenset({"de", "es", "fr", "it", "pt"})
"""Languages in which ordinal numbers end in one letter or two: dritte, dritten."""
LEAST_INVENTED = 13
"""A smaller number in digits may come from a word: noon, a couple, a month."""
LEAST_AS_WORD = 3
"""Smaller numbers in words are articles and pronouns too (`one of them`), so that they may be translated as such."""
_MOST_WORDS = 7
"""Of a number below a thousand, in any language."""

_LINKS = frozenset({"and", "y", "et", "und", "e", "и"})
"""Between a scale and the rest: `one thousand and five`."""
_POINTS: Mapping[str, tuple[str, str]] = {
    "en": (".", ","), "zh": (".", ","), "ja": (".", ","), "ko": (".", ","), "th": (".", ","), "he": (".", ","),
    "fr": (",", "\u202f"), "ru": (",", "\u00a0"), "uk": (",", "\u00a0"), "pl": (",", "\u00a0"),
}  # fmt: skip
"""Language → the characters before decimals and between thousands; any other has `,` and `.`."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it stands in a text."""

    text: str
    values: frozenset[Fraction]
    """What it can mean."""
    is_digits: bool
    is_required: bool = True
    """Whether a translation has to have it: not a small number in words, and not the month of a date."""


def numbers(text: str, language: str) -> list[Number]:
    """The numbers of a text. In languages that num2words does not know, only those in digits.

    Raises `EngineUnavailable` without num2words.
    """
    found = list(_in_digits(text, language))
    rest = _DIGITS.sub(" ; ", text)
    return [*found, *_in_words(rest, language), *_in_cjk(rest, language)]


def number_problems(source: str, target: str, source_language: str, target_language: str) -> list[str]:
    """One sentence for each number that the translation lacks, or has without a reason; empty: they agree."""
    wanted = numbers(source, source_language)
    there = numbers(target, target_language)
    roman = [Number(match[0], frozenset({_roman(match[0])}), False) for match in _ROMAN.finditer(target)]
    unused = [*roman]
    for number in there:
        unused += _clock(number) if not any(number.values & one.values for one in wanted) else [number]
    problems = []
    for number in sorted(wanted, key=lambda one: not one.is_required):
        match = next((one for one in unused if one.values & number.values), None)
        if match is not None:
            unused.remove(match)
        elif number.is_required:
            problems.append(f"The number {number.text} is missing.")
    said = frozenset[Fraction]().union(*(one.values for one in wanted))
    problems += [
        f"The number {number.text} is not in the source."
        for number in unused
        if number.is_digits and number.is_required and min(number.values) >= LEAST_INVENTED and not number.values & said
    ]
    return problems


def localized(source: str, target: str, source_language: str, target_language: str) -> str:
    """The translation, with the separators of its language in the numbers that it has as the source writes them.

    `1,250.5` is `1.250,5` in Spanish, which a voice would read wrongly otherwise.
    """
    point, group = _POINTS.get(source_language, (",", "."))
    new_point, new_group = _POINTS.get(target_language, (",", "."))
    if (point, group) == (new_point, new_group):
        return target
    grouped = rf"\d{{1,3}}(?:[{re.escape(group)}]\d{{3}})+(?:{re.escape(point)}\d+)?(?!\d)"
    pattern = re.compile(rf"(?<![\d.,:/-])(?:{grouped}|\d+{re.escape(point)}\d+)(?![.,:/-]?\d)")
    own = {match[0] for match in pattern.finditer(source)}
    swapped = str.maketrans({point: new_point, group: new_group})
    return pattern.sub(lambda match: match[0].translate(swapped) if match[0] in own else match[0], target)


def _in_digits(text: str, language: str) -> Iterator[Number]:
    for match in _DIGITS.finditer(text):
        parts = re.split(r"[.:/\-]", match[0])
        if len(parts) > 2 and not re.fullmatch(r"\d{1,3}(?:\.\d{3})+", match[0]):
            is_date = len(parts) == 3 and any(len(part) == 4 for part in parts)
            for index, part in enumerate(parts):  # the middle of a date is its month, which may become a name
                yield Number(
                    part, frozenset({Fraction(int(part))}), True, not (is_date and index < 2 and _is_month(part))
                )
            continue
        values = _readings(match[0])
        rest = text[match.end() :]
        if _AFTERNOON.match(rest):
            values |= {value + 12 for value in values if value < 12}
        if re.match(r"['’]?s\b", rest) and (decade := re.fullmatch(r"(?:1[89]|20)(\d0)", match[0])):
            values |= {Fraction(int(decade[1]))}  # `the 1990s` are `los años 90`
        if re.match(r"[kK]\b", rest):
            values |= {value * 1000 for value in values}
        scaled = _scale_after(rest, language)
        yield Number(match[0], frozenset(value * scaled for value in values), True)


def _is_month(part: str) -> bool:
    return 1 <= int(part) <= 12


def _clock(number: Number) -> list[Number]:
    """`10.30` as a time; any other number as it is."""
    match = re.fullmatch(r"(\d{1,2})\.([0-5]\d)", number.text)
    if not match:
        return [number]
    return [Number(part, frozenset({Fraction(int(part))}), True) for part in match.groups()]


def _readings(text: str) -> frozenset[Fraction]:
    """`1.250` → 1250 and 1.25; `1.250,5` → 1250.5."""
    plain = re.sub(rf"[{_SPACES}'’]", "", text)
    marks = re.findall(r"[.,]", plain)
    if len(set(marks)) == 2:  # the last one is the point
        return frozenset({Fraction(re.sub(r"[.,]", "", plain[: -len(plain.rpartition(marks[-1])[2]) - 1]) + "." + plain.rpartition(marks[-1])[2])})  # fmt: skip
    whole = Fraction(int(re.sub(r"[.,]", "", plain)))
    if not marks:
        return frozenset({whole})
    if len(marks) > 1:
        return frozenset({whole})
    before, _, after = plain.replace(",", ".").partition(".")
    decimal = Fraction(f"{before}.{after}")
    return frozenset({whole, decimal}) if len(after) == 3 and before[0] != "0" else frozenset({decimal})


def _scale_after(rest: str, language: str) -> int:
    """What the number before is multiplied with: `million` → 1 000 000."""
    scales = SCALES.get(language, {})
    words = [plain_letters(word) for word in _WORD.findall(rest[:30])]
    if not re.match(rf"[{_SPACES}\-]?[^\W\d_]", rest) or not words:
        return 1
    for candidate in (" ".join(words[:2]), words[0], words[0][:1] if language in ("zh", "ja", "ko") else ""):
        if candidate in scales:
            return int(10 ** scales[candidate])
    return 1


def _in_words(text: str, language: str) -> Iterator[Number]:
    table, ordinals = spelled_numbers(language)
    if not table:
        return
    tokens = [plain_letters(match[0]) for match in _WORD.finditer(text)]
    scales = SCALES.get(language, {})
    at = 0
    while at < len(tokens):
        used, value = _number_at(tokens, at, table, scales)
        if not used:
            stems = [tokens[at][:-1], *([tokens[at][:-2]] if language in _LONG_ENDINGS else [])]
            used, value = next(((1, ordinals[stem]) for stem in stems if stem in ordinals), (0, 0))
        if used:
            is_bare_scale = used == 1 and tokens[at] in scales  # `several thousand`
            yield Number(
                " ".join(tokens[at : at + used]), frozenset({Fraction(value)}), False,
                value >= LEAST_AS_WORD and not is_bare_scale,
            )  # fmt: skip
        at += used or 1


def _number_at(tokens: Sequence[str], at: int, table: Mapping[str, int], scales: Mapping[str, int]) -> tuple[int, int]:
    """How many of the words from `at` are a number, and which one."""
    total, used, least = 0, 0, 10**15
    while True:
        start = at + used + (1 if used and at + used < len(tokens) and tokens[at + used] in _LINKS else 0)
        n, value = _longest(tokens, start, table)
        if not n and not used and tokens[start] in scales and scales[tokens[start]] == 3:
            value = 1  # `mil doscientos`: a scale without a number before it
        elif not n:
            break
        scale, n_scale = 1, 0
        for length in (2, 1):
            name = " ".join(tokens[start + n : start + n + length])
            if name in scales:
                scale, n_scale = 10 ** scales[name], length
                break
        if value * scale >= least:
            break
        total, used, least = total + value * scale, start + n + n_scale - at, scale
        if scale == 1:
            break
    return used, total


def _longest(tokens: Sequence[str], at: int, table: Mapping[str, int]) -> tuple[int, int]:
    for length in range(min(_MOST_WORDS, len(tokens) - at), 0, -1):
        value = table.get(" ".join(tokens[at : at + length]))
        if value is not None:
            return length, value
    return 0, 0


def _in_cjk(text: str, language: str) -> Iterator[Number]:
    if language not in ("zh", "ja"):
        return
    for match in _CJK.finditer(text):
        value = _cjk_value(match[0])
        yield Number(match[0], frozenset({Fraction(value)}), False, bool(_CJK_NUMBER.fullmatch(match[0])))


def _cjk_value(text: str) -> int:
    digits = {
        one: value
        for value, names in enumerate(("〇零", "一", "二两", "三", "四", "五", "六", "七", "八", "九"))
        for one in names
    }
    units = {"十": 10, "百": 100, "千": 1000}
    if all(one in digits for one in text):
        return int("".join(str(digits[one]) for one in text))
    total, section, digit = 0, 0, 0
    for one in text:
        if one in digits:
            digit = digits[one]
        elif one in units:
            section, digit = section + (digit or 1) * units[one], 0
        else:
            total, section, digit = (total + section + digit) * (10**4 if one in "万萬" else 10**8), 0, 0
    return total + section + digit


def _roman(text: str) -> Fraction:
    values = [{"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}[one] for one in text]
    after = [*values[1:], 0]
    return Fraction(sum(-one if one < following else one for one, following in zip(values, after, strict=True)))
