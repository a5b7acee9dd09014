"""A home on an S3 server of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow import fs

from resources.lake.home import Home

BUCKET = "podcasts"


@pytest.fixture
def s3_home(s3_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home in a bucket of its own server, which the usual AWS variables name."""
    for name, value in {**s3_environment, "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    filesystem, bucket = fs.FileSystem.from_uri(f"s3://{BUCKET}?allow_bucket_creation=true")
    filesystem.create_dir(bucket)
    return Home.at(f"s3://{BUCKET}/{tmp_path.name}/")
