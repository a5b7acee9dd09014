"""The lake of the talks, and the rules of accessibility."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from resources.fetch.audio_store import AudioStore
from tests.talks import land_talks


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> AudioStore:
    return land_talks(tmp_path_factory.mktemp("home"))


@pytest.fixture
def violations() -> Callable[[Any], list[str]]:
    """The rules of accessibility that an open page breaks, by axe-core."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    return lambda page: [f"{one['id']}: {one['nodes'][0]['html']}" for one in axe.run(page).response["violations"]]
