"""The packaged models: their files, and their outputs beside those of the torch models they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speech.engines import onnx_models
from speech.engines.onnx_models import run, session, verified
from speech.errors import EngineUnavailable, OutOfMemory

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


@pytest.mark.parametrize("frames", [30, 50, 150, 199, 200, 201, 450])
def test_the_faster_graph_computes_what_the_exported_one_does(frames: int) -> None:
    """Also where a window has several segments of 100 halved frames, the last of which may be short."""
    import onnxruntime

    exported = onnxruntime.InferenceSession(str(verified("campplus")), providers=["CPUExecutionProvider"])
    fbank = np.random.default_rng(frames).normal(0, 3, (2, frames, 80)).astype(np.float32)
    (expected,) = exported.run(None, {"fbank": fbank})
    np.testing.assert_allclose(run(session("campplus", "cpu"), fbank), expected, atol=1e-4)


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


class SmallDevice:
    """onnxruntime on a device whose memory suffices for so many windows at once."""

    def __init__(self, windows: int) -> None:
        self._session = session("campplus", "cpu")
        self._windows = windows
        self.batches: list[int] = []

    def get_inputs(self) -> list[object]:
        return self._session.get_inputs()

    def run(self, names: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        (batch,) = inputs.values()
        self.batches.append(len(batch))
        if len(batch) > self._windows:
            raise RuntimeError("BFCArena: Failed to allocate memory for requested buffer of size 4096")
        return self._session.run(names, inputs)


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    fbank = np.random.default_rng(3).normal(0, 3, (5, 50, 80)).astype(np.float32)
    small = SmallDevice(windows=2)
    np.testing.assert_allclose(run(small, fbank), run(session("campplus", "cpu"), fbank), atol=1e-5)
    assert small.batches == [5, 2, 3, 1, 2]


def test_one_window_that_does_not_fit_is_an_error_of_the_episode() -> None:
    with pytest.raises(OutOfMemory, match="one window"):
        run(SmallDevice(windows=0), np.zeros((2, 50, 80), np.float32))
