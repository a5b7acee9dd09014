"""Recordings of the speakers of a lesson, for voices that are cloned from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from speech.engines.line_synthesizer import Sound, write_wav
from speech.errors import BadLesson
from speech.sound_files import read_blocks
from speech.types import Span

RATE_HZ = 24_000
LONGEST_MS = 15_000
LEAST_MS = 3_000
"""Shorter recordings do not tell how a voice sounds."""


def best_references(spans: Mapping[int, tuple[str, Span]], wanted: Mapping[int, str]) -> dict[int, Span]:
    """Sentence → the part of the lesson that its voice is cloned from, for each sentence in `wanted`.

    `spans`: sentence → speaker and time. With the mode `segment` that is the sentence itself, if it is long enough;
    else, and with `one`, the longest sentence of the speaker. Raises `BadLesson` where there is none of 3 s.
    """
    longest: dict[str, Span] = {}
    for speaker, span in spans.values():
        if speaker not in longest or span.duration_ms > longest[speaker].duration_ms:
            longest[speaker] = span
    chosen = {}
    for index, mode in wanted.items():
        speaker, own = spans[index]
        span = own if mode == "segment" and own.duration_ms >= LEAST_MS else longest[speaker]
        if span.duration_ms < LEAST_MS:
            raise BadLesson(
                f"{speaker} says no sentence of {LEAST_MS / 1000:g} s that a voice could be cloned from. Give it a voice "
                f"with a reference: PODLAKE_VOICES={speaker}=chatterbox:URL?clone=one&reference=FILE."
            )
        chosen[index] = Span(span.start_ms, min(span.end_ms, span.start_ms + LONGEST_MS))
    return chosen


def write_reference(source: Path, spans: Collection[Span], folder: Path) -> dict[Span, Path]:
    """Cut the spans out of a recording as WAV files of mono int16 at 24 kHz, in one pass."""
    ordered = sorted(spans, key=lambda span: span.start_ms)
    parts: dict[Span, list[np.ndarray]] = {span: [] for span in ordered}
    at = 0
    for block in read_blocks(source, rate_hz=RATE_HZ, channels=1):
        end = at + block.shape[1]
        for span in ordered:
            first, last = (ms * RATE_HZ // 1000 for ms in (span.start_ms, span.end_ms))
            if first < end and last > at:
                parts[span].append(block[0, max(0, first - at) : last - at])
        at = end
    paths = {}
    for span in ordered:
        path = folder / f"{span.start_ms}-{span.end_ms}.wav"
        samples = np.concatenate(parts[span]) if parts[span] else np.zeros(0, np.float32)
        write_wav(path, Sound(np.round(np.clip(samples, -1, 1) * 32_767).astype(np.int16), RATE_HZ))
        paths[span] = path.absolute()
    return paths
