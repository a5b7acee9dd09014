"""The samples of a recording, or an error of this recording only."""

from __future__ import annotations

import struct

import numpy as np

from speech.errors import StorageError
from speech.types import Recording


def samples_of(recording: Recording) -> np.ndarray:
    """int16, 16 kHz, shape (n,), memory-mapped. Raises `StorageError` where the waveform cannot be read."""
    try:
        return recording.samples()
    except (OSError, ValueError, EOFError, struct.error) as error:
        raise StorageError(
            f"The decoded waveform of {recording.episode_id} cannot be read: {error}. "
            "It is a cache that is made again when missing: run the episode again."
        ) from error
