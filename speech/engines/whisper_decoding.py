"""Whisper on chunks of speech: texts, word times from cross-attention, and what is dropped as invented.

Whisper's known failures are handled here: text in noise, loops, and words after the end of the chunk.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ctranslate2 import StorageView
    from ctranslate2.models import WhisperGenerationResult
    from faster_whisper import WhisperModel

BEAM_SIZE = 5
FRAME_MS = 10
WINDOW_FRAMES = 3000
"""The model always sees 30 s: a shorter chunk is padded."""
MIN_WORD_MS = 20
"""The resolution of the word times."""

LOOP_COMPRESSION = 2.4
"""Text that zlib compresses further than this repeats itself (the threshold of Whisper's authors)."""
LOOP_TIMES = 4
"""So many repetitions in succession are a loop, if they are at least `LOOP_WORDS` words together."""
LOOP_WORDS = 8
NO_SPEECH = 0.6
UNSURE_LOGPROB = -1.0
"""Beyond both, a text was invented (the thresholds of Whisper's authors)."""
UNSURE_PROBABILITY = 0.1
"""Below this mean probability of its words, a text was invented, whatever the model says of speech."""
PREPENDED = "\"'“¿([{-"
APPENDED = "\"'.。,，!！?？:：”)]}、%"


@dataclass(frozen=True, slots=True)
class DecodedWord:
    """A word in milliseconds from the start of its chunk."""

    text: str
    start_ms: int
    end_ms: int
    probability: float


@dataclass(frozen=True, slots=True)
class DecodedChunk:
    """What the model made of a chunk."""

    words: list[DecodedWord]
    dropped_words: int = 0
    """Words that were not kept: invented in noise, or after the end of the chunk."""
    is_loop: bool = False
    """The text repeats itself: the chunk is worth another try in shorter pieces."""


def decode_chunks(model: WhisperModel, chunks: Sequence[np.ndarray], language: str) -> list[DecodedChunk]:
    """Decode chunks (int16, 16 kHz, at most 30 s each) in one batch."""
    from faster_whisper.tokenizer import Tokenizer
    from faster_whisper.transcribe import get_suppressed_tokens

    tokenizer = Tokenizer(model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language=language)
    features, frame_counts = encoded(model, chunks)
    results = model.model.generate(
        features,
        [model.get_prompt(tokenizer, [], without_timestamps=True)] * len(chunks),
        beam_size=BEAM_SIZE,
        max_length=model.max_length,
        suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
        return_scores=True,
        return_no_speech_prob=True,
    )
    tokens = [[token for token in result.sequences_ids[0] if token < tokenizer.eot] for result in results]
    aligned = model.find_alignment(tokenizer, tokens, features, frame_counts)
    return [
        _decoded_chunk(result, words, frames * FRAME_MS)
        for result, words, frames in zip(results, aligned, frame_counts, strict=True)
    ]


def encoded(model: WhisperModel, chunks: Sequence[np.ndarray]) -> tuple[StorageView, list[int]]:
    """What the encoder makes of chunks, and how many frames of each are audio."""
    features = [_features(model, chunk) for chunk in chunks]
    return model.encode(np.stack([padded for padded, _ in features])), [frames for _, frames in features]


def without_loops(words: Sequence[DecodedWord]) -> list[DecodedWord]:
    """The words with every loop reduced to its first turn."""
    texts = [word.text.strip(APPENDED + PREPENDED).casefold() for word in words]
    kept: list[DecodedWord] = []
    at = 0
    while at < len(words):
        length, times = _loop_at(texts, at)
        kept += words[at : at + length]
        at += length * times
    return kept


def _loop_at(texts: Sequence[str], at: int) -> tuple[int, int]:
    """Length of the phrase that is repeated from here, and how often; (1, 1) where there is no loop."""
    for length in range(1, (len(texts) - at) // LOOP_TIMES + 1):
        phrase = texts[at : at + length]
        times = 1
        while texts[at + times * length : at + (times + 1) * length] == phrase:
            times += 1
        if times >= LOOP_TIMES and times * length >= LOOP_WORDS:
            return length, times
    return 1, 1


def _features(model: WhisperModel, chunk: np.ndarray) -> tuple[np.ndarray, int]:
    """Log-mel features padded to the model's window, and how many frames of them are audio."""
    features = model.feature_extractor(chunk.astype(np.float32) / 32768, padding=0)[:, :WINDOW_FRAMES]
    frames = features.shape[1]
    return np.pad(features, ((0, 0), (0, WINDOW_FRAMES - frames))), frames


def _decoded_chunk(result: WhisperGenerationResult, aligned: list[dict[str, Any]], end_ms: int) -> DecodedChunk:
    from faster_whisper.transcribe import merge_punctuations

    merge_punctuations(aligned, PREPENDED, APPENDED)
    words = [_word(timing) for timing in aligned if timing["word"].strip()]
    logprob = result.scores[0]  # the mean over the tokens: the length penalty is 1
    unsure = sum(word.probability for word in words) < UNSURE_PROBABILITY * len(words)
    if unsure or (result.no_speech_prob > NO_SPEECH and logprob < UNSURE_LOGPROB):
        return DecodedChunk([], len(words))
    inside = [word for word in words if word.start_ms + MIN_WORD_MS <= end_ms]
    text = "".join(word.text for word in words).encode()
    is_loop = len(text) > LOOP_COMPRESSION * len(zlib.compress(text)) or len(without_loops(words)) < len(words)
    return DecodedChunk(inside, len(words) - len(inside), is_loop)


def _word(timing: dict[str, Any]) -> DecodedWord:
    start_ms, end_ms = round(timing["start"] * 1000), round(timing["end"] * 1000)
    return DecodedWord(
        timing["word"].strip(), start_ms, max(end_ms, start_ms + MIN_WORD_MS), round(float(timing["probability"]), 4)
    )
