"""The acoustic fingerprint Chromaprint, through the C interface of libchromaprint (Debian: `libchromaprint1`).

pyacoustid is not used: it needs the same system library.
"""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np

from speech.types import SAMPLE_RATE_HZ

LIBRARY = "libchromaprint.so.1"
FINGERPRINTED_S = 300
"""From the start: past the usual advertisements, so that two fetches of one episode still have much in common."""
ALGORITHM = 1
"""CHROMAPRINT_ALGORITHM_TEST2, the default of every release since 2011; what AcoustID holds."""
_FED_AT_ONCE = 60 * SAMPLE_RATE_HZ


def fingerprint(samples: np.ndarray) -> tuple[str | None, str | None]:
    """(compressed base64 fingerprint, None) or (None, why there is none). int16 at 16 kHz, shape (n,)."""
    library = _library()
    if library is None:
        return None, f"{LIBRARY} is not installed (Debian: libchromaprint1)"
    context = library.chromaprint_new(ALGORITHM)
    try:
        return _computed(library, context, samples[: FINGERPRINTED_S * SAMPLE_RATE_HZ])
    finally:
        library.chromaprint_free(context)


def _computed(library: ctypes.CDLL, context: int, samples: np.ndarray) -> tuple[str | None, str | None]:
    library.chromaprint_start(context, SAMPLE_RATE_HZ, 1)
    for start in range(0, len(samples), _FED_AT_ONCE):
        block = np.ascontiguousarray(samples[start : start + _FED_AT_ONCE], np.int16)
        library.chromaprint_feed(context, block.ctypes.data, len(block))
    library.chromaprint_finish(context)
    n_items = ctypes.c_int(0)
    if not library.chromaprint_get_raw_fingerprint_size(context, ctypes.byref(n_items)) or n_items.value == 0:
        return None, "shorter than the 2.6 s that a fingerprint needs"
    text = ctypes.c_void_p()
    if not library.chromaprint_get_fingerprint(context, ctypes.byref(text)) or text.value is None:
        return None, "libchromaprint made no fingerprint"
    try:
        return ctypes.string_at(text.value).decode("ascii"), None
    finally:
        library.chromaprint_dealloc(text)


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    library.chromaprint_new.restype = ctypes.c_void_p
    library.chromaprint_free.argtypes = [ctypes.c_void_p]
    library.chromaprint_start.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    library.chromaprint_feed.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    library.chromaprint_finish.argtypes = [ctypes.c_void_p]
    library.chromaprint_get_raw_fingerprint_size.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
    library.chromaprint_get_fingerprint.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]
    library.chromaprint_dealloc.argtypes = [ctypes.c_void_p]
    return library
