"""What the rules of spoken text know about each language: names of months, abbreviations, separators and small words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TextLanguage:
    """What the rules need to know about a language."""

    abbreviations: Mapping[str, str]
    months: tuple[str, ...]
    percent: str
    minus: str
    plus: str
    number: str
    """What `#5` is called."""
    dot: str
    slash: str
    at: str
    to: str
    """Between the ends of a range."""
    ratio: str
    times: str
    by: str
    """Between width and height."""
    per: str
    conjunction: str
    version_point: str
    """Between the parts of `2.0.1`."""
    us_dollar: str
    """A replacement for what dollars are called, for those of the United States."""
    point: str
    """The character before decimals."""
    group: str
    """The characters that may separate thousands."""
    dates: str
    """A date in figures, with the groups day, month and year; in English a or b is the day."""
    ordinals: str
    """A regular expression of ordinal numbers in figures."""
    magnitudes: Mapping[str, tuple[str, str]]
    """`million` after an amount, as it is written: what is said after one and after several."""
    short_months: Mapping[str, int] = field(default_factory=dict)
    """`Jan.`: which month it is."""
    clock: str = "{hour} {minute}"
    full_hour: str = "{hour}"
    hour_mark: str = r"(?!)"
    """What may follow a time and is said with it."""
    seconds: str = ""


LANGUAGES: Mapping[str, TextLanguage] = {
    "en": TextLanguage(
        abbreviations={
            "Dr.": "Doctor", "Mr.": "Mister", "Mrs.": "Missis", "Ms.": "Miss", "Prof.": "Professor", "St.": "Saint",
            "e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "vs.": "versus", "approx.": "approximately",
            "No.": "number", "&": "and", "Fig.": "figure", "Jr.": "Junior", "Sr.": "Senior",
        },
        months=("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
                "November", "December"),
        short_months={"Jan.": 1, "Feb.": 2, "Mar.": 3, "Apr.": 4, "Jun.": 6, "Jul.": 7, "Aug.": 8, "Sept.": 9, "Sep.": 9,
                      "Oct.": 10, "Nov.": 11, "Dec.": 12},
        percent="percent", minus="minus", plus="plus", number="number", dot="dot", slash="slash", at="at", to="to",
        ratio="to", times="times", by="by", per="per", conjunction="and", us_dollar=r"US \1", version_point="point", point=".", group=",",
        dates=r"\b(?P<a>\d{1,2})/(?P<b>\d{1,2})/(?P<year>\d{4})\b", ordinals=r"\b\d+(?:st|nd|rd|th)\b",
        magnitudes={"thousand": ("thousand", "thousand"), "million": ("million", "million"),
                    "billion": ("billion", "billion"), "trillion": ("trillion", "trillion"),
                    "bn": ("billion", "billion"), "m": ("million", "million"), "k": ("thousand", "thousand")},
        full_hour="{hour} o'clock", seconds="{time} and {seconds}",
    ),
    "de": TextLanguage(
        abbreviations={
            "z. B.": "zum Beispiel", "z.B.": "zum Beispiel", "d. h.": "das heißt", "d.h.": "das heißt",
            "usw.": "und so weiter", "Dr.": "Doktor", "Prof.": "Professor", "Nr.": "Nummer", "ca.": "circa",
            "bzw.": "beziehungsweise", "u. a.": "unter anderem", "&": "und", "Abb.": "Abbildung", "Hr.": "Herr",
            "Fr.": "Frau", "inkl.": "inklusive", "vgl.": "vergleiche", "Mio.": "Millionen", "Mrd.": "Milliarden",
        },
        months=("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober",
                "November", "Dezember"),
        short_months={"Jan.": 1, "Feb.": 2, "Apr.": 4, "Aug.": 8, "Sept.": 9, "Okt.": 10, "Nov.": 11, "Dez.": 12},
        percent="Prozent", minus="minus", plus="plus", number="Nummer", dot="Punkt", slash="Schrägstrich", at="at",
        to="bis", ratio="zu", times="mal", by="mal", per="pro", conjunction="und", us_dollar=r"US \1", version_point="Punkt", point=",", group=".",
        dates=r"\b(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.\s?(?P<year>\d{4})\b", ordinals=r"(?!)",
        magnitudes={"Millionen": ("Million", "Millionen"), "Million": ("Million", "Millionen"),
                    "Milliarden": ("Milliarde", "Milliarden"), "Milliarde": ("Milliarde", "Milliarden"),
                    "Mio.": ("Million", "Millionen"), "Mrd.": ("Milliarde", "Milliarden"),
                    "Tausend": ("Tausend", "Tausend")},
        clock="{hour} Uhr {minute}", full_hour="{hour} Uhr", hour_mark=r" ?Uhr\b", seconds="{time} und {seconds}",
    ),
    "fr": TextLanguage(
        abbreviations={"M.": "Monsieur", "Mme": "Madame", "Dr": "Docteur", "etc.": "et cetera", "n°": "numéro",
                       "&": "et", "Mlle": "Mademoiselle", "env.": "environ", "p. ex.": "par exemple"},
        months=("janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre",
                "novembre", "décembre"),
        short_months={"janv.": 1, "févr.": 2, "avr.": 4, "juil.": 7, "sept.": 9, "oct.": 10, "nov.": 11, "déc.": 12},
        percent="pour cent", minus="moins", plus="plus", number="numéro", dot="point", slash="barre oblique",
        at="arobase", to="à", ratio="pour", times="fois", by="sur", per="pour", conjunction="et", us_dollar=r"\1 américains", version_point="point", point=",", group=" \u202f\u00a0",
        dates=r"\b(?P<day>\d{1,2})/(?P<month>\d{1,2})/(?P<year>\d{4})\b",
        ordinals=r"\b\d+(?:er|re|ère|e|ème|ème|nde?)\b",
        magnitudes={"millions": ("million", "millions"), "million": ("million", "millions"),
                    "milliards": ("milliard", "milliards"), "milliard": ("milliard", "milliards")},
        clock="{hour} {minute}", full_hour="{hour}", hour_mark=r"(?!)", seconds="{time} et {seconds}",
    ),
    "es": TextLanguage(
        abbreviations={"Sr.": "Señor", "Sra.": "Señora", "Dr.": "Doctor", "Dra.": "Doctora", "etc.": "etcétera",
                       "p. ej.": "por ejemplo", "n.º": "número", "&": "y", "Ud.": "usted", "Uds.": "ustedes",
                       "EE. UU.": "Estados Unidos", "núm.": "número", "aprox.": "aproximadamente"},
        months=("enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre",
                "noviembre", "diciembre"),
        percent="por ciento", minus="menos", plus="más", number="número", dot="punto", slash="barra", at="arroba",
        to="a", ratio="a", times="veces", by="por", per="por", conjunction="y", us_dollar=r"\1 estadounidenses", version_point="punto", point=",", group=".",
        dates=r"\b(?P<day>\d{1,2})/(?P<month>\d{1,2})/(?P<year>\d{4})\b", ordinals=r"\b\d+\.?[ºª]",
        magnitudes={"millones": ("millón", "millones"), "millón": ("millón", "millones"), "mil": ("mil", "mil")},
        clock="{hour} y {minute}", full_hour="{hour} en punto", hour_mark=r" ?h\b", seconds="{time} y {seconds}",
    ),
}  # fmt: skip
