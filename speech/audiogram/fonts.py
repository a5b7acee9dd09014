"""Fonts of the system that have a text's characters, or else Pillow's own, which has the letters of ASCII alone."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont, features

Font = ImageFont.FreeTypeFont
_BOLD = (
    "NotoSans-Bold", "DejaVuSans-Bold", "LiberationSans-Bold", "Arial Bold", "arialbd", "NotoSansHebrew-Bold",
    "NotoSansArabic-Bold", "NotoNaskhArabic-Bold", "NotoSansDevanagari-Bold", "NotoSansThai-Bold", "NotoSansCJK-Bold",
    "SourceHanSans-Bold", "wqy-zenhei", "wqy-microhei", "NotoSansCJK-Regular", "PingFang", "msyh", "unifont",
)  # fmt: skip
_REGULAR = (
    "NotoSans-Regular", "DejaVuSans", "LiberationSans-Regular", "Arial", "arial", "NotoSansHebrew-Regular",
    "NotoSansArabic-Regular", "NotoNaskhArabic-Regular", "NotoSansDevanagari-Regular", "NotoSansThai-Regular",
    "NotoSansCJK-Regular", "SourceHanSans-Regular", "wqy-zenhei", "wqy-microhei", "PingFang", "msyh", "unifont",
)  # fmt: skip
"""Names of files without their suffix, the first choice first."""
_SUFFIXES = (".ttf", ".otf", ".ttc")
_NOTHING = "\U0010fffe"
"""A character that no font has: its glyph is the one for what is missing."""
_UNWRITTEN = ("Cc", "Cf", "Cs", "Mn", "Me", "Zs", "Zl", "Zp")
"""Categories of characters that may have no glyph of their own."""


def font_for(text: str, size_px: int, *, is_bold: bool = True) -> Font:
    """The first font with all characters of the text, or else the one with the most of them."""
    wanted = "".join(sorted({char for char in text if unicodedata.category(char) not in _UNWRITTEN}))
    return _font(_best(wanted, is_bold), size_px)


def missing_characters(texts: Iterable[str]) -> str:
    """The characters, each once, that no known font of this system has. They would be drawn as empty boxes."""
    chars = {char for text in texts for char in text if unicodedata.category(char) not in _UNWRITTEN}
    return "".join(
        sorted(char for char in chars if not any(_has(path, char) for path in (*found_fonts(is_bold=True), None)))
    )


def shapes_text() -> bool:
    """Whether this Pillow joins letters and orders them from right to left where a script asks for it."""
    return bool(features.check("raqm") and features.check("fribidi"))


@lru_cache(maxsize=4096)
def _best(wanted: str, is_bold: bool) -> str | None:
    best, best_missing = None, len(wanted) + 1
    for path in (*found_fonts(is_bold=is_bold), None):
        missing = sum(not _has(path, char) for char in wanted)
        if missing == 0:
            return path
        if missing < best_missing:
            best, best_missing = path, missing
    return best


@lru_cache(maxsize=65_536)
def _has(path: str | None, char: str) -> bool:
    font = _font(path, 20)
    glyph, absent = font.getmask(char), _absent(path)
    return (glyph.size, bytes(glyph)) != absent


@lru_cache(maxsize=64)
def _absent(path: str | None) -> tuple[tuple[int, int], bytes]:
    glyph = _font(path, 20).getmask(_NOTHING)
    return glyph.size, bytes(glyph)


@lru_cache(maxsize=256)
def _font(path: str | None, size_px: int) -> Font:
    if path is not None:
        return ImageFont.truetype(path, size_px)
    font = ImageFont.load_default(size_px)
    if not isinstance(font, Font):
        raise TypeError("This Pillow was built without FreeType: install the package from the registry.")
    return font


@lru_cache(maxsize=2)
def found_fonts(*, is_bold: bool) -> tuple[str, ...]:
    """Paths of the known fonts that the system has, the first choice first."""
    there: dict[str, str] = {}
    for folder in _folders():
        for path in _files(folder):
            there.setdefault(path.stem, str(path))
    return tuple(there[name] for name in (_BOLD if is_bold else _REGULAR) if name in there)


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        for name in sorted(names):
            if name.lower().endswith(_SUFFIXES):
                yield Path(root) / name


def _folders() -> Sequence[Path]:
    if sys.platform == "darwin":
        return (Path.home() / "Library/Fonts", Path("/Library/Fonts"), Path("/System/Library/Fonts"))
    if sys.platform == "win32":
        return (Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts",)
    return (Path.home() / ".fonts", Path.home() / ".local/share/fonts", Path("/usr/share/fonts"))
