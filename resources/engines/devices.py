"""Devices and their leases: `cuda:N` belongs to one step at a time.

A lease is a lock file. The operating system releases the lock when the process exits or is killed.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from speech.file_locks import try_lock

log = logging.getLogger("podlake")

CPU = "cpu"
_POLL_S = 0.5


@dataclass(frozen=True)
class Devices:
    """The devices that steps of this machine may lease."""

    names: tuple[str, ...]
    """`cuda:0`, …; none on a machine without GPUs."""
    folder: Path = Path(tempfile.gettempdir()) / "podlake-devices"

    @contextmanager
    def lease(self, *, wants_gpu: bool, wait_s: float = 86_400.0, preferred: Collection[str] = ()) -> Iterator[str]:
        """Lease a device until the block ends, a preferred one if it is free. The CPU if no GPU is there or wanted.

        Raises TimeoutError if no device is free within `wait_s`.
        """
        if not wants_gpu:
            yield CPU
        elif not self.names:
            log.warning("No GPU here (or PODLAKE_GPUS=none): the engine runs on the CPU, which is slow.")
            yield CPU
        else:
            name, handle = self._take(wait_s, sorted(self.names, key=lambda name: name not in preferred))
            try:
                yield name
            finally:
                os.close(handle)

    def _take(self, wait_s: float, names: Sequence[str]) -> tuple[str, int]:
        self.folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + wait_s
        while True:
            for name in names:
                handle = os.open(
                    self.folder / f"{name.replace(':', '-')}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
                )
                if try_lock(handle):
                    os.truncate(handle, 0)
                    os.write(handle, f"{os.getpid()}\n".encode())
                    return name, handle
                os.close(handle)
            if time.monotonic() > deadline:
                raise TimeoutError(f"every device of {', '.join(self.names)} stayed taken for {wait_s:.0f} s")
            time.sleep(_POLL_S)

    def holders(self) -> dict[str, int]:
        """Device → process that holds it now."""
        held = {}
        for name in self.names:
            path = self.folder / f"{name.replace(':', '-')}.lock"
            if not path.exists():
                continue
            with path.open("r+") as file:
                if not try_lock(file):
                    held[name] = int(path.read_text().strip() or 0)
        return held


def visible(setting: str) -> tuple[str, ...]:
    """The devices that `PODLAKE_GPUS` names: `all`, `none`, or numbers such as `0,1,3`.

    Raises ValueError for anything else.
    """
    if setting == "none":
        return ()
    if setting == "all":
        return tuple(f"cuda:{number}" for number in range(_count()))
    numbers: Sequence[str] = [part.strip() for part in setting.split(",")]
    if not all(number.isdigit() for number in numbers):
        raise ValueError(f"PODLAKE_GPUS={setting!r}: use `all`, `none` or device numbers such as `0,1,3`")
    return tuple(f"cuda:{number}" for number in dict.fromkeys(numbers))


def _count() -> int:
    """How many NVIDIA devices this process may see, without importing torch."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return len([part for part in chosen.split(",") if part.strip() not in ("", "-1")])
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
