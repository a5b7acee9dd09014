"""The GPUs of this machine, as nvidia-smi reports them; none where there is no nvidia-smi."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

_QUERY = "--query-gpu=index,name,memory.used,memory.total,utilization.gpu"
_TIMEOUT_S = 5
_MIB = 1 << 20


@dataclass(frozen=True)
class Gpu:
    """A device and its use now. None: the driver does not say."""

    index: int
    name: str
    used_bytes: int | None
    total_bytes: int | None
    utilization: float | None
    """Share of the last second in which it worked."""


def gpus() -> tuple[Gpu, ...]:
    if shutil.which("nvidia-smi") is None:
        return ()
    try:
        found = subprocess.run(
            ["nvidia-smi", _QUERY, "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=_TIMEOUT_S, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse(found.stdout)


def parse(text: str) -> tuple[Gpu, ...]:
    """The lines of nvidia-smi: `0, NVIDIA H100, 512, 81559, 37`."""
    rows = [[part.strip() for part in line.split(",")] for line in text.splitlines() if line.strip()]
    return tuple(
        Gpu(int(index), name, _number(used, _MIB), _number(total, _MIB), _share(utilization))
        for index, name, used, total, utilization in (row for row in rows if len(row) == 5)  # others are errors
    )


def _number(text: str, unit: int) -> int | None:
    return int(text) * unit if text.isdecimal() else None


def _share(text: str) -> float | None:
    return int(text) / 100 if text.isdecimal() else None
