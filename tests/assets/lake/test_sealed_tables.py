"""The asset `sealed_tables`, on a real Dagster instance with real Parquet."""

from __future__ import annotations

import dagster as dg
import pytest

from assets.lake.sealed_tables import Sealing, sealed_tables
from assets.stages import EPISODE_GRAPH
from partitions.window import Window
from resources.lake.catalogue import Catalogue
from resources.lake.compaction import sealed_episodes
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import SPEAKER_LINKS, SPEAKERS, STAGE_RUNS, TABLES, WORDS
from tests.landings import land, land_failed_try, land_last, land_stage, open_keys

EPISODE_IDS = [f"show-20260101-{n:08x}" for n in range(5)]


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake(Home.at(str(tmp_path)))
    for episode_id in EPISODE_IDS:
        land(lake, SPEAKERS, episode_id, [{}])
        land_last(lake, episode_id)
        for stage in EPISODE_GRAPH.names:
            land(lake, STAGE_RUNS, f"{episode_id}.{stage}", [{"outcome": "landed"}])
    return lake


def materialize(lake: Lake, config: Sealing, instance: dg.DagsterInstance) -> dict[str, dg.MetadataValue]:
    result = dg.materialize(
        [sealed_tables],
        instance=instance,
        resources={"lake": lake, "catalogue": Catalogue(lake), "window": Window()},
        run_config=dg.RunConfig(ops={"sealed_tables": config}),
    )
    return dict(result.asset_materializations_for_node("sealed_tables")[0].metadata)


@pytest.fixture
def instance() -> dg.DagsterInstance:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("episodes", [*EPISODE_IDS, "new-20260101-00000001"])
    return instance


def test_complete_episodes_are_sealed_and_the_metadata_says_what_was_done(lake, instance):
    metadata = materialize(lake, Sealing(after_hours=0), instance)

    assert sealed_episodes(lake, EPISODE_GRAPH.terminal) == EPISODE_IDS
    assert open_keys(lake, SPEAKERS) == []
    assert instance.get_dynamic_partitions("episodes") == ["new-20260101-00000001"]
    assert metadata["episodes_archived"].value == 5
    assert (metadata["landings_sealed"].value, metadata["rows_sealed"].value) == (105, 60)
    assert metadata["bytes_added"].value > 0
    records = {record.data["table"]: record.data for record in metadata["tables"].records}
    assert set(records) == {table.name for table in TABLES.values() if table.is_sealable}
    assert (records["speakers"]["landings"], records["speakers"]["files"]) == (5, 1)
    assert (records[WORDS.name]["landings"], records[WORDS.name]["files"]) == (5, 0)


def test_what_was_landed_today_stays_open(lake, instance):
    metadata = materialize(lake, Sealing(), instance)

    assert metadata["landings_sealed"].value == 0
    assert open_keys(lake, SPEAKERS) == EPISODE_IDS
    assert len(instance.get_dynamic_partitions("episodes")) == 6


def test_only_what_feeds_have_gathered_is_sealed_if_that_is_asked_for(lake, instance):
    land(lake, SPEAKER_LINKS, "show", [{}])
    metadata = materialize(lake, Sealing(after_hours=0, episodes=False), instance)

    assert (open_keys(lake, SPEAKER_LINKS), open_keys(lake, SPEAKERS)) == ([], EPISODE_IDS)
    assert len(instance.get_dynamic_partitions("episodes")) == 6
    records = {record.data["table"]: record.data["landings"] for record in metadata["tables"].records}
    assert records == {"speaker_links": 1, "voices": 1, "stage_runs": 1}


def test_podcasts_lessons_and_videos_are_sealed_finished_or_not(lake, instance):
    landed = {"script": "studio-20261127-00000001", "lesson_video": "lesson-20261127-00000001",
              "reference_audio": "video-20261127-00000001"}  # fmt: skip
    for stage, key in landed.items():
        land_stage(lake, stage, key, {table.name: [{}] for table in TABLES.values() if table.asset == stage})
    land_failed_try(lake, "speech_lines", landed["script"])
    before = {table: lake.read(TABLES[table], key) for table, key in zip(("scripts", "lessons", "reference_audio"), landed.values(), strict=True)}  # fmt: skip

    materialize(lake, Sealing(after_hours=0, episodes=False, requested=False), instance)
    assert all(open_keys(lake, TABLES[table]) for table in before)
    metadata = materialize(lake, Sealing(after_hours=0, episodes=False), instance)
    assert not any(open_keys(lake, TABLES[table]) for table in before)
    records = {record.data["table"]: record.data["landings"] for record in metadata["tables"].records}
    assert records == {"scripts": 1, "script_turns": 1, "lessons": 1, "reference_audio": 1, "stage_runs": 4}
    for (table, rows), (stage, key) in zip(before.items(), landed.items(), strict=True):
        assert lake.read(TABLES[table], key) == rows
        assert lake.landed(stage) == {key}
    assert lake.history("speech_lines", landed["script"]).num_rows == 1
    assert open_keys(lake, SPEAKERS) == EPISODE_IDS


def test_it_has_a_place_in_the_lineage_and_a_pool_of_its_own():
    spec = next(iter(sealed_tables.specs))

    assert (spec.group_name, spec.kinds, sealed_tables.op.pool) == ("lake", {"parquet"}, "sealing")
    assert [dep.asset_key.to_user_string() for dep in spec.deps] == ["quality"]
