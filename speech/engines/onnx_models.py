"""The packaged ONNX models: verified, and loaded with onnxruntime on a CPU or a GPU."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speech.engines.installed import require
from speech.engines.protocols import ON_CPU
from speech.errors import EngineUnavailable, OutOfMemory

if TYPE_CHECKING:
    import onnxruntime

MODELS = Path(__file__).parent / "models"
SHA256 = {
    "segmentation-3.0": "f49ff7a175a3b5cbea8324d17288caebe0a3627b1ab08ccf3bdd70cecacbb0b8",
    "campplus": "88759e10ab385a35c623ccb5fb29f4222ff7bd9f750eb5d258e9602279482818",
    "campplus_graph": "6c0e447b9bfd9d9fb8f2365cf0da43bbbf563053fc43cab4887484c5df649e42",
}
"""The first two identify the models in fingerprints."""
_FASTER = {"campplus": "campplus_graph"}
"""Graphs that are loaded instead: the same function of the same weights, which they read from the model's file."""
_NO_MEMORY = ("Failed to allocate memory", "is smaller than requested bytes")
"""What onnxruntime says when the device is full, and when its own limit is reached."""


def session(name: str, device: str) -> onnxruntime.InferenceSession:
    """A model of `SHA256` on `cpu` or `cuda:0`, one thread a call. Raises `EngineUnavailable`.

    Calls from several threads run in parallel: for these small models that costs less than threads within a call.
    """
    if device == ON_CPU.name:
        require("embedded", "onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = verified(name)
    if name in _FASTER:
        path = verified(_FASTER[name])
    return onnxruntime.InferenceSession(str(path), options, providers=_providers(device))


def run(session: onnxruntime.InferenceSession, inputs: np.ndarray) -> np.ndarray:
    """The model's output for a batch, in halves where the device's memory does not suffice. Raises `OutOfMemory`."""
    (named,) = session.get_inputs()
    try:
        (output,) = session.run(None, {named.name: inputs})
    except Exception as error:
        if not any(text in str(error) for text in _NO_MEMORY):
            raise
        if len(inputs) == 1:
            raise OutOfMemory(
                "onnxruntime could not allocate the memory for one window: other programs use the device."
            ) from None
    else:
        return np.asarray(output)
    middle = len(inputs) // 2
    return np.concatenate([run(session, inputs[:middle]), run(session, inputs[middle:])])


@cache
def verified(name: str) -> Path:
    """The model's file. Raises `EngineUnavailable` unless it has the expected SHA-256."""
    path = MODELS / f"{name}.onnx"
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise EngineUnavailable(f"{path} is missing. Install podlake again.") from None
    if found != SHA256[name]:
        raise EngineUnavailable(f"{path} has SHA-256 {found}, not {SHA256[name]}. Install podlake again.")
    return path


def _providers(device: str) -> list[str | tuple[str, dict[str, str]]]:
    import onnxruntime

    if device == ON_CPU.name:
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise EngineUnavailable(f"onnxruntime has no CUDA provider for {device}: pip install onnxruntime-gpu.")
    number = device.partition(":")[2] or "0"
    return [("CUDAExecutionProvider", {"device_id": number}), "CPUExecutionProvider"]
