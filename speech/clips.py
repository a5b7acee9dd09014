"""Encodes a stretch of a waveform as a file of its own: FLAC, WAV or Opus. The same samples give the same bytes."""

from __future__ import annotations

import io

import numpy as np

from speech.errors import StorageError
from speech.types import SAMPLE_RATE_HZ

CODECS = ("flac", "opus", "wav")
"""Also the suffixes of the files."""
OPUS_BIT_RATE = 32_000
SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000
MOST_MISSING_MS = 1_000


def cut(waveform: np.ndarray, start_ms: int, end_ms: int) -> np.ndarray:
    """Exactly the samples of `[start_ms, end_ms)`. Words may end a little after the waveform: silence fills that.

    Raises StorageError if more than a second is missing.
    """
    samples = waveform[start_ms * SAMPLES_PER_MS : end_ms * SAMPLES_PER_MS]
    missing = (end_ms - start_ms) * SAMPLES_PER_MS - len(samples)
    if missing > MOST_MISSING_MS * SAMPLES_PER_MS:
        raise StorageError(
            f"The audio ends {missing // SAMPLES_PER_MS} ms before the utterance at {start_ms} ms does: its rows were "
            "made from other audio. Materialize `utterances` of the episode again."
        )
    return np.pad(samples, (0, missing)) if missing else samples


def encode(samples: np.ndarray, codec: str) -> bytes:
    """16 kHz mono int16 samples as a file. FLAC and WAV are lossless; Opus keeps the number of samples."""
    return _opus(samples) if codec == "opus" else _lossless(samples, codec)


def _lossless(samples: np.ndarray, codec: str) -> bytes:
    import soundfile

    written = io.BytesIO()
    soundfile.write(written, samples, SAMPLE_RATE_HZ, format=codec.upper(), subtype="PCM_16")
    return written.getvalue()


def _opus(samples: np.ndarray) -> bytes:
    """By FFmpeg, because libsndfile gives each Ogg stream a random number. `bitexact`: FFmpeg does not."""
    import av

    written = io.BytesIO()
    with av.open(written, "w", format="ogg", options={"fflags": "+bitexact"}) as target:
        stream = target.add_stream("libopus", rate=SAMPLE_RATE_HZ, layout="mono", bit_rate=OPUS_BIT_RATE)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None, :], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        frame.pts = 0
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return written.getvalue()
