"""Language identification by a multilingual Whisper: from a few windows, before the transcription."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from speech.engines.whisper_decoding import encoded
from speech.types import Span, SpokenLanguage

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

WINDOWS = 5
LEAST_PROBABLE = 0.05
"""A language with less mean probability, and in no window the likeliest, is not listed."""
_ISO_TAGS = {"jw": "jv", "yue": "zh"}
"""Tag of Whisper → ISO 639 tag, where they differ."""


def spread_evenly(chunks: Sequence[Span]) -> list[Span]:
    """At most `WINDOWS` of the chunks, from the beginning, the middle and the end."""
    return [chunks[i] for i in np.unique(np.linspace(0, len(chunks) - 1, WINDOWS).round().astype(int))]


def spoken_languages(model: WhisperModel, windows: Sequence[np.ndarray]) -> tuple[SpokenLanguage, ...]:
    """The languages of windows (int16, 16 kHz, at most 30 s each), the likeliest first."""
    probabilities: dict[str, list[float]] = {}
    likeliest: list[str] = []
    for window in windows:  # one at a time: what fits for decoding fits here
        (found,) = model.model.detect_language(encoded(model, [window])[0])
        by_tag: dict[str, float] = {}
        for token, probability in found:
            tag = token.strip("<|>")
            tag = _ISO_TAGS.get(tag, tag)
            by_tag[tag] = by_tag.get(tag, 0.0) + probability
        likeliest.append(max(by_tag, key=by_tag.__getitem__))
        for tag, probability in by_tag.items():
            probabilities.setdefault(tag, []).append(probability)
    languages = [
        SpokenLanguage(tag, round(sum(each) / len(windows), 4), round(likeliest.count(tag) / len(windows), 4))
        for tag, each in probabilities.items()
    ]
    listed = [one for one in languages if one.probability >= LEAST_PROBABLE or one.share_of_windows]
    return tuple(sorted(listed, key=lambda one: (-one.probability, one.language)))
