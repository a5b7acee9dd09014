"""Makes speech faster without changing its pitch, by FFmpeg's `atempo`."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

SLOWEST, FASTEST = 0.5, 2.0
"""Where one filter works."""


def stretched(samples: np.ndarray, rate_hz: int, speed: float) -> np.ndarray:
    """Mono float32 samples in `1 / speed` of their time. At 1.0 they are as they were.

    The filter may give some milliseconds more or less.
    """
    if speed == 1.0 or len(samples) == 0:
        return samples
    if not SLOWEST <= speed <= FASTEST:
        raise ValueError(f"A speed of {speed} is not in {SLOWEST}–{FASTEST}.")
    import av
    from av.filter import Graph

    graph = Graph()
    source = graph.add_abuffer(format="flt", sample_rate=rate_hz, layout="mono", time_base=Fraction(1, rate_hz))
    tempo = graph.add("atempo", f"{speed:.6f}")
    sink = graph.add("abuffersink")
    source.link_to(tempo)
    tempo.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(samples.astype(np.float32).reshape(1, -1), format="flt", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
    graph.push(frame)
    graph.push(None)
    parts = []
    while True:
        try:
            parts.append(graph.pull().to_ndarray().reshape(-1))
        except (av.error.EOFError, av.error.BlockingIOError):
            break
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
