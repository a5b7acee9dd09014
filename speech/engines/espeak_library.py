"""The library of espeak-ng, which `espeakng-loader` brings along: phonemes of a text, and its own voices.

The library has one state for the whole process, so that only one thread uses it at a time. Parts of the state, such as
the flutter of a voice, go on from text to text and cannot be reset: for the same samples of the same text, the library is
loaded anew before it speaks, which takes 6 ms.
"""

from __future__ import annotations

import _ctypes
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

import numpy as np

from speech.engines.installed import require
from speech.engines.line_synthesizer import Sound
from speech.errors import EngineUnavailable

PACKAGE = "espeakng-loader"
_USING = Lock()
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_UTF8 = 1
_IPA = 0x02
_RATE, _PITCH = 1, 3
_SEED = 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def ipa(text: str, voice: str) -> str:
    """The phonemes of a clause in the International Phonetic Alphabet, without its punctuation."""
    with _library(voice) as (library, _):
        rest, found = ctypes.c_char_p(text.encode()), []
        while rest.value is not None:
            phonemes = library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA)
            found.append((phonemes or b"").decode())
        return " ".join(part for part in found if part)


def speak(text: str, voice: str, *, words_per_minute: int, pitch: int) -> Sound:
    """The text in one of espeak-ng's voices, such as `en-gb+f2`."""
    with _library(voice, is_new=True) as (library, rate_hz):
        library.espeak_SetParameter(_RATE, words_per_minute, 0)
        library.espeak_SetParameter(_PITCH, pitch, 0)
        blocks: list[np.ndarray] = []

        def collect(samples: ctypes._Pointer[ctypes.c_short], count: int, _: object) -> int:
            if samples and count:
                blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
            return 0

        callback = _CALLBACK(collect)
        library.espeak_SetSynthCallback(callback)
        data = text.encode()
        library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))  # the breath of some voices is noise
        ctypes.CDLL(None).srand(_SEED)
        library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
        library.espeak_Synchronize()
        return Sound(np.concatenate(blocks) if blocks else np.zeros(0, np.int16), rate_hz)


@cache
def languages() -> frozenset[str] | None:
    """The names of all languages and dialects that it speaks; None if it is not installed. The library is not loaded."""
    package = find_spec("espeakng_loader")
    folders = package.submodule_search_locations if package else None
    if not folders:
        return None
    files = [path for path in Path(folders[0], "espeak-ng-data", "lang").rglob("*") if path.is_file()]
    return frozenset(
        line.split()[1].lower()
        for path in files
        for line in path.read_text("utf-8", "replace").splitlines()
        if line.startswith("language ")
    )


@contextmanager
def _library(voice: str, *, is_new: bool = False) -> Iterator[tuple[ctypes.CDLL, int]]:
    """The library with this voice, and its sample rate, for this thread alone. Raises `EngineUnavailable`."""
    with _USING:
        if is_new and _loaded.cache_info().currsize:
            library, _ = _loaded()
            library.espeak_Terminate()
            _ctypes.dlclose(library._handle)
            _loaded.cache_clear()
        library, rate_hz = _loaded()
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise EngineUnavailable(
                f"espeak-ng has no voice {voice!r}. Use a language such as en-us or de, and a variant such as f2: "
                "PODLAKE_VOICES=S1=espeak:en-us?variant=f2."
            )
        yield library, rate_hz


@cache
def _loaded() -> tuple[ctypes.CDLL, int]:
    require("studio", PACKAGE)
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
        ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    data = str(espeakng_loader.get_data_path()).encode()
    rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, data, _DONT_EXIT)
    if rate_hz <= 0:
        raise EngineUnavailable(f"espeak-ng cannot read its data in {data.decode()}. Install {PACKAGE} again.")
    return library, rate_hz
