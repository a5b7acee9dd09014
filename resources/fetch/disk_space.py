"""Free disk space, below which new episodes and downloads wait."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DiskSpace:
    """Folders, and the bytes that have to stay free on their disks."""

    folders: tuple[Path, ...] = ()
    min_free_bytes: float = 0

    def shortage(self) -> str | None:
        """A sentence that says which disk is too full; None: none is."""
        for folder in self.folders:
            free = shutil.disk_usage(next(one for one in (folder, *folder.parents) if one.exists())).free
            if free < self.min_free_bytes:
                return (
                    f"{folder} has {free / 1e9:.2f} GB free, less than the {self.min_free_bytes / 1e9:g} GB of "
                    "PODLAKE_MIN_FREE_GB. Free space (`podlake retention`), or lower the limit."
                )
        return None


UNLIMITED = DiskSpace()
"""Never short."""
