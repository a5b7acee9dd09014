"""The two generations of FireRedASR's own package, behind one function: chunks of samples in, texts out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech.types import SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Recognised:
    """The text of a chunk."""

    text: str
    tokens: Sequence[tuple[str, float, float]] | None = None
    """Text, start and end in seconds within the chunk; None if the model gives no times."""
    confidence: float | None = None
    """Of the whole chunk; None if the model gives none."""


Recognise = Callable[[Sequence[np.ndarray]], list[Recognised]]
"""Chunks (int16, 16 kHz, shape (n,)) → the text of each."""

DECODING = {"beam_size": 3, "nbest": 1, "decode_max_len": 0, "softmax_smoothing": 1.25}
"""What the model's authors recommend."""
LENGTH_PENALTY = 0.6
EOS_PENALTY = 1.0


def _load_aed(folder: Path, device: str) -> Recognise:
    """FireRedASR-AED-L from its folder. Its own loader downloads by itself and fails on torch 2.6 and later."""
    import torch
    from fireredasr.data.asr_feat import ASRFeatExtractor
    from fireredasr.models.fireredasr_aed import FireRedAsrAed
    from fireredasr.tokenizer.aed_tokenizer import ChineseCharEnglishSpmTokenizer

    with torch.serialization.safe_globals([argparse.Namespace]):  # the only class a checkpoint needs to name
        checkpoint = torch.load(folder / "model.pth.tar", map_location="cpu", weights_only=True)
    model = FireRedAsrAed.from_args(checkpoint["args"])
    model.load_state_dict(checkpoint["model_state_dict"], strict=True)
    model = model.to(device).eval()
    features = ASRFeatExtractor(str(folder / "cmvn.ark"))
    tokenizer = ChineseCharEnglishSpmTokenizer(str(folder / "dict.txt"), str(folder / "train_bpe1000.model"))

    @torch.inference_mode()
    def recognise(chunks: Sequence[np.ndarray]) -> list[Recognised]:
        mels = [torch.from_numpy(features.cmvn(features.fbank((SAMPLE_RATE_HZ, chunk)))).float() for chunk in chunks]
        lengths = torch.tensor([mel.size(0) for mel in mels]).to(device)
        batch = features.pad_feat(mels, 0.0).to(device)
        found = model.transcribe(batch, lengths, *DECODING.values(), LENGTH_PENALTY, EOS_PENALTY)
        return [Recognised(tokenizer.detokenize([int(token) for token in best["yseq"].cpu()])) for best, *_ in found]

    return recognise


def _load_aed2(folder: Path, device: str) -> Recognise:
    """FireRedASR2-AED, which also gives times of tokens and a confidence per chunk."""
    import torch
    from fireredasr2s.fireredasr2 import FireRedAsr2, FireRedAsr2Config

    if device != "cpu":
        torch.cuda.set_device(device)
    config = FireRedAsr2Config(
        use_gpu=device != "cpu",
        aed_length_penalty=LENGTH_PENALTY,
        eos_penalty=EOS_PENALTY,
        return_timestamp=True,
        **DECODING,
    )
    model = FireRedAsr2.from_pretrained("aed", str(folder), config)

    def recognise(chunks: Sequence[np.ndarray]) -> list[Recognised]:
        names = [str(i) for i in range(len(chunks))]
        found = {result["uttid"]: result for result in model.transcribe(names, [(SAMPLE_RATE_HZ, c) for c in chunks])}
        results = [found.get(name, {}) for name in names]  # it leaves out chunks without a word
        return [Recognised(r.get("text", ""), r.get("timestamp"), r.get("confidence")) for r in results]

    return recognise


LOADERS: dict[str, Callable[[Path, str], Recognise]] = {"fireredasr2s": _load_aed2, "fireredasr": _load_aed}
"""Package → how a model of it is loaded; the first that is installed is taken."""
