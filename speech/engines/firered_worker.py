"""The process in which FireRedASR runs: it is asked for chunks and answers with texts, a JSON line each.

    python -m speech.engines.firered_worker FOLDER PACKAGE DEVICE

First it says `{"ready": true}` or `{"unavailable": why}`. Then every line in, `{"waveform": path,
"chunks": [[start_ms, end_ms], …]}`, is answered by `{"chunks": [{"text", "tokens", "confidence"}, …]}`,
`{"out_of_memory": why}` or `{"error": why}`. It ends with its input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speech.types import SAMPLE_RATE_HZ, Recording

Recognise = Callable[[Sequence[np.ndarray]], list[dict[str, Any]]]
"""int16 chunks → `text`; `tokens`, (text, start_s, end_s) each, or None; `confidence` of the chunk, or None."""

DECODING = {"beam_size": 3, "nbest": 1, "decode_max_len": 0, "softmax_smoothing": 1.25}
"""What the model's authors recommend."""
LENGTH_PENALTY = 0.6
EOS_PENALTY = 1.0


def main(folder: str, package: str, device: str) -> None:
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as replies:
        os.dup2(2, 1)  # whatever a library prints is no answer

        def reply(message: dict[str, Any]) -> None:
            replies.write(json.dumps(message, ensure_ascii=False) + "\n")
            replies.flush()

        try:
            recognise = LOADERS[package](Path(folder), device)
        except Exception as error:  # noqa: BLE001 – whatever it is, the engine says it
            reply({"unavailable": f"{type(error).__name__}: {error}"})
            return
        reply({"ready": True})
        for line in sys.stdin:
            reply(_answer(recognise, json.loads(line)))


def _answer(recognise: Recognise, request: dict[str, Any]) -> dict[str, Any]:
    try:
        samples = Recording("", "", Path(request["waveform"])).samples()
        per_ms = SAMPLE_RATE_HZ // 1000
        chunks = [np.array(samples[start * per_ms : end * per_ms]) for start, end in request["chunks"]]
        return {"chunks": recognise(chunks)}
    except Exception as error:  # noqa: BLE001 – the next recording is not to suffer
        kind = "out_of_memory" if type(error).__name__ == "OutOfMemoryError" else "error"
        return {kind: f"{type(error).__name__}: {error}"}


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
    def recognise(chunks: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        mels = [torch.from_numpy(features.cmvn(features.fbank((SAMPLE_RATE_HZ, chunk)))).float() for chunk in chunks]
        lengths = torch.tensor([mel.size(0) for mel in mels]).to(device)
        batch = features.pad_feat(mels, 0.0).to(device)
        found = model.transcribe(batch, lengths, *DECODING.values(), LENGTH_PENALTY, EOS_PENALTY)
        texts = [tokenizer.detokenize([int(token) for token in best["yseq"].cpu()]) for best, *_ in found]
        return [{"text": text, "tokens": None, "confidence": None} for text in texts]

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

    def recognise(chunks: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        names = [str(i) for i in range(len(chunks))]
        found = {result["uttid"]: result for result in model.transcribe(names, [(SAMPLE_RATE_HZ, c) for c in chunks])}
        results = [found.get(name, {}) for name in names]  # it leaves out chunks in which it hears nothing
        return [
            {"text": r.get("text", ""), "tokens": r.get("timestamp"), "confidence": r.get("confidence")}
            for r in results
        ]

    return recognise


LOADERS: dict[str, Callable[[Path, str], Recognise]] = {"fireredasr": _load_aed, "fireredasr2s": _load_aed2}
"""Package → how a model of it is loaded."""


if __name__ == "__main__":
    main(*sys.argv[1:])
