"""When an alert is raised: a table of observations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.alerts import (
    CostlyServer,
    EngineTries,
    FailingFeed,
    Limits,
    LostRun,
    Observations,
    UnfitDevice,
    WrongCheck,
    alerts,
)

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


@pytest.mark.parametrize(
    ("seen", "raised"),
    [
        (Observations(NOW), []),
        (Observations(NOW, failing_feeds=[FailingFeed("show", ago(47), "404")]), []),
        (Observations(NOW, failing_feeds=[FailingFeed("show", ago(48), "404")]), [("stalled_feed", "show")]),
        (Observations(NOW, engines={"transcript": EngineTries(4, 0, "no memory")}), []),
        (Observations(NOW, engines={"transcript": EngineTries(9, 1, "no memory")}), []),
        (Observations(NOW, engines={"transcript": EngineTries(5, 0, "no memory")}), [("engine_fails", "transcript")]),
        (Observations(NOW, n_ready=3), []),
        (Observations(NOW, n_ready=3, last_landed_at=ago(5)), []),
        (Observations(NOW, n_ready=3, last_landed_at=ago(7)), [("nothing_lands", "pipeline")]),
        (Observations(NOW, n_ready=3, last_landed_at=ago(700), ready_since=ago(1)), []),
        (Observations(NOW, n_ready=0, last_landed_at=ago(700)), []),
        (Observations(NOW, n_ready=3, last_landed_at=ago(7), shortage="0.5 GB"), [("low_disk", "home")]),
        (Observations(NOW, wrong_checks=[WrongCheck("ordered_words", 3, "e1")]), [("failed_check", "ordered_words")]),
        (Observations(NOW, lost_runs=[LostRun("r1", "transcript", "timed out")]), [("lost_run", "r1")]),
        (
            Observations(NOW, costly_servers=[CostlyServer("gpu-1", "It runs idle since 10:00.")]),
            [("gpu_server_runs", "gpu-1")],
        ),
        (
            Observations(NOW, unfit_devices=[UnfitDevice("gpu0", "It is busy.", needs_person=False)]),
            [("device_set_aside", "gpu0")],
        ),
    ],
)
def test_alerts(seen, raised):
    found = alerts(seen, Limits())
    assert [(alert.name, alert.subject) for alert in found] == raised
    assert all(len(alert.message) > 20 for alert in found)
