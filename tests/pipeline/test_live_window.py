"""Admitting to the live window and archiving out of it, on a real instance, a real lake and real feeds."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy.exc import IntegrityError

from assets.catalogue.episodes import episodes
from assets.lake.sealed_tables import sealed_tables
from assets.stages import EPISODE_GRAPH
from partitions.definitions import EPISODES, FEEDS, add_keys
from partitions.window import Window
from pipeline.dagster_internals import move_to_end
from pipeline.live_window import admit, admit_from_feeds, archive
from pipeline.records import Run
from pipeline.stage import Batch, Landing
from resources.fetch.hosts import FetchPolicy
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES as CATALOGUE
from resources.lake.tables import QUALITY, STAGE_RUNS
from tests.landings import land, land_last, land_outcome, open_keys, seal_settled

ITEM = """<item><title>{n}</title><guid>{n}</guid><pubDate>{date:%a, %d %b %Y} 08:00:00 GMT</pubDate>
<enclosure url="http://a.test/{n}.mp3" length="1" type="audio/mpeg"/></item>"""
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(Lake(Home.at(str(tmp_path / "home"))))


def feed(instance: dg.DagsterInstance, catalogue: Catalogue, name: str, days: Sequence[int], priority: int = 0) -> None:
    """Subscribe to a feed with an episode on each of these days of 2026, and land its poll."""
    path = Path(catalogue.home.root).parent / f"{name}.xml"
    items = "".join(ITEM.format(n=day, date=FIRST + timedelta(days=day)) for day in days)
    path.write_text(f'<rss version="2.0"><channel><title>{name}</title><language>en</language>{items}</channel></rss>')
    catalogue.subscribe([(str(path), name)], priority=priority)
    add_keys(instance, FEEDS, [name])
    (landing,) = episodes.work(Batch((name,), {}), catalogue, FetchPolicy())
    assert isinstance(landing, Landing)
    land_outcome(catalogue.lake, episodes, landing, Run("run", "run", FIRST, 1))


def polled(instance: dg.DagsterInstance, catalogue: Catalogue, names: str, window: Window) -> None:
    found = catalogue.lake.read_many(CATALOGUE, names)
    admit_from_feeds(
        instance,
        [{"episodes": found[name]} for name in names],
        lake=catalogue.lake,
        window=window,
        episode_graph=EPISODE_GRAPH,
    )


def inside(instance: dg.DagsterInstance) -> list[str]:
    """Feed and day of each key, such as `a-20260103`."""
    return [key.rpartition("-")[0] for key in instance.get_dynamic_partitions("episodes")]


def test_a_poll_admits_a_feed_s_newest_up_to_its_share(instance: dg.DagsterInstance, catalogue: Catalogue) -> None:
    feed(instance, catalogue, "a", range(5))
    feed(instance, catalogue, "b", [])
    polled(instance, catalogue, "a", Window(size=6))
    assert inside(instance) == ["a-20260105", "a-20260104", "a-20260103"]
    polled(instance, catalogue, "a", Window(size=6))
    assert len(inside(instance)) == 3


def test_the_room_that_is_left_is_filled_by_priority_and_then_newest_first(
    instance: dg.DagsterInstance, catalogue: Catalogue
) -> None:
    feed(instance, catalogue, "a", [0, 4])
    feed(instance, catalogue, "b", [3, 5])
    feed(instance, catalogue, "late", [1, 2], priority=1)
    admit(instance, catalogue, Window(size=4), EPISODE_GRAPH)
    assert inside(instance) == ["late-20260103", "late-20260102", "b-20260106", "a-20260105"]
    assert admit(instance, catalogue, Window(size=4), EPISODE_GRAPH) == []


def test_hours_that_are_inside_count(instance: dg.DagsterInstance, catalogue: Catalogue) -> None:
    feed(instance, catalogue, "a", range(5))
    admit(instance, catalogue, Window(audio_hours=2.0), EPISODE_GRAPH)
    assert inside(instance) == ["a-20260105", "a-20260104"]
    assert admit(instance, catalogue, Window(audio_hours=2.5), EPISODE_GRAPH) == []
    assert len(admit(instance, catalogue, Window(audio_hours=3.5), EPISODE_GRAPH)) == 1


@pytest.mark.parametrize("folder", ["open", "sealed"])
def test_what_is_complete_is_not_admitted_again(
    instance: dg.DagsterInstance, catalogue: Catalogue, folder: str
) -> None:
    feed(instance, catalogue, "a", range(3))
    _, done, _ = sorted(row["episode_id"] for row in catalogue.lake.read(CATALOGUE, "a").to_pylist())
    land_last(catalogue.lake, done)
    if folder == "sealed":
        seal_settled(catalogue.lake)
    polled(instance, catalogue, "a", Window())
    assert inside(instance) == ["a-20260103", "a-20260101"]
    assert admit(instance, catalogue, Window(), EPISODE_GRAPH) == []


def test_archiving_makes_room_but_leaves_what_is_in_flight(instance: dg.DagsterInstance, catalogue: Catalogue) -> None:
    feed(instance, catalogue, "a", range(4))
    newest, second = admit(instance, catalogue, Window(size=2), EPISODE_GRAPH)
    queued = {"dagster/partition": second}
    job = dg.Definitions([_asset]).resolve_implicit_global_asset_job_def()
    instance.create_run_for_job(job, tags=queued, asset_selection=frozenset([_asset.key]))
    assert archive(instance, [newest, second]) == [newest]
    assert inside(instance) == ["a-20260103"]
    assert len(admit(instance, catalogue, Window(size=2), EPISODE_GRAPH)) == 1


def test_sealing_archives_what_is_complete_and_admits_others(
    instance: dg.DagsterInstance, catalogue: Catalogue
) -> None:
    feed(instance, catalogue, "a", range(3))
    newest, second = admit(instance, catalogue, Window(size=2), EPISODE_GRAPH)
    for stage in EPISODE_GRAPH.names:
        land(catalogue.lake, STAGE_RUNS, f"{newest}.{stage}", [{"outcome": "landed"}])
    land_last(catalogue.lake, newest)
    result = dg.materialize(
        [sealed_tables],
        instance=instance,
        resources={
            "lake": catalogue.lake,
            "catalogue": catalogue,
            "window": Window(size=2),
        },
        run_config={"ops": {"sealed_tables": {"config": {"after_hours": 0.0}}}},
        selection=["sealed_tables"],
    )
    (event,) = result.asset_materializations_for_node("sealed_tables")
    assert (event.metadata["episodes_archived"].value, event.metadata["episodes_admitted"].value) == (1, 1)
    assert inside(instance) == ["a-20260102", "a-20260101"]
    assert open_keys(catalogue.lake, QUALITY) == []
    assert second in instance.get_dynamic_partitions("episodes")


@dg.asset(partitions_def=EPISODES)
def _asset() -> None: ...


def test_an_order_changes_as_a_whole_or_not_at_all(instance: dg.DagsterInstance) -> None:
    add_keys(instance, EPISODES, ["a", "b", "c"])
    with pytest.raises(IntegrityError):
        move_to_end(instance, EPISODES, ["a", None])  # type: ignore[list-item]
    assert list(instance.get_dynamic_partitions("episodes")) == ["a", "b", "c"]


def test_two_who_move_the_same_keys_at_once_lose_none(instance: dg.DagsterInstance) -> None:
    keys = [f"show-20260101-{n:08x}" for n in range(2_000)]
    add_keys(instance, EPISODES, keys)
    with ThreadPoolExecutor(2) as both:
        for moved in [both.submit(move_to_end, instance, EPISODES, keys) for _ in range(2)]:
            moved.result()
    assert sorted(instance.get_dynamic_partitions("episodes")) == sorted(keys)
