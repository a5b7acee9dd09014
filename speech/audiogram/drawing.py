"""Draws the parts of an audiogram as pictures: the ground that stays, and the captions of a moment."""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache

from PIL import Image, ImageDraw, ImageOps

from speech.audiogram.captions import Page, is_rtl
from speech.audiogram.card import PALETTE, Card, Layout
from speech.audiogram.fonts import Font, font_for, shapes_text

INK, FAINT, WAITING, TRACK = "#f4f6fb", "#a9b4c8", "#7d8aa3", "#33405a"
TOP, BOTTOM = (24, 31, 48), (12, 16, 27)
"""The ground, from its upper to its lower end."""
MOST_COVER_PIXELS = 50_000_000
_COVERS = ("JPEG", "PNG", "WEBP", "GIF")


def ground(card: Card, layout: Layout) -> Image.Image:
    """What no moment changes: the ground, the cover, the titles and the track of the progress."""
    image = _gradient(layout.width, layout.height).copy()
    draw = ImageDraw.Draw(image)
    side = layout.cover.width
    cover = cover_image(card, side)
    mask = Image.new("L", (side * 2, side * 2))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, side * 2 - 1, side * 2 - 1), side // 12, 255)
    image.paste(cover, (layout.cover.left, layout.cover.top), mask.resize((side, side)))
    _draw_titles(draw, card, layout)
    track = layout.progress
    draw.rounded_rectangle((track.left, track.top, track.right - 1, track.bottom - 1), track.height // 2, TRACK)
    return image


def cover_image(card: Card, side: int) -> Image.Image:
    """The cover as a square; a drawn one where there is none, or none that can be read."""
    found = read_cover(card.cover, side) if card.cover else None
    return found or _drawn_cover(card.show or card.title, side)


def read_cover(content: bytes, side: int) -> Image.Image | None:
    """The picture as an upright square; None if it cannot be read, or is too large."""
    try:
        found = Image.open(io.BytesIO(content), formats=_COVERS)
        if found.width * found.height > MOST_COVER_PIXELS:
            return None
        found.draft("RGB", (side, side))
        return ImageOps.fit(ImageOps.exif_transpose(found).convert("RGB"), (side, side))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def caption_image(page: Page | None, spoken: int, layout: Layout) -> Image.Image:
    """The captions with so many words spoken. They lie on the ground, whose colours they are drawn on."""
    box = layout.captions
    image = _gradient(layout.width, layout.height).crop((box.left, box.top, box.right, box.bottom))
    if page is None:
        return image
    draw = ImageDraw.Draw(image)
    name_px, text_px = name_size(layout), text_size(layout)
    if page.turn.speaker:
        name = _fitted(page.turn.speaker, name_px, box.width - 4 * layout.unit)
        rtl = bool(is_rtl(name))
        font = font_for(name, name_px)
        left = box.width - round(font.getlength(_readable(name))) - 4 * layout.unit if rtl else 0
        mark = box.width - 2 * layout.unit if rtl else 0
        draw.ellipse((mark, layout.unit, mark + 2 * layout.unit, 3 * layout.unit), page.turn.colour)
        draw.text(
            (left + (0 if rtl else 3 * layout.unit), 2 * layout.unit), _readable(name), page.turn.colour, font, "lm"
        )
    latest = _latest(page, spoken)
    top = name_px + 3 * layout.unit
    for number, line in enumerate(page.lines):
        middle = top + round((number + 0.5) * line_height(layout))
        for word in line.words:
            colour = WAITING if word.start_ms > latest else page.turn.colour if word.start_ms == latest else INK
            draw.text((word.left, middle), _readable(word.text), colour, font_for(word.text, text_px), "lm")
    return image


def measured(layout: Layout, text: str) -> int:
    """The width of a caption's text in pixels."""
    return round(font_for(text, text_size(layout)).getlength(_readable(text)))


def text_size(layout: Layout) -> int:
    """Of captions, in pixels: as large as the lines fit into their box."""
    return max(8, min(round(7 * layout.unit), round(line_height(layout) * 0.8)))


def name_size(layout: Layout) -> int:
    return max(8, round(4 * layout.unit))


def line_height(layout: Layout) -> float:
    return (layout.captions.height - name_size(layout) - 3 * layout.unit) / layout.lines


def clipped_to(width: int, text: str, font: Font) -> str:
    """The text, or its beginning with `…`, in at most `width` pixels."""
    if font.getlength(text) <= width:
        return text
    kept = text
    while kept and font.getlength(f"{kept}…") > width:
        kept = kept[:-1]
    return f"{kept.rstrip()}…"


def _latest(page: Page, spoken: int) -> int:
    """When the word began that is spoken now; -1 before the first one."""
    starts = sorted(word.start_ms for line in page.lines for word in line.words)
    return starts[spoken - 1] if spoken else -1


def _draw_titles(draw: ImageDraw.ImageDraw, card: Card, layout: Layout) -> None:
    box, centred = layout.title, layout.cover.top < layout.title.top
    size = max(9, round(5 * layout.unit))
    show_size = max(8, round(3.4 * layout.unit))
    lines = _wrapped(card.title, size, box.width, max(1, (box.height - round(show_size * 1.5)) // round(size * 1.2)))
    rtl = bool(is_rtl(card.title))
    at = box.left + box.width // 2 if centred else box.right if rtl else box.left
    anchor = "ma" if centred else "ra" if rtl else "la"
    top = box.top
    for line in lines:
        draw.text((at, top), _readable(line), INK, font_for(line, size), anchor)
        top += round(size * 1.2)
    show = _fitted(card.show, show_size, box.width, is_bold=False)
    draw.text((at, top + layout.unit), _readable(show), FAINT, font_for(show, show_size, is_bold=False), anchor)


def _wrapped(text: str, size: int, width: int, most: int) -> list[str]:
    """The title in lines, the last one cut off where they are too many."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font_for(longer, size).getlength(_readable(longer)) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return [_fitted(line, size, width) for line in lines]


def _fitted(text: str, size: int, width: int, *, is_bold: bool = True) -> str:
    return clipped_to(width, text, font_for(text, size, is_bold=is_bold))


def _readable(text: str) -> str:
    """Without Raqm, Pillow draws letters from left to right: then they are put into the order in which they appear."""
    return text[::-1] if not shapes_text() and is_rtl(text) else text


def _drawn_cover(name: str, side: int) -> Image.Image:
    """A cover with the first letters of the name, in colours that follow from it."""
    digest = hashlib.sha256(name.encode()).digest()
    first, second = PALETTE[digest[0] % len(PALETTE)], PALETTE[(digest[0] + 3 + digest[1] % 4) % len(PALETTE)]
    down = Image.linear_gradient("L")
    shade = Image.blend(down, down.transpose(Image.Transpose.ROTATE_90), 0.5).resize((side, side))
    image = Image.composite(Image.new("RGB", (side, side), first), Image.new("RGB", (side, side), second), shade)
    letters = "".join(word[0] for word in name.split()[:2]).upper() or "?"
    font = font_for(letters, max(8, side * 2 // 5))
    ImageDraw.Draw(image).text((side / 2, side / 2), _readable(letters), "#182033", font, "mm")
    return image


@lru_cache(maxsize=4)
def _gradient(width: int, height: int) -> Image.Image:
    shade = Image.linear_gradient("L").resize((width, height))
    return Image.composite(Image.new("RGB", (width, height), BOTTOM), Image.new("RGB", (width, height), TOP), shade)
