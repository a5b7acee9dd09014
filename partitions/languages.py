"""Language tags as feeds write them, reduced to the two-letter language by which engines are chosen."""

from __future__ import annotations

import re
from functools import cache

_COUNTRIES = {
    "at": "de", "cn": "zh", "cz": "cs", "dk": "da", "gb": "en", "gr": "el", "il": "he", "ir": "fa", "jp": "ja",
    "kr": "ko", "se": "sv", "sp": "es", "ua": "uk", "us": "en", "vn": "vi",
}  # fmt: skip
"""Country codes that feeds use for a language. `kr` and `se` are languages too (Kanuri, Northern Sami), but rare ones."""
_NAMES = {"castellano": "es", "espanol": "es", "portugues": "pt"}
"""Names that `langcodes` does not know."""

_THREE_LETTERS = {"cmn": "zh", "fil": "tl", "nan": "zh", "wuu": "zh", "yue": "zh"}
"""Codes under which feeds and `langcodes` name Chinese and Tagalog."""


@cache
def normalise_language(tag: str | None) -> str | None:
    """`en-US`, `EN`, `eng`, `English` → `en`; `cn`, `zh-Hans-CN`, `cmn` → `zh`; None if the tag names no language."""
    text = (tag or "").strip().lower().replace("_", "-")
    return _language(text) or _language(re.split(r"[^a-zà-ÿ]", text, maxsplit=1)[0])


def _language(text: str) -> str | None:
    import langcodes  # only here: its data take 0.1 s to load

    if text in _COUNTRIES | _NAMES:
        return (_COUNTRIES | _NAMES)[text]
    try:
        # Shorter texts are codes: by name, `langcodes` finds rare languages for them.
        is_name = len(text) > 3 or not text.isascii()
        language = langcodes.find(text) if is_name else langcodes.Language.get(text)
    except (LookupError, ValueError):
        return None
    if not language.is_valid():
        return None
    code = language.language or ""
    code = _THREE_LETTERS.get(code, code)
    return code if len(code) == 2 else None
