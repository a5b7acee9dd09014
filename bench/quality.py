"""CPU time of the quality measures of an hour of audio, cut into utterances of six seconds.

python -m bench.quality [minutes]
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np

from speech.quality.utterance import measure
from speech.types import SAMPLE_RATE_HZ, Segment, Word
from speech.utterances import Utterance

BAR_CPU_S = 180.0
UTTERANCE_MS = 6_000
PAUSE_MS = 1_000
WORD_MS = 400
TEXT = ["so", "what", "did", "you", "think", "of", "the", "weather", "in", "the", "mountains", "last", "week"]


def main(minutes: float) -> None:
    samples = _speech(minutes * 60)
    utterances, words, segments = _script(len(samples) * 1000 // SAMPLE_RATE_HZ)
    list(
        measure(samples[: SAMPLE_RATE_HZ * 20], utterances[:2], words[:30], segments[:2], language="en")
    )  # loads models
    started, wall = time.process_time(), time.perf_counter()
    found = list(measure(samples, utterances, words, segments, language="en"))
    cpu_s = (time.process_time() - started) * 60 / minutes
    windows = sum(one.dnsmos_windows for one in found) * 60 / minutes
    print(f"load {os.getloadavg()[0]:.1f}; {len(found)} utterances in {minutes:g} minutes of audio")
    print(f"{cpu_s:.1f} CPU-s for an hour, {windows:.0f} DNSMOS windows; wall {time.perf_counter() - wall:.1f} s")
    print(f"cost ÷ bar: {cpu_s / BAR_CPU_S:.2f}")


def _speech(seconds: float) -> np.ndarray:
    """Noise in syllables, with pauses between utterances."""
    n = round(seconds * SAMPLE_RATE_HZ)
    clock_s = np.arange(n, dtype=np.float32) / SAMPLE_RATE_HZ
    is_spoken = clock_s * 1000 % (UTTERANCE_MS + PAUSE_MS) < UTTERANCE_MS
    noise = np.random.default_rng(1).normal(0, 3_000, n).astype(np.float32)
    level = (0.55 + 0.45 * np.sin(2 * np.pi * 4 * clock_s)) * is_spoken + 0.01
    return (noise * level).clip(-32_768, 32_767).astype(np.int16)


def _script(duration_ms: int) -> tuple[list[Utterance], list[Word], list[Segment]]:
    utterances: list[Utterance] = []
    words: list[Word] = []
    segments: list[Segment] = []
    for start_ms in range(0, duration_ms - UTTERANCE_MS, UTTERANCE_MS + PAUSE_MS):
        own = [
            Word(TEXT[i % len(TEXT)], start_ms + i * WORD_MS, start_ms + (i + 1) * WORD_MS, 0.9)
            for i in range(UTTERANCE_MS // WORD_MS)
        ]
        text = " ".join(word.text for word in own)
        end_ms, index = start_ms + UTTERANCE_MS, len(utterances)
        utterances.append(Utterance(index, "S1", index, start_ms, end_ms, text, len(words), len(own)))
        words += own
        segments.append(Segment("S1", start_ms, end_ms))
    return utterances, words, segments


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60)
