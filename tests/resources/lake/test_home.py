"""Files that are moved into a home: renamed, copied only from another file system, and left in place on an error."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from resources.lake.home import Home
from speech.errors import StorageError


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    path = tmp_path / "parts" / "fetched"
    path.parent.mkdir()
    path.write_bytes(b"audio")
    return path


def fail_to_rename(monkeypatch: pytest.MonkeyPatch, source: Path, code: int) -> None:
    """Renaming this file fails, others are renamed."""
    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self == source:
            raise OSError(code, os.strerror(code))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)


def test_a_file_of_another_file_system_is_copied(
    tmp_path: Path, fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_to_rename(monkeypatch, fetched, errno.EXDEV)
    Home.at(str(tmp_path / "home")).move(fetched, "audio", "a.mp3")
    assert (tmp_path / "home" / "audio" / "a.mp3").read_bytes() == b"audio"
    assert not fetched.exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT])
def test_another_error_is_told_and_leaves_the_file(
    tmp_path: Path, fetched: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fail_to_rename(monkeypatch, fetched, code)
    target = tmp_path / "home" / "audio" / "a.mp3"
    with pytest.raises(StorageError) as error:
        Home.at(str(tmp_path / "home")).move(fetched, "audio", "a.mp3")
    assert str(error.value).startswith(
        f"{target} could not be written: [Errno {code}] {os.strerror(code)}. Check free space"
    )
    assert (fetched.read_bytes(), target.exists()) == (b"audio", False)
