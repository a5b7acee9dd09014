"""Shared code of the torch engines: device, peak memory, and errors when memory does not suffice.

Devices are named as torch names them: `cpu`, `cuda:0`. No function imports torch for the CPU.
"""

from __future__ import annotations

import gc
import sys

from speech.engines.protocols import ON_CPU, DeviceUse


def device_use(device: str) -> DeviceUse:
    """The device and its peak memory since `forget_peak`."""
    if device == ON_CPU.name:
        return ON_CPU
    import torch

    peak_mb = torch.cuda.max_memory_allocated(device) / 2**20
    return DeviceUse(f"{device} {torch.cuda.get_device_name(device)}", peak_mb)


def forget_peak(device: str) -> None:
    """Reset the peak that `device_use` reports."""
    if device != ON_CPU.name:
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device's memory did not suffice. CUDA reports it in several ways."""
    return type(error).__name__ == "OutOfMemoryError" or "ALLOC_FAILED" in str(error)


def release_memory() -> None:
    """Give freed tensors back to the device."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
