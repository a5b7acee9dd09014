"""An instance that the previous version made opens and answers as before.

`instances/v1.tar.gz` is its DAGSTER_HOME: dagster.yaml names the event log class `resources.event_log.EventLog` and the
pool granularity `op`; a run of `feeds`, an event of `audio`, an active backfill, a moved key, and a run that holds the
slot of its pool and will never finish.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.in_process import materialize
from dagster_project.instance import DEFAULTS, open_instance
from dagster_project.settings import Settings
from pipeline.in_flight import in_flight

OLD = Path(__file__).with_name("instances") / "v1.tar.gz"
FIRST, SECOND, THIRD = (f"show-2026010{n}-0000000{n}" for n in (1, 2, 3))


@pytest.mark.parametrize("is_default", [True, False], ids=["default home", "home of the user"])
def test_an_old_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_default: bool) -> None:
    home = tmp_path / "home" / "dagster"
    with tarfile.open(OLD) as old:
        old.extractall(home, filter="data")
    before = (home / "dagster.yaml").read_text()
    assert "class: EventLog" in before
    monkeypatch.setenv("PODLAKE_HOME", str(home.parent if is_default else tmp_path / "elsewhere"))
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    if is_default:
        monkeypatch.delenv("DAGSTER_HOME")
    with open_instance(Settings()) as instance:
        assert instance.get_dynamic_partitions("episodes") == [SECOND, THIRD, FIRST]
        assert instance.get_materialized_partitions(dg.AssetKey("audio")) == {SECOND}
        assert in_flight(instance, [SECOND, THIRD, FIRST]).keys == {"quality": {THIRD}, "sealed_tables": set()}
        holder, fed = instance.get_runs()
        assert (holder.is_finished, fed.is_success) == (False, True)
        assert any(log.dagster_event_type is dg.DagsterEventType.STEP_SUCCESS for log in instance.all_logs(fed.run_id))
        if is_default:  # the user's granularity `op` stays, and so the slot that is taken
            materialize(instance, "sealed_tables")
        materialize(instance, "feeds")
        assert instance.get_runs(limit=1)[0].is_success
    after = (home / "dagster.yaml").read_text()
    assert "EventLog" not in after
    assert after == DEFAULTS.read_text() if is_default else "granularity: op" in after
