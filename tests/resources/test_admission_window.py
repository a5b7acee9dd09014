"""The window is a Dagster resource: the settings configure it, and run config changes it for one run."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from dagster_project.build_resources import build_resources
from dagster_project.settings import Settings
from partitions.window import Waiting, Window, admitted
from resources.admission_window import AdmissionWindow
from tests.instances import instance_for_test


def given(run_config: dict[str, Any], **settings: Any) -> Window:
    """What a run's asset gets as its resource `window`."""
    seen: list[Window] = []

    @dg.asset(required_resource_keys={"window"})
    def admits(context: dg.AssetExecutionContext) -> None:
        seen.append(context.resources.window)

    resources = {"window": build_resources(Settings(**settings))["window"]}
    assert dg.materialize([admits], resources=resources, run_config=run_config).success
    return seen[0]


def test_the_settings_give_the_rules() -> None:
    assert given({}) == Window()
    assert given(
        {}, window=5, window_feeds="a, b", window_languages="en-US,de", window_max_age_days=2, window_audio_hours=9
    ) == Window(5, frozenset({"a", "b"}), frozenset({"en", "de"}), timedelta(days=2), 9.0)


def test_run_config_replaces_the_rules_for_one_run_and_must_be_complete() -> None:
    config = {
        "size": 7,
        "feeds": [],
        "languages": ["zh-CN"],
        "max_age_days": 0,
        "audio_hours": 0,
        "folders": [],
        "min_free_gb": 0,
    }
    found = given({"resources": {"window": {"config": config}}}, window=5, window_feeds="a")
    assert found == Window(7, languages=frozenset({"zh"}))
    with pytest.raises(dg.DagsterInvalidConfigError, match="feeds"):
        given({"resources": {"window": {"config": {"size": 7}}}}, window_feeds="a")


def test_a_sensor_gets_the_rules_too() -> None:
    seen: list[Window] = []

    @dg.sensor(target="*")
    def admits(window: dg.ResourceParam[Window]) -> None:
        seen.append(window)

    definitions = dg.Definitions(sensors=[admits], resources=build_resources(Settings(window=3)))
    repository = definitions.get_repository_def()
    with instance_for_test() as instance:
        resources = repository.get_top_level_resources()
        admits.evaluate_tick(dg.build_sensor_context(instance, repository_def=repository, resources=resources))
    assert seen == [Window(3)]


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        AdmissionWindow(size=0, feeds=[], languages=[], max_age_days=0, audio_hours=0, folders=[], min_free_gb=0)


def test_nothing_is_admitted_while_the_disk_is_short_of_space(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "made"
    found = given({}, home=str(folder), min_free_gb=1e9)
    assert str(found.shortage).startswith(f"{folder} has ")
    assert "less than the 1e+09 GB of PODLAKE_MIN_FREE_GB" in str(found.shortage)
    waiting = [Waiting("a", "show", "en", None, None)]
    asked = {"inside": 0, "hours_inside": 0.0, "now": datetime(2026, 1, 1, tzinfo=UTC)}
    assert list(admitted(waiting, found, **asked)) == []
    assert list(admitted(waiting, given({}, home=str(folder), min_free_gb=0), **asked)) == ["a"]
