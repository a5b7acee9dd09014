"""Twenty workers at a real gateway, four of which are killed: each of sixty jobs lands once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.workers import GROUPS, measure
from tests.gateway.serving import served


def test_each_job_lands_once_although_a_fifth_of_the_workers_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    with served(tmp_path, lease_s=1.0) as service:
        found = measure(tmp_path, service.url, service.service.settings.database_url, 4 * GROUPS, 60, engine_s=0.1)
    assert found.lost_leases > 0
    assert set(found.landed.values()) == {1}
    assert len(found.landed) == 60
