"""The lake of the talks."""

from __future__ import annotations

import pytest

from resources.fetch.audio_store import AudioStore
from tests.talks import land_talks


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> AudioStore:
    return land_talks(tmp_path_factory.mktemp("home"))
