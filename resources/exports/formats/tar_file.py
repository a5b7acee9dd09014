"""Tar files that depend on their content only."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


@contextmanager
def tar_file(stream: BinaryIO) -> Iterator[tarfile.TarFile]:
    """A tar file that is written without seeking."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        yield tar


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a member without time and owner."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o644
    tar.addfile(member, io.BytesIO(data))
