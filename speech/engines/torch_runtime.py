"""What the engines that run on torch share: which device, how much of its memory, and what when that is not enough.

Devices are named as torch names them: `cpu`, `cuda:0`. Nothing here imports torch into a process that has not.
"""

from __future__ import annotations

import gc
import sys

from speech.engines.protocols import ON_CPU, DeviceUse


def device_use(device: str) -> DeviceUse:
    """Since `forget_peak`."""
    if device == ON_CPU.name:
        return ON_CPU
    import torch

    peak_mb = torch.cuda.max_memory_allocated(device) / 2**20
    return DeviceUse(f"{device} {torch.cuda.get_device_name(device)}", peak_mb)


def forget_peak(device: str) -> None:
    """What `device_use` says from now on is about what comes, not about what was."""
    if device != ON_CPU.name:
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device's memory did not suffice: CUDA says so in more than one way."""
    return type(error).__name__ == "OutOfMemoryError" or "ALLOC_FAILED" in str(error)


def release_memory() -> None:
    """Give freed tensors back to the device."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
