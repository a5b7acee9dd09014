"""DNSMOS P.835 by the package speechmos, on windows sampled within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from speech.types import SAMPLE_RATE_HZ, Span

WINDOW = int(9.01 * SAMPLE_RATE_HZ)
"""The length that the models take. Shorter speech is repeated, as the reference implementation does."""
ABSENT = "speechmos is not installed: pip install 'podlake[embedded]'"


@dataclass(frozen=True, slots=True)
class Mos:
    """Opinions from 1 to 5."""

    signal: float
    background: float
    overall: float
    windows: int


def is_installed() -> bool:
    return find_spec("speechmos") is not None and find_spec("librosa") is not None


def sampled(spans: Sequence[Span], budget: int) -> frozenset[int]:
    """The indices of the utterances to measure: at most `budget`, evenly over the recording."""
    if len(spans) <= budget:
        return frozenset(range(len(spans)))
    return frozenset(round((i + 0.5) * len(spans) / budget - 0.5) for i in range(budget))


def mos_of(samples: np.ndarray) -> Mos:
    """Scores of the middle 9.01 s. `samples`: int16, not empty."""
    from speechmos import dnsmos

    start = max(0, (len(samples) - WINDOW) // 2)
    window = np.resize(samples[start : start + WINDOW], WINDOW).astype(np.float32) / 32_768
    scores = dnsmos.run(window, SAMPLE_RATE_HZ)
    return Mos(float(scores["sig_mos"]), float(scores["bak_mos"]), float(scores["ovrl_mos"]), 1)
