"""The fixture `pipeline`: the assets from the feeds to the hashes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assets.polled_feed import Pipeline
from tests.instances import instance_for_test


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with instance_for_test() as instance:
        yield Pipeline(instance, tmp_path)
