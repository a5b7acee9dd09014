"""Whether this machine can make an audiogram of a text: a voice speaks its language, and a font has its letters."""

from __future__ import annotations

import unicodedata

from resources.engines.voices import FIRST_SPEAKER, NoVoice, Voices
from resources.studio.video_ledger import AskedVideo, AudiogramRefused
from speech.audiogram.fonts import missing_characters

_CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO")
_SHOWN_LETTERS = 10


def check_audiogram(voices: Voices, asked: AskedVideo) -> None:
    """Raises `AudiogramRefused` with what to do. Signs without a font, such as emoji, are drawn as boxes."""
    try:
        voices.check_voice(FIRST_SPEAKER, asked.language)
    except NoVoice as error:
        raise AudiogramRefused(error.code, str(error)) from error
    missing = [char for char in missing_characters([asked.text, asked.title]) if unicodedata.category(char)[0] in "LN"]
    if missing:
        is_cjk = any(unicodedata.name(char, "").startswith(_CJK) for char in missing)
        raise AudiogramRefused(
            "no_font",
            f"No font of this machine has {' '.join(missing[:_SHOWN_LETTERS])}. Install one: "
            f"sudo apt-get install {'fonts-noto-cjk' if is_cjk else 'fonts-noto-core'}, then restart podlake.",
        )
