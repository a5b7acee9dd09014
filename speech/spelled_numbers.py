"""Numbers in words, by language: a table of what num2words says, and of the forms that it does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from unicodedata import combining, normalize

from speech.errors import EngineUnavailable

SCALES: Mapping[str, Mapping[str, int]] = {
    "en": {"thousand": 3, "million": 6, "millions": 6, "billion": 9, "billions": 9, "trillion": 12},
    "es": {"mil": 3, "millon": 6, "millones": 6, "mil millones": 9, "billon": 12, "billones": 12},
    "fr": {"mille": 3, "million": 6, "millions": 6, "milliard": 9, "milliards": 9, "billion": 12, "billions": 12},
    "de": {"tausend": 3, "million": 6, "millionen": 6, "milliarde": 9, "milliarden": 9, "billion": 12, "billionen": 12},
    "it": {"mila": 3, "mille": 3, "milione": 6, "milioni": 6, "miliardo": 9, "miliardi": 9},
    "pt": {"mil": 3, "milhao": 6, "milhoes": 6, "mil milhoes": 9, "bilhao": 9, "bilhoes": 9, "trilhoes": 12},
    "ru": {
        "тысяча": 3, "тысячи": 3, "тысяч": 3, "тыс": 3, "миллион": 6, "миллиона": 6, "миллионов": 6, "млн": 6,
        "миллиард": 9, "миллиарда": 9, "миллиардов": 9, "млрд": 9,
    },
    "zh": {"千": 3, "万": 4, "亿": 8},
    "ja": {"千": 3, "万": 4, "億": 8},
    "ko": {"천": 3, "만": 4, "억": 8},
}  # fmt: skip
"""Language → word → the power of ten that the number before it is multiplied with."""
_OWN_WORDS: Mapping[str, Mapping[str, int]] = {
    "en": {
        "dozen": 12, "hundred": 100, "a hundred": 100, "a thousand": 1000, "a million": 1_000_000, "twenties": 20,
        "thirties": 30, "forties": 40, "fifties": 50, "sixties": 60, "seventies": 70, "eighties": 80, "nineties": 90,
    },
    "es": {"un": 1, "una": 1, "cero": 0, "primer": 1, "tercer": 3, "tercio": 3, "docena": 12},
    "fr": {"une": 1, "premiere": 1, "tiers": 3, "quart": 4, "douzaine": 12},
    "de": {
        "ein": 1, "eine": 1, "einem": 1, "einen": 1, "einer": 1, "zwo": 2, "drittel": 3, "viertel": 4, "funftel": 5,
        "zehntel": 10, "dutzend": 12, "hundert": 100,
    },
    "it": {"una": 1, "dozzina": 12},
    "pt": {"uma": 1, "duas": 2, "terco": 3, "duzia": 12},
    "ru": {"оба": 2, "треть": 3, "четверть": 4, "дюжина": 12, "миллион": 1_000_000},
    "ko": {"한": 1, "두": 2, "세": 3, "네": 4, "다섯": 5, "여섯": 6, "일곱": 7, "여덟": 8, "아홉": 9, "열": 10},
}  # fmt: skip
"""Language → words that num2words does not say."""
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_FORM_OPTIONS: Mapping[str, tuple[dict[str, str], ...]] = {
    "ru": ({"gender": "f"}, {"case": "g"}, {"case": "d"}, {"case": "i"}, {"case": "p"}),
}


def plain_letters(text: str) -> str:
    """In lower case and without accents."""
    return normalize("NFC", "".join(one for one in normalize("NFKD", text.casefold()) if not combining(one)))


@cache
def spelled_numbers(language: str) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Words → the cardinal numbers below a thousand, and years; stems → the ordinal numbers up to a hundred.

    A stem is a word without its last letter. Empty for a language that num2words does not know. Raises `EngineUnavailable`.
    """
    try:
        from num2words import num2words
    except ImportError as error:
        raise EngineUnavailable("Not installed: num2words. Install it with: pip install 'podlake[studio]'") from error
    say = partial(num2words, lang=language)
    try:
        table = {form: value for value in range(1_000) for form in _forms(str(say(value)), language)}
    except NotImplementedError:
        return {}, {}
    for options in _FORM_OPTIONS.get(language, ()):
        for value in range(1_000):
            table.setdefault(_spelled(str(say(value, **options))), value)
    if language == "ru":
        table = {**_russian_ordinals(say), **table}
    return {**table, **_years(say, language), **_OWN_WORDS.get(language, {})}, _ordinals(say)


def _years(say: Callable[..., object], language: str) -> dict[str, int]:
    """`nineteen eighty-four`; not `two thousand`, which is read in its parts."""
    if language not in ("en", "de"):
        return {}
    spelled = {_spelled(str(say(year, to="year"))): year for year in range(1_100, 2_100)}
    return {words: year for words, year in spelled.items() if not set(words.split()) & set(SCALES[language])}


def _ordinals(say: Callable[..., object]) -> dict[str, int]:
    found: dict[str, int] = {}
    for value in range(1, 101):
        try:
            found.setdefault(_spelled(str(say(value, to="ordinal")))[:-1], value)
        except (NotImplementedError, TypeError, KeyError):  # it has none, or fails at some
            continue
    return found


def _russian_ordinals(say: Callable[..., object]) -> dict[str, int]:
    """In every case and gender: their endings differ by more than a letter."""
    forms = [{"case": case, "gender": gender} for case in "ngdaip" for gender in "mfn"]
    return {_spelled(str(say(value, to="ordinal", **form))): value for value in range(1, 101) for form in forms}


def _forms(words: str, language: str) -> Iterator[str]:
    """The words, and as they are before a noun of another gender."""
    plain = _spelled(words)
    yield plain
    if language in ("es", "pt") and "entos" in plain:
        yield plain.replace("entos", "entas")
    if language == "es" and plain.endswith("uno"):
        yield plain[:-1]
        yield plain[:-1] + "a"
    if language == "en" and " and " in plain:
        yield plain.replace(" and ", " ")


def _spelled(words: str) -> str:
    return " ".join(plain_letters(match[0]) for match in _WORD.finditer(words))
