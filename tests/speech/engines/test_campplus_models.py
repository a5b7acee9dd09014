"""The packaged models: their files, and their outputs beside those of the torch models they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speech.engines import onnx_models
from speech.engines.onnx_models import session, verified
from speech.errors import EngineUnavailable

REFERENCE = Path(__file__).parent / "campplus_reference.npz"
"""Outputs of the torch models for the inputs below."""


def inputs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    samples = rng.normal(0, 0.1, (1, 1, 160_000)) * np.repeat(rng.random(100) > 0.4, 1_600)
    return samples.astype(np.float32), rng.normal(0, 3, (2, 150, 80)).astype(np.float32)


def test_the_outputs_are_those_of_the_torch_models() -> None:
    samples, fbank = inputs()
    with np.load(REFERENCE) as reference:
        (powerset,) = session("segmentation-3.0", "cpu").run(None, {"samples": samples})
        assert powerset.shape == (1, 589, 7)
        np.testing.assert_allclose(powerset[0, ::31], reference["powerset"], atol=1e-3)
        (embedding,) = session("campplus", "cpu").run(None, {"fbank": fbank})
        np.testing.assert_allclose(embedding, reference["embedding"], atol=1e-3)


def test_a_changed_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(onnx_models, "MODELS", tmp_path)
    verified.cache_clear()
    with pytest.raises(EngineUnavailable, match="missing"):
        verified("campplus")
    (tmp_path / "campplus.onnx").write_bytes(b"other weights")
    with pytest.raises(EngineUnavailable, match="SHA-256"):
        verified("campplus")


def test_a_gpu_needs_the_cuda_provider() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime has the CUDA provider")
    with pytest.raises(EngineUnavailable, match="onnxruntime-gpu"):
        session("campplus", "cuda:0")
