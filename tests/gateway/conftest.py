"""The service of an empty lake, and of the lake of the talks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.serving import Served, served
from tests.talks import land_talks


@pytest.fixture(scope="module")
def _dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(tmp_path_factory.mktemp("dagster")))
        yield


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, _dagster_home: None) -> Iterator[Served]:
    """A service of an empty lake. Tests that change it name their episodes themselves."""
    with served(tmp_path_factory.mktemp("empty")) as found:
        yield found


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory, _dagster_home: None) -> Iterator[Served]:
    """A service of the lake of the talks."""
    home = tmp_path_factory.mktemp("talks")
    land_talks(home)
    with served(home) as found:
        yield found
