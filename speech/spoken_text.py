"""Writes numbers, dates, amounts, abbreviations and addresses as they are spoken, for synthesizers that misread them.

A language without rules here is left as it is. Tags of speakers and sounds are not touched. Applied twice, it changes
nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from speech.number_words import decimal_words, digit_words, number_words
from speech.spoken_amounts import SIGNS, amount_words
from speech.spoken_dates import clock_words, date_words, figures_date, german_ordinal
from speech.spoken_languages import LANGUAGES as _LANGUAGES
from speech.spoken_languages import TextLanguage
from speech.spoken_units import agreeing, measure_words, parse_unit, prose_units


@dataclass(frozen=True, slots=True)
class Change:
    """A place where the text was rewritten."""

    before: str
    after: str
    problem: str | None = None
    """Why it could not be read as it was meant."""


LANGUAGES = frozenset(_LANGUAGES)
_PROTECTED = r"\[S\d+\]|<\|[a-zA-Z_]+\|>"
_URL = r"(?:https?://|www\.)[^\s<>\"'()\[\]]*[\w/]"
_EMAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_ISO_DATE = r"\b\d{4}-\d{2}-\d{2}\b"
_PHONE = r"(?<![\w.])\+\d{1,3}(?:[ /-]?\(?\d{1,5}\)?){2,6}(?!\w)"
_SMALL = {"½": (1, 2), "¼": (1, 4), "¾": (3, 4), "⅓": (1, 3), "⅔": (2, 3), "⅛": (1, 8)}
_BEFORE_NUMBERS = ("No.", "Nr.", "n°", "n.º", "núm.", "Fig.", "Abb.")
"""Abbreviations that are words of their own, or end a sentence, where no number follows."""
_BEFORE_NAMES = ("M.", "Fr.", "Hr.", "St.")
_MASCULINE_IN_A = frozenset(["día", "días", "problema", "problemas", "sistema", "sistemas", "tema", "temas", "programa", "programas", "mapa", "mapas", "clima", "climas", "idioma", "idiomas"])  # fmt: skip
_SPANISH_PARTICLES = frozenset(["a", "al", "con", "contra", "de", "del", "e", "el", "en", "la", "las", "los", "más", "menos", "no", "o", "para", "pero", "por", "que", "se", "sin", "sobre", "son", "es", "u", "un", "una", "y", "veces", "mil", "millones"])  # fmt: skip
_GLUED = frozenset(
    ("number", "version", "measure", "ordinal", "fraction", "small", "decade", "amount", "size", "factor")
)
"""What is written apart from letters beside it: `10am`, `B12`."""


def spoken_text(text: str, language: str | None) -> tuple[str, tuple[Change, ...]]:
    """The text as it is to be said, and what was changed. Raises `EngineUnavailable` without num2words."""
    if language is None or language not in _LANGUAGES:
        return text, ()
    changes: list[Change] = []
    writer = _Writer(_LANGUAGES[language], language)

    def replaced(match: re.Match[str]) -> str:
        before = match[0]
        name, after = writer.written(match)
        if name in _GLUED and after != before:
            if match.start() and text[match.start() - 1].isalpha():
                after = f" {after}"
            if text[match.end() : match.end() + 1].isalpha():
                after = f"{after} "
        if after != before:
            changes.append(Change(before, after))
        return after

    return _pattern(language).sub(replaced, text), tuple(changes)


@lru_cache
def _pattern(language: str) -> re.Pattern[str]:
    """One pass with one alternative per rule, the most special first, so that nothing is rewritten twice."""
    rules = _LANGUAGES[language]
    group, point = re.escape(rules.group), re.escape(rules.point)
    number = rf"(?:\d{{1,3}}(?:[{group}]\d{{3}})+(?!\d)|\d+)(?:{point}\d+)?"
    signed = rf"(?:(?<![\w.,])[-−+])?{number}"
    months = "|".join(map(re.escape, (*rules.months, *rules.short_months)))
    year = r"(?: \d{4}\b|(?!\w))"
    day = {
        "en": rf"\b(?:{months}) \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?\b|\b\d{{1,2}}(?:st|nd|rd|th)? (?:{months}){year}",
        "es": rf"\b\d{{1,2}} de (?:{months})(?: de \d{{4}}\b|(?!\w))",
        "fr": rf"\b\d{{1,2}}(?:er)? (?:{months}){year}",
    }.get(language, rf"\b\d{{1,2}}\.? (?:{months}){year}")
    hours = r"(?:[01]?\d|2[0-3])"
    after_time = {"en": rf"(?:{_HALF_DAY}|(?!\w))"}.get(language, rf"(?!\w)(?:{rules.hour_mark})?")
    time = rf"\b{hours}:[0-5]\d(?::[0-5]\d)?{after_time}" + {
        "fr": rf"|\b{hours} ?h ?[0-5]\d\b",
        "de": rf"|\b{hours}\.[0-5]\d Uhr\b|\b{hours} Uhr(?: [0-5]\d(?![\d.:]))?\b",
    }.get(language, "")  # fmt: skip
    signs = "|".join(re.escape(one) for one in SIGNS if len(one) == 1)
    codes = "|".join(one for one in SIGNS if len(one) > 1)
    magnitude = "|".join(map(re.escape, sorted(rules.magnitudes, key=len, reverse=True)))
    magnitude = rf"(?: ?(?:{magnitude})(?!\w))?"
    minus = r"(?:(?<![\w.,])[-−])?"
    decimals = rf"{number}(?!\d)"
    amount = (
        rf"{minus}(?:\bUS)?\\?(?:{signs}) ?[-−]?{decimals}{magnitude}"
        rf"|{minus}{decimals}{magnitude} ?(?:\\?(?:{signs})(?!\d)|(?:{codes})\b)|\b(?:{codes}) {decimals}{magnitude}"
    )
    abbreviations = "|".join(map(_abbreviation, sorted(rules.abbreviations, key=len, reverse=True)))
    article = r"(?<=\bder )|(?<=\bdie )|(?<=\bdas )|(?<=\bden )|(?<=\bdem )|(?<=\bim )|(?<=\bam )|(?<=\bzum )|(?<=\bvom )|(?<=\bbeim )|(?<=\bzur )|(?<=\bdes )"
    german = rf"(?i:{article})\d{{1,3}}\. (?=[A-ZÄÖÜ])" if language == "de" else r"(?!)"
    decimals_alone = r"(?<![\w.,])[-−+]?\.\d+\b" if rules.point == "." else r"(?!)"
    decade = r"\b(?:1[1-9]|20)\d0s\b|(?<!\w)[2-9]0s\b" if language == "en" else r"(?!)"
    return re.compile(
        rf"(?P<kept>{_PROTECTED})|(?P<email>{_EMAIL})|(?P<url>{_URL})|(?P<iso_date>{_ISO_DATE})|(?P<figures>{_anonymous(rules.dates)})"
        rf"|(?P<day_month>{day})|(?P<time>{time})|(?P<phone>{_PHONE})|(?P<amount>{amount})|(?P<decade>{decade})"
        rf"|(?P<ordinal>{rules.ordinals})|(?P<german>{german})"
        rf"|(?P<size>\b\d+ ?[x×] ?\d+\b)|(?P<factor>{number}x\b)"
        rf"|(?P<measure>(?:(?<![\w.,])[-−–+])?{number}[ \u00a0\u202f]?(?:\\?%|(?:{prose_units(language)})(?![\w²³])))"
        rf"|(?P<fraction>(?<![\d/.,])\d{{1,2}}/\d{{1,2}}(?![\d/]|[.,]\d))|(?P<small>\d*[{''.join(_SMALL)}])"
        rf"|(?P<abbreviation>(?<!\w)(?:{abbreviations})(?!\w))"
        rf"|(?P<ratio>(?<=\d):(?=\d))|(?P<per>(?<=\d [lL])/(?=100 ?km))"
        rf"|(?P<range>(?<=[\d%€$£]) ?– ?(?=[\d$€£])|(?<=\d)-(?=[$€£]\d))"
        rf"|(?P<sharp>(?<!\w)#(?=\d))|(?P<version>(?<![\d.])\d+(?:\.\d+)+(?![\d]|\.\d))|(?P<number>{signed})"
        rf"|(?P<decimals>{decimals_alone})|(?P<minus> ?− ?|(?<=\d) ?- ?(?=\d[\d.,]*\s*=)|(?<=\b[a-z])-(?=\d+(?![\w-])))"
    )


_HALF_DAY = r" ?[aApP]\.m\.| ?[aApP][mM]\b"


def _anonymous(pattern: str) -> str:
    return re.sub(r"\(\?P<\w+>", "(?:", pattern)


def _abbreviation(written: str) -> str:
    after = r"(?=\s?\d)" if written in _BEFORE_NUMBERS else r"(?= [A-ZÄÖÜÀ-Ý])" if written in _BEFORE_NAMES else ""
    return re.escape(written) + after


class _Writer:
    """Writes what an alternative of the pattern has found."""

    def __init__(self, rules: TextLanguage, language: str) -> None:
        self._rules = rules
        self._language = language
        self._constant = {
            "ratio": f" {rules.ratio} ", "per": f" {rules.per} ", "range": f" {rules.to} ", "sharp": f"{rules.number} ",
        }  # fmt: skip

    def written(self, match: re.Match[str]) -> tuple[str, str]:
        """The name of the alternative that matched, and what is said for it."""
        name = match.lastgroup or ""
        if name in self._constant:
            return name, self._constant[name]
        write: Callable[[re.Match[str]], str] = getattr(self, f"_{name}")
        return name, write(match)

    def _kept(self, match: re.Match[str]) -> str:
        return match[0]

    def _email(self, match: re.Match[str]) -> str:
        return self._url(match)

    def _url(self, match: re.Match[str]) -> str:
        text = re.sub(r"^https?://", "", match[0]).removeprefix("www.").rstrip("/")
        parts = re.split(r"([./@])", text)
        spoken = {".": self._rules.dot, "/": self._rules.slash, "@": self._rules.at}
        said = " ".join(spoken.get(part, re.sub(r"[-_?=&#+~:%]+", " ", part)) for part in parts if part)
        return re.sub(r"\d+", lambda found: f" {self._number_words(found[0])} ", said).strip()

    def _iso_date(self, match: re.Match[str]) -> str:
        try:
            found = date.fromisoformat(match[0])
        except ValueError:
            return " ".join(self._number_words(part) for part in match[0].split("-"))
        return self._date(match, found.day, found.month, found.year)

    def _figures(self, match: re.Match[str]) -> str:
        inner = re.fullmatch(self._rules.dates, match[0])
        found = figures_date(inner) if inner else None
        if found is None:
            return re.sub(r"\d+", lambda part: self._number_words(part[0]), match[0])
        return self._date(match, *found)

    def _day_month(self, match: re.Match[str]) -> str:
        names = (*enumerate(self._rules.months, start=1), *((n, one) for one, n in self._rules.short_months.items()))
        month = next(number for number, one in names if one in match[0])
        numbers = [int(one) for one in re.findall(r"\d+", match[0])]
        year = next((one for one in numbers if one > 99), None)
        return self._date(match, numbers[0], month, year)

    def _date(self, match: re.Match[str], day: int, month: int, year: int | None) -> str:
        before = match.string[: match.start()]
        return date_words(day, month, year, self._rules, self._language, before=before)

    def _time(self, match: re.Match[str]) -> str:
        return clock_words(match[0], self._rules, self._language)

    def _phone(self, match: re.Match[str]) -> str:
        groups = (digit_words(part, self._language) for part in re.findall(r"\d+", match[0]))
        return f"{self._rules.plus} {', '.join(groups)}"

    def _amount(self, match: re.Match[str]) -> str:
        text = match[0]
        sign = next(one for one in SIGNS if one in text)
        digits = re.search(r"\d(?:[\d.,\s\u202f\u00a0]*\d)?", text)
        assert digits
        rest = re.sub(rf"[\\\s]|{re.escape(sign)}", "", text[digits.end() :])
        magnitude = self._rules.magnitudes.get(rest)
        said = amount_words(self._plain(digits[0]), sign, magnitude, self._language)
        if "US" in text[: digits.start()]:
            said = re.sub(r"(dollars?|Dollar|dólar(?:es)?)", self._rules.us_dollar, said)
        return f"{self._rules.minus} {said}" if re.search(r"[-−]", text[: digits.start()]) else said

    def _decade(self, match: re.Match[str]) -> str:
        year = int(match[0][:-1])
        said = number_words(year, self._language, to="year" if year > 99 else "cardinal")
        return f"{said[:-1]}ies" if said.endswith("y") else f"{said}s"

    def _ordinal(self, match: re.Match[str]) -> str:
        number = int(re.sub(r"\D", "", match[0]))
        said = number_words(number, self._language, to="ordinal")
        if self._language == "fr" and number == 1 and match[0].endswith(("re", "ère")):
            return "première"
        if self._language == "es" and match[0].endswith("ª"):
            return re.sub(r"o\b", "a", said)
        return said

    def _german(self, match: re.Match[str]) -> str:
        return german_ordinal(int(match[0].rstrip(". ")), match.string[: match.start()]) + " "

    def _size(self, match: re.Match[str]) -> str:
        width, height = re.findall(r"\d+", match[0])
        words = (number_words(int(one), self._language) for one in (width, height))
        return f" {self._rules.by} ".join(words)

    def _factor(self, match: re.Match[str]) -> str:
        return f"{self._number_words(match[0][:-1])} {self._rules.times}"

    def _measure(self, match: re.Match[str]) -> str:
        found = re.match(r"([-−–+]?)(\d(?:[\d.,\s\u202f\u00a0]*\d)?)\s*\\?(.*)", match[0], re.DOTALL)
        assert found
        plain = self._plain(found[2])
        sign = {"": "", "+": f"{self._rules.plus} "}.get(found[1], f"{self._rules.minus} ")
        if found[3] == "%":
            return f"{sign}{decimal_words(plain, self._language)} {self._rules.percent}"
        factors = parse_unit(found[3], self._language)
        assert factors
        return sign + measure_words(plain, factors, self._language)

    def _fraction(self, match: re.Match[str]) -> str:
        above, below = (int(part) for part in match[0].split("/"))
        said = self._fraction_words(above, below) if above < below else None
        return said or f"{self._number_words(str(above))} {self._number_words(str(below))}"

    def _small(self, match: re.Match[str]) -> str:
        said = self._fraction_words(*_SMALL[match[0][-1]]) or ""
        if len(match[0]) == 1:
            return said
        whole = self._number_words(match[0][:-1])
        if self._language == "de" and match[0][-1] == "½":
            return f"{whole.removesuffix('s') if whole == 'eins' else whole}einhalb"
        return f"{whole} {self._rules.conjunction} {said}"

    def _fraction_words(self, above: int, below: int) -> str | None:
        from speech.formulas.fractions import fraction_words

        return fraction_words(above, below, self._language)

    def _abbreviation(self, match: re.Match[str]) -> str:
        return self._rules.abbreviations[match[0]]

    def _minus(self, match: re.Match[str]) -> str:
        before = " " if match.start() else ""
        return f"{before}{self._rules.minus} "

    def _version(self, match: re.Match[str]) -> str:
        """`2.0.1`, or a decimal point where the language has a comma."""
        parts = match[0].split(".")
        if self._rules.point == "." and len(parts) == 2:
            return self._number_words(match[0])
        if self._rules.group == "." and len(parts[0]) <= 3 and all(len(part) == 3 for part in parts[1:]):
            return self._number_words(match[0])
        return f" {self._rules.version_point} ".join(self._number_words(part) for part in parts)

    def _number(self, match: re.Match[str]) -> str:
        said = self._number_words(match[0])
        if self._language != "es":
            return said
        noun = re.match(r" ([a-záéíóúñ]+)", match.string[match.end() :])
        if not noun or noun[1] in _SPANISH_PARTICLES:
            return said
        feminine = bool(re.search(r"(?:as?|ión|iones|dad|dades)$", noun[1])) and noun[1] not in _MASCULINE_IN_A
        return re.sub(r"(cient|quinient)os\b", r"\1as", agreeing(said, feminine=True, language="es")) if feminine else (
            agreeing(said, feminine=False, language="es")
        )  # fmt: skip

    def _decimals(self, match: re.Match[str]) -> str:
        """`.5`"""
        return self._number_words(match[0].replace(".", "0."))

    def _number_words(self, text: str) -> str:
        language = self._language
        sign = {"+": f"{self._rules.plus} ", "-": f"{self._rules.minus} ", "−": f"{self._rules.minus} "}.get(
            text[0], ""
        )
        plain = self._plain(text.lstrip("-−+"))
        if re.fullmatch(r"(?:1[1-9]|20)\d\d", text):
            return sign + number_words(int(plain), language, to="year")
        if len(plain) > 1 and plain.isdigit() and plain[0] == "0":  # a telephone number, a code
            return sign + digit_words(plain, language)
        return sign + decimal_words(plain, language)

    def _plain(self, text: str) -> str:
        """`1.234,5` in German → `1234.5`."""
        for separator in self._rules.group:
            text = text.replace(separator, "")
        return text.replace(self._rules.point, ".")
