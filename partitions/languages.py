"""Language tags as feeds write them, reduced to what engines are chosen by: a two-letter primary tag."""

from __future__ import annotations

import re


def normalise_language(tag: str | None) -> str | None:
    """`en-US`, `EN`, `eng`, `English` → `en`; `cn`, `zh-Hans-CN` → `zh`; None for what names no language.

    Two-letter tags of ISO 639-1 stand for themselves. Country codes that people write for their
    language are read as the language, but only where no language has that code.
    """
    text = (tag or "").strip().lower().replace("_", "-")
    for known in (text, re.split(r"[^a-zà-ÿ]", text, maxsplit=1)[0]):
        if known in _ISO_639_1:
            return known
        if known in _OTHER_NAMES:
            return _OTHER_NAMES[known]
    return None


_ISO_639_1 = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el
    en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it
    iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt
    my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl
    sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo
    za zh zu
    """.split()  # noqa: SIM905 - as a list of strings it would fill a page
) - {"kr", "se"}  # Kanuri and Northern Sami: in feeds, Korea and Sweden

_OTHER_NAMES = {
    # countries, and codes that were withdrawn
    "cn": "zh", "jp": "ja", "kr": "ko", "ua": "uk", "gr": "el", "dk": "da", "se": "sv", "sp": "es", "cz": "cs",
    "at": "de", "gb": "en", "us": "en", "vn": "vi", "il": "he", "ir": "fa", "iw": "he", "in": "id", "ji": "yi",
    "cmn": "zh", "yue": "zh", "wuu": "zh", "nan": "zh", "fil": "tl",
    # ISO 639-2 and 639-3
    "afr": "af", "ara": "ar", "ben": "bn", "bul": "bg", "cat": "ca", "ces": "cs", "cze": "cs", "chi": "zh",
    "zho": "zh", "cym": "cy", "wel": "cy", "dan": "da", "deu": "de", "ger": "de", "dut": "nl", "nld": "nl",
    "ell": "el", "gre": "el", "eng": "en", "est": "et", "eus": "eu", "baq": "eu", "fas": "fa", "per": "fa",
    "fin": "fi", "fra": "fr", "fre": "fr", "gle": "ga", "glg": "gl", "heb": "he", "hin": "hi", "hrv": "hr",
    "hun": "hu", "hye": "hy", "arm": "hy", "ind": "id", "isl": "is", "ice": "is", "ita": "it", "jpn": "ja",
    "kat": "ka", "geo": "ka", "kor": "ko", "lav": "lv", "lit": "lt", "mkd": "mk", "mac": "mk", "msa": "ms",
    "may": "ms", "mlt": "mt", "nob": "nb", "nno": "nn", "nor": "no", "pol": "pl", "por": "pt", "ron": "ro",
    "rum": "ro", "rus": "ru", "slk": "sk", "slo": "sk", "slv": "sl", "spa": "es", "sqi": "sq", "alb": "sq",
    "srp": "sr", "swa": "sw", "swe": "sv", "tam": "ta", "tel": "te", "tgl": "tl", "tha": "th", "tur": "tr",
    "ukr": "uk", "urd": "ur", "vie": "vi", "zul": "zu",
    # names, in English and in the language itself
    "arabic": "ar", "bengali": "bn", "bulgarian": "bg", "cantonese": "zh", "catalan": "ca", "català": "ca",
    "chinese": "zh", "mandarin": "zh", "croatian": "hr", "czech": "cs", "danish": "da", "dansk": "da",
    "dutch": "nl", "nederlands": "nl", "english": "en", "estonian": "et", "finnish": "fi", "suomi": "fi",
    "french": "fr", "français": "fr", "francais": "fr", "german": "de", "deutsch": "de", "greek": "el",
    "hebrew": "he", "hindi": "hi", "hungarian": "hu", "magyar": "hu", "icelandic": "is", "indonesian": "id",
    "irish": "ga", "italian": "it", "italiano": "it", "japanese": "ja", "korean": "ko", "latvian": "lv",
    "lithuanian": "lt", "malay": "ms", "maltese": "mt", "norwegian": "no", "norsk": "no", "persian": "fa",
    "farsi": "fa", "polish": "pl", "polski": "pl", "portuguese": "pt", "português": "pt", "portugues": "pt",
    "romanian": "ro", "russian": "ru", "serbian": "sr", "slovak": "sk", "slovenian": "sl", "spanish": "es",
    "español": "es", "espanol": "es", "castellano": "es", "swahili": "sw", "swedish": "sv", "svenska": "sv",
    "tagalog": "tl", "tamil": "ta", "telugu": "te", "thai": "th", "turkish": "tr", "ukrainian": "uk",
    "urdu": "ur", "vietnamese": "vi", "welsh": "cy", "中文": "zh", "日本語": "ja", "한국어": "ko", "русский": "ru",
}  # fmt: skip
