"""Decoding with Parakeet: settings, a batch of chunks to tokens, tokens to words.

NeMo's own word times and confidences are not used: they cost more than decoding does on long chunks,
and a text whose words its two ways of counting differ on takes the whole batch down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from speech.types import SAMPLE_RATE_HZ, Span, Word

MIN_SAMPLES = SAMPLE_RATE_HZ
"""Shorter chunks are padded with silence on the right, so that times do not change."""


@dataclass(frozen=True, slots=True)
class Token:
    """A decoded piece of a word: sentencepiece text (`▁` begins a word), times and confidence."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float


def set_decoding(model: Any, *, cuda_graphs: bool) -> None:
    """Greedy decoding of whole batches, with durations and a confidence per token. Once: it rebuilds the decoder."""
    from omegaconf import OmegaConf, open_dict

    config = OmegaConf.create(OmegaConf.to_container(model.cfg.decoding, resolve=True))
    changes = {
        "strategy": "greedy_batch",
        "tdt_include_token_duration": True,
        "greedy": {"use_cuda_graph_decoder": cuda_graphs},
        "confidence_cfg": {
            "preserve_frame_confidence": True,
            "exclude_blank": True,
            "method_cfg": {"name": "max_prob"},
        },
    }
    with open_dict(config):
        model.change_decoding_strategy(OmegaConf.merge(config, changes), verbose=False)


def decode(model: Any, chunks: Sequence[np.ndarray]) -> list[list[Token] | None]:
    """The tokens of every chunk, in order, timed from the chunk's start; None where they are NaN. One batch.

    `chunks`: int16, 16 kHz, shape (n,). bfloat16 on GPUs that have it, except in features and confidences.
    """
    import torch

    lengths = [max(len(chunk), MIN_SAMPLES) for chunk in chunks]
    signal = torch.zeros(len(chunks), max(lengths))
    for row, chunk in zip(signal, chunks, strict=True):
        row[: len(chunk)] = torch.from_numpy(chunk.astype(np.float32) / 32768)
    with torch.inference_mode(), _precision(model.device):
        encoded, frames = model.forward(
            input_signal=signal.to(model.device),
            input_signal_length=torch.tensor(lengths, device=model.device),
        )
        sound = torch.isfinite(encoded).all(dim=(1, 2)).tolist()
        (hypotheses,) = model.decoding.decoding(encoder_output=encoded, encoded_lengths=frames)
    frame_ms = 1000 * model.cfg.preprocessor.window_stride * model.encoder.subsampling_factor
    return [
        _tokens(model, hypothesis, frame_ms) if good else None
        for hypothesis, good in zip(hypotheses, sound, strict=True)
    ]


def _precision(device: Any) -> AbstractContextManager[Any]:
    import torch

    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def _tokens(model: Any, hypothesis: Any, frame_ms: float) -> list[Token] | None:
    """Plain values only: what a hypothesis holds would keep the device's memory."""
    starts, durations = hypothesis.timestamp.tolist(), hypothesis.token_duration.tolist()
    pieces = model.tokenizer.ids_to_tokens(hypothesis.y_sequence.tolist())
    confidences = [float(confidence) for confidence in hypothesis.non_blank_frame_confidence]
    if not all(map(math.isfinite, confidences)):
        return None
    return [
        Token(text, round(start * frame_ms), round((start + duration) * frame_ms), confidence)
        for text, start, duration, confidence in zip(pieces, starts, durations, confidences, strict=True)
    ]


def words_of(tokens: Sequence[Token], span: Span, chunk_idx: int) -> list[Word]:
    """Words on the episode's timeline, inside their chunk.

    A word begins where sentencepiece says so. Punctuation belongs to the word before, but is often
    emitted late: it moves no word's end. A word is as sure as its least sure token.
    """
    groups: list[list[Token]] = []
    for token in tokens:
        begins = token.text.startswith("▁") and not _is_punctuation(token)
        if begins and groups and groups[-1][-1].text == "▁":  # a mark on its own begins what follows it
            groups[-1].append(token)
        elif begins or not groups:
            groups.append([token])
        else:
            groups[-1].append(token)
    words = (_word(group, span, chunk_idx) for group in groups)
    return [word for word in words if word.text]


def _word(tokens: Sequence[Token], span: Span, chunk_idx: int) -> Word:
    spoken = [token for token in tokens if not _is_punctuation(token)] or tokens
    start_ms = min(span.start_ms + spoken[0].start_ms, span.end_ms)
    return Word(
        text="".join(token.text for token in tokens).replace("▁", ""),
        start_ms=start_ms,
        end_ms=min(span.start_ms + max(token.end_ms for token in spoken), span.end_ms),
        confidence=min(token.confidence for token in tokens),
        chunk_idx=chunk_idx,
    )


def _is_punctuation(token: Token) -> bool:
    text = token.text.strip("▁")
    return bool(text) and not any(character.isalnum() for character in text)
