"""What automation asks for: batches of what can be worked on, nothing twice, and the night within its hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import PartitionBackfill

from assets.dataset.utterances import rule_fingerprint
from assets.stages import EPISODE_GRAPH, STAGES
from dagster_project import automation
from dagster_project.automation import admit_what_is_new, polls, tick
from dagster_project.automation import request as request_of
from dagster_project.backfills import with_downstream
from dagster_project.build_resources import build_resources, utterance_rule, window
from dagster_project.definitions import build
from dagster_project.flow_state import FlowState
from dagster_project.nightly import request_nightly_backfill
from dagster_project.planning import Situation, engine_versions, plan_settings
from dagster_project.retry import bring_back
from dagster_project.run import Selection, selected
from dagster_project.settings import Settings
from partitions.definitions import EPISODES, FEEDS, add_keys
from partitions.window import Window
from pipeline.live_window import admit, archive
from pipeline.records import Run
from pipeline.run_keys import named_keys
from pipeline.stage import Cost, Failure, Landing
from resources.engines.routing import Engines
from resources.lake.catalogue import Catalogue
from resources.lake.compaction import seal
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES as CATALOGUE
from resources.tiers import load_tiers
from speech.engines import registry
from speech.errors import NetworkError, NotFound, Undecodable
from tests.instances import instance_for_test
from tests.landings import land_arrow, land_outcome, land_stage

KEYS = [f"show-20260101-{n:08x}" for n in range(20)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    sizes = {"audio": 8, "hashes": 6, "diarization": 4, "transcript": 3, "turns": 12, "utterances": 10, "quality": 16}
    return Settings(home=str(tmp_path / "home"), batch_sizes={"episodes": 5, **sizes})


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """Which has tried to fetch what publishers offer beside the audio."""
    given: Lake = build_resources(settings)["lake"]
    land(given, "publisher_transcript", KEYS)
    return given


@pytest.fixture
def engines(settings: Settings) -> Engines:
    given: Engines = build_resources(settings)["engines"]
    return given


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with instance_for_test() as instance:
        add_keys(instance, EPISODES, KEYS)
        yield instance


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short batches wait for an hour, however slow the machine is."""
    monkeypatch.setattr(
        automation, "plan_settings", lambda settings: replace(plan_settings(settings), patience=timedelta(hours=1))
    )


def land(lake: Lake, stages: str, keys: Sequence[str], engine: str | None = None) -> None:
    """Landings without rows, made by this engine, or by the configured one."""
    engines = build_resources(Settings())["engines"]
    configured = {
        "diarization": engines.diarizer_spec().fingerprint,
        "transcript": registry.describe_transcriber(engines.transcriber_for("en")).fingerprint,
        "utterances": rule_fingerprint(utterance_rule(Settings()), has_mos=True),
        "quality": load_tiers().fingerprint,
    }
    for name in stages.split():
        fingerprint = engine or configured.get(name, "f" * 16)
        for key in keys:
            run = Run("run", "run", datetime.now(UTC), 1)
            rows = {table.name: [] for table in STAGES[name].tables}
            land_outcome(lake, STAGES[name], Landing(key, rows, Cost("a" * 64, fingerprint)), run)


def fail(lake: Lake, stage: str, keys: Sequence[str], error: Exception) -> None:
    for key in keys:
        run = Run("run", "run", datetime.now(UTC), 1)
        land_outcome(lake, STAGES[stage], Failure(key, error), run)


def asked(instance: dg.DagsterInstance, lake: Lake, settings: Settings) -> list[tuple[str, str, str]]:
    """Stage, first and last key of what a tick asks for, which is queued like the daemon does."""
    job = build(settings).resolve_implicit_global_asset_job_def()
    found = []
    order = instance.get_dynamic_partitions("episodes")
    engines = build_resources(settings)["engines"]
    state = FlowState(len(order), "", repr(engine_versions(engines, {})))
    for batch in tick(instance, Catalogue(lake), Window(), settings, engines, state)[1]:
        request = request_of(settings, batch)
        (asset,) = request.asset_selection or ()
        instance.create_run_for_job(job, tags=request.tags, asset_selection=frozenset([asset]))
        first, last = (request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
        found.append((asset.to_user_string(), first, last))
    return found


def test_full_batches_are_asked_for_ahead_and_nothing_twice(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings
) -> None:
    assert asked(instance, lake, settings) == [("audio", KEYS[0], KEYS[7]), ("audio", KEYS[8], KEYS[15])]
    assert asked(instance, lake, settings) == []
    (run, *_) = instance.get_runs()
    assert run.tags["dagster/max_runtime"] == "7200"


def test_a_short_batch_waits_while_more_is_coming(instance: dg.DagsterInstance, lake: Lake, settings: Settings) -> None:
    asked(instance, lake, settings)
    land(lake, "audio", KEYS[:5])
    assert asked(instance, lake, settings) == [
        ("diarization", KEYS[0], KEYS[3]), ("diarization", KEYS[4], KEYS[4]),
        ("transcript", KEYS[0], KEYS[2]), ("transcript", KEYS[3], KEYS[4]),
    ]  # fmt: skip
    for run in instance.get_runs():
        if run.asset_selection == {dg.AssetKey("audio")}:
            instance.report_run_failed(run)


def test_scattered_keys_become_one_batch_and_what_is_in_flight_stays_where_it_is(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings
) -> None:
    land(lake, "audio", KEYS)
    scattered = KEYS[1:20:4]
    others = [key for key in KEYS if key not in scattered]
    land(lake, "hashes diarization transcript", others)
    found = asked(instance, lake, settings)
    order = instance.get_dynamic_partitions("episodes")
    assert order[-len(scattered) :] == scattered
    assert found[0] == ("hashes", scattered[0], scattered[-1])
    assert found[1:3] == [("diarization", scattered[0], scattered[3]), ("diarization", scattered[4], scattered[4])]
    assert asked(instance, lake, settings) == []


def test_the_room_is_given_out_when_something_has_changed(
    instance: dg.DagsterInstance, lake: Lake, engines: Engines, settings: Settings
) -> None:
    catalogue, window = Catalogue(lake), Window(size=21)
    _in_catalogue(lake, [*KEYS, "show-20260102-00000001"], hours=1.0)
    state = admit_what_is_new(instance, catalogue, window, settings, engines, FlowState(), "")
    assert state.live_episodes == 21
    assert admit_what_is_new(instance, catalogue, Window(size=300), settings, engines, state, "") == state
    assert instance.get_dynamic_partitions("episodes")[-1] == "show-20260102-00000001"


def test_feeds_are_polled_longest_ago_first_and_a_dead_one_not_at_all(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings
) -> None:
    feeds = [f"feed-{n:03d}" for n in range(12)]
    add_keys(instance, FEEDS, feeds)
    land(lake, "episodes", feeds[:10])
    fail(lake, "episodes", [feeds[3]], NotFound("gone"))
    requests = polls(instance, lake, settings, "tick")
    batches = [list(named_keys(request.tags)) for request in requests]
    assert len(requests) == 3
    assert len({request.run_key for request in requests}) == 3
    assert sorted(key for batch in batches for key in batch) == feeds[:3] + feeds[4:]


def test_the_night_asks_for_what_is_left_the_newest_first_within_its_hours(
    instance: dg.DagsterInstance, lake: Lake, engines: Engines, settings: Settings
) -> None:
    _in_catalogue(lake, KEYS, hours=2.0)
    now = engines.diarizer_spec().fingerprint
    land(lake, "audio hashes turns utterances quality", KEYS[:5])
    land(lake, "diarization transcript", KEYS[:5], "another")
    land(lake, "diarization", KEYS[:4], now)
    fail(lake, "audio", KEYS[5:19], NetworkError("not due yet"))
    short = settings.model_copy(update={"nightly_audio_hours": 5.0})
    assert request_nightly_backfill(instance, short, lake, engines).endswith(
        "2 episodes, 4.0 hours of audio; 0 from the archive."
    )
    (backfill,) = instance.get_backfills()
    assert _targets(backfill) == {
        "audio": {KEYS[19]}, "hashes": {KEYS[19]}, "diarization": {KEYS[4], KEYS[19]},
        "transcript": {KEYS[4], KEYS[19]}, "turns": {KEYS[4], KEYS[19]}, "utterances": {KEYS[4], KEYS[19]},
        "quality": {KEYS[4], KEYS[19]},
    }  # fmt: skip
    assert {stage for stage, _, _ in asked(instance, lake, settings)} == {"transcript"}


def _targets(backfill: PartitionBackfill) -> dict[str, set[str]]:
    data = backfill.asset_backfill_data
    assert data is not None
    subsets = data.target_subset.partitions_subsets_by_asset_key
    return {asset.to_user_string(): set(subset.get_partition_keys()) for asset, subset in subsets.items()}


def _in_catalogue(lake: Lake, keys: Sequence[str], hours: float) -> None:
    now = datetime.now(UTC)
    plain = {"string": "x", "bool": True, "timestamp[us, tz=UTC]": now}
    row = {field.name: plain.get(str(field.type)) for field in CATALOGUE.schema}
    row |= {
        "feed_id": "show",
        "language": "en",
        "transcript_urls": [],
        "duration_declared_ms": round(hours * 3_600_000),
    }
    dates = {key: datetime(2026, 1, 1, tzinfo=UTC).replace(microsecond=n) for n, key in enumerate(keys)}
    rows = [{**row, "episode_id": key, "published_at": dates[key]} for key in keys]
    land_arrow(lake, CATALOGUE, "show", CATALOGUE.of(rows))


def test_what_is_made_from_it_is_asked_for_too() -> None:
    assert with_downstream({"diarization": ["x"], "transcript": ["y"]}) == {
        "diarization": ["x"], "transcript": ["y"], "turns": ["x", "y"], "utterances": ["x", "y"],
        "quality": ["x", "y"],
    }  # fmt: skip


def test_all_that_asks_for_work_is_off_until_it_is_switched_on(settings: Settings) -> None:
    repository = build(settings).get_repository_def()
    switches = [*repository.sensor_defs, *repository.schedule_defs]
    assert {one.name for one in switches} >= {"episode_flow", "flow", "poll_feeds", "nightly", "seal"}
    on = {one.name for one in switches if one.default_status.value != "STOPPED"}
    assert on == {"dead_runs", "requested_podcasts", "requested_lessons", "requested_videos"}


def test_permanent_failures_leave_a_full_window_and_a_retry_brings_them_back(
    instance: dg.DagsterInstance, lake: Lake, engines: Engines, settings: Settings
) -> None:
    new = "show-20260102-00000001"
    _in_catalogue(lake, [*KEYS, new], hours=1.0)
    fail(lake, "audio", KEYS[:1], NetworkError("not due yet"))
    fail(lake, "audio", KEYS[1:3], NotFound("gone"))
    tick(instance, Catalogue(lake), Window(size=20), settings, engines, FlowState())
    order = instance.get_dynamic_partitions("episodes")
    assert (len(order), order[-1], set(KEYS) - set(order)) == (19, new, set(KEYS[1:3]))
    assert admit(instance, Catalogue(lake), Window(size=20), EPISODE_GRAPH) == []
    bring_back(instance, {"audio": [KEYS[1]]})
    assert instance.get_dynamic_partitions("episodes")[-1] == KEYS[1]


def test_admission_and_downloads_wait_for_free_disk_space(
    instance: dg.DagsterInstance, lake: Lake, engines: Engines, settings: Settings
) -> None:
    new = "show-20260102-00000001"
    _in_catalogue(lake, [*KEYS, new], hours=1.0)
    land(lake, "audio", KEYS[:6])
    short = settings.model_copy(update={"min_free_gb": 1e9})
    full = window(short).rules()
    state, batches = tick(instance, Catalogue(lake), full, short, engines, FlowState())
    assert {batch.stage for batch in batches} == {"hashes", "diarization", "transcript"}
    assert new not in instance.get_dynamic_partitions("episodes")
    _, batches = tick(instance, Catalogue(lake), window(settings).rules(), settings, engines, state)
    assert "audio" in {batch.stage for batch in batches}
    assert new in instance.get_dynamic_partitions("episodes")
    assert request_nightly_backfill(instance, short, lake, engines).startswith("Nothing is requested: ")
    repository = build(short).get_repository_def()
    land(lake, "hashes diarization transcript", KEYS[:6])
    land(lake, "turns publisher_transcript utterances quality", KEYS[:6])
    land(lake, "publisher_transcript", [new])  # transcripts are small and are fetched all the same
    resources = repository.get_top_level_resources()
    context = dg.build_sensor_context(instance, repository_def=repository, resources=resources)
    skipped = repository.get_sensor_def("episode_flow").evaluate_tick(context).skip_message
    assert str(skipped).startswith("Admission and downloads pause: ")


def test_archived_episodes_of_another_engine_get_the_room_that_is_left(
    instance: dg.DagsterInstance, lake: Lake, engines: Engines, settings: Settings
) -> None:
    archived, current = "show-20250101-00000001", "show-20250101-00000002"
    _in_catalogue(lake, [*KEYS, archived, current], hours=1.0)
    land(lake, " ".join(EPISODE_GRAPH.names), [archived], "another")
    land(lake, "audio hashes turns utterances quality", [current])
    land(lake, "diarization", [current], engines.diarizer_spec().fingerprint)
    land(lake, "transcript", [current], registry.describe_transcriber(engines.transcriber_for("en")).fingerprint)
    admit_what_is_new(instance, Catalogue(lake), Window(size=20), settings, engines, FlowState(), "")
    assert archived not in instance.get_dynamic_partitions("episodes")
    admit_what_is_new(instance, Catalogue(lake), Window(size=30), settings, engines, FlowState(), "")
    assert list(instance.get_dynamic_partitions("episodes")) == [*KEYS, archived]


def test_podlake_run_takes_the_newest_of_the_chosen_feeds(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings
) -> None:
    _in_catalogue(lake, KEYS, hours=1.0)
    add_keys(instance, EPISODES, ["other-20260101-00000001"])
    assert selected(lake, instance, Selection(newest=2)) == [KEYS[19], KEYS[18]]
    assert selected(lake, instance, Selection(feeds=("show",))) == KEYS
    assert selected(lake, instance, Selection(feeds=("other",))) == ["other-20260101-00000001"]


def test_compaction_begins_earlier_for_what_feeds_have_gathered(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automation, "SEAL_AFTER", timedelta(0))
    monkeypatch.setattr(automation, "WORTH_SEALING_GATHERED", 3)
    for feed in ("one", "two"):
        land_stage(lake, "voices", feed, {})
    assert str(_sealing(instance, settings).skip_message).startswith("0 finished episodes wait for compaction")
    land_stage(lake, "repeated_audio", "three", {})
    requested = _sealing(instance, settings)
    assert isinstance(requested, dg.RunRequest)
    assert requested.run_config["ops"]["sealed_tables"]["config"] == {
        "after_hours": 0.0, "episodes": False, "requested": False,
    }  # fmt: skip


def test_compaction_begins_for_many_podcasts_lessons_and_videos(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automation, "SEAL_AFTER", timedelta(0))
    monkeypatch.setattr(automation, "WORTH_SEALING_REQUESTED", 3)
    land_stage(lake, "script", "studio-20261127-00000001", {})
    land_stage(lake, "lesson_video", "lesson-20261127-00000001", {})
    assert "and 2 podcasts, lessons and videos" in str(_sealing(instance, settings).skip_message)
    land_stage(lake, "reference_audio", "video-20261127-00000001", {})
    requested = _sealing(instance, settings)
    assert isinstance(requested, dg.RunRequest)
    assert requested.run_config["ops"]["sealed_tables"]["config"] == {
        "after_hours": 0.0, "episodes": False, "requested": True,
    }  # fmt: skip


def _sealing(instance: dg.DagsterInstance, settings: Settings) -> dg.SkipReason | dg.RunRequest:
    """What the schedule `seal` wants."""
    repository = build(settings).get_repository_def()
    resources = repository.get_top_level_resources()
    context = dg.build_schedule_context(instance, repository_def=repository, resources=resources)
    found = repository.get_schedule_def("seal").evaluate_tick(context)
    return found.run_requests[0] if found.run_requests else dg.SkipReason(found.skip_message)


def test_another_utterance_rule_repeats_exactly_the_utterances_that_another_one_has_cut(
    instance: dg.DagsterInstance, lake: Lake, engines: Engines, settings: Settings
) -> None:
    _in_catalogue(lake, KEYS, hours=1.0)
    land(lake, " ".join(EPISODE_GRAPH.names), KEYS)
    longer = settings.model_copy(update={"utterance_pause_ms": 900})
    done = rule_fingerprint(utterance_rule(longer), has_mos=False)
    land(lake, "utterances", KEYS[:15], done)

    def asked_with(chosen: Settings) -> dict[str, set[str]]:
        situation = Situation.of_episodes(instance, lake)
        limits = replace(
            plan_settings(chosen), engines=engine_versions(engines, situation.catalogue), patience=timedelta()
        )
        return {stage: set(keys) for stage, keys in situation.readiness(limits).ready.items() if keys}

    assert asked_with(settings) == {"utterances": set(KEYS[:15])}
    assert asked_with(longer) == {"utterances": set(KEYS[15:])}
    land(lake, "utterances", KEYS[15:], done)  # the same rows as before: nothing that reads them is outdated
    assert asked_with(longer) == {}


def test_archived_episodes_whose_utterances_another_rule_has_cut_come_back(
    instance: dg.DagsterInstance, lake: Lake, engines: Engines, settings: Settings
) -> None:
    """Neither those that have failed with the new rule, nor those without utterances."""
    old, done, failed, unheard = archived = [f"show-20250101-{n:08x}" for n in range(4)]
    _in_catalogue(lake, [*KEYS, *archived], hours=1.0)
    land(lake, " ".join(EPISODE_GRAPH.names), [*KEYS, old, done, failed])
    land(lake, "audio hashes diarization transcript turns", [unheard])
    longer = settings.model_copy(update={"utterance_pause_ms": 900, "nightly_audio_hours": 0.0})
    land(lake, "utterances", [*KEYS, done], rule_fingerprint(utterance_rule(longer), has_mos=True))
    fail(lake, "utterances", [failed], Undecodable("the audio is cut"))
    list(seal(lake, archived))
    admit_what_is_new(instance, Catalogue(lake), Window(size=30), longer, engines, FlowState(), "")
    assert list(instance.get_dynamic_partitions("episodes")) == [*KEYS, unheard, old]
    archive(instance, [unheard, old])
    assert request_nightly_backfill(instance, longer, lake, engines).endswith(
        "1 episodes, 1.0 hours of audio; 1 from the archive."
    )
    (backfill,) = instance.get_backfills()
    assert _targets(backfill) == {"utterances": {old}, "quality": {old}}
    assert list(instance.get_dynamic_partitions("episodes")) == [*KEYS, old]
