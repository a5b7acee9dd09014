"""`hashes`, `repeated_audio` and `same_audio` in a lake: what is planned, landed, viewed and forgotten."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from click.testing import CliRunner
from dagster._core.definitions.reconstruct import ReconstructableJob

from assets.audio.same_audio import same_audio
from dagster_project.cli import main
from dagster_project.commands.forget import forget, plan
from dagster_project.forget_metadata import InWork
from dagster_project.gathering import gather, gathering_batches
from dagster_project.settings import Settings
from partitions.definitions import FEEDS, add_keys
from resources.lake.catalogue import Catalogue
from resources.lake.forgetting import forget_episodes
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.near_copies import same_audio_rows
from resources.lake.tables import ACQUISITIONS, EPISODES, HASHES, REPEATED_AUDIO, SAME_AUDIO, UTTERANCES, WORDS
from resources.lake.tables.duplicates import SameAudioRow
from resources.lake.warehouse import ask, connect
from resources.studio.lessons import LessonLedger
from speech.audio_matches import sketch_of
from tests.instances import instance_for_test
from tests.landings import NOON, land, seal_settled
from tests.speech.test_repeated_audio import RATE_HZ, recording, talk

SHOW = [f"show-2026010{n}-0000000{n}" for n in range(1, 5)]
OTHER = ["other-20260201-00000001", "other-20260202-00000002"]
JINGLE = talk(500, 8)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    # The definitions keep the home of their first use, and Dagster keeps the last job that was made of them.
    monkeypatch.delitem(sys.modules, "dagster_project.definitions", raising=False)
    ReconstructableJob.get_definition.cache_clear()
    ReconstructableJob.get_repository_definition.cache_clear()
    with instance_for_test(temp_dir=str(tmp_path)) as instance:
        add_keys(instance, FEEDS, ["other", "show"])
        yield instance


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A feed whose four episodes begin with a jingle, and one with a copy of the second, and with its file."""
    lake = Lake(Home.at(str(tmp_path / "home")))
    for feed_id, keys in (("show", SHOW), ("other", OTHER)):
        rows = [{"episode_id": key, "published_at": NOON + timedelta(days=index)} for index, key in enumerate(keys)]
        land(lake, EPISODES, feed_id, rows if feed_id == "show" else [{**row, "published_at": None} for row in rows])
    for number, key in enumerate(SHOW):
        land_hashes(lake, key, recording(talk(50 + number, 1 + number), JINGLE, talk(number, 60)))
    body = talk(1, 60)
    copy = recording(body[: 20 * RATE_HZ], talk(700, 15), body[20 * RATE_HZ :], gain_db=-6, noise=20)
    land_hashes(lake, OTHER[0], copy)
    land_hashes(lake, OTHER[1], recording(talk(51, 2), JINGLE, talk(1, 60)), of=SHOW[1])
    return lake


def land_hashes(lake: Lake, key: str, items: np.ndarray, of: str | None = None) -> None:
    digest = hashlib.sha256((of or key).encode()).hexdigest()
    land(lake, ACQUISITIONS, key, [{"audio_sha256": digest, "fetched_at": NOON}], audio_sha256=digest)
    row: Mapping[str, object] = {
        "audio_sha256": digest, "pcm16k_sha256": digest, "duration_ms": round(len(items) * 123.8 + 2_600),
        "fingerprint": items.astype("<u4").tobytes(), "sketch": sketch_of(items).tolist(),
    }  # fmt: skip
    land(lake, HASHES, key, [row], audio_sha256=digest)


def test_a_feed_with_new_hashes_is_searched_for_repeated_audio(instance: dg.DagsterInstance, lake: Lake) -> None:
    batches = list(gathering_batches(instance, lake, Settings()))
    assert [(batch.stage, batch.keys) for batch in batches] == [("repeated_audio", ("other", "show"))]
    gather(instance, lake, Settings())
    assert list(gathering_batches(instance, lake, Settings())) == []
    rows = lake.rows(REPEATED_AUDIO, "show")
    assert [(row.episode_id, row.n_episodes, row.n_occurrences) for row in rows] == [(key, 4, 4) for key in SHOW]
    assert {row.repeat_id for row in rows} == {"show-r0001"}
    for number, row in enumerate(rows):
        assert (row.start_ms, row.end_ms) == pytest.approx((1_000 * (1 + number), 1_000 * (9 + number)), abs=1_300)
    assert lake.rows(REPEATED_AUDIO, "other") == [], "a copy is no repeated audio"


def test_copies_of_all_feeds_are_found_with_their_original(lake: Lake) -> None:
    first, second = same_audio_rows(lake, "run", NOON)
    assert (first.episode_id, first.original_episode_id, first.method) == (OTHER[0], SHOW[1], "chromaprint")
    assert first.similarity > 0.85
    assert first.share == pytest.approx(60 / 75, abs=0.1)
    assert first.offset_ms == pytest.approx(5_000, abs=200) or first.offset_ms == pytest.approx(-10_000, abs=200)
    assert (second.episode_id, second.original_episode_id, second.method) == (OTHER[1], SHOW[1], "bytes")
    assert (second.similarity, second.share, second.offset_ms, second.common_ms) == (1, 1, 0, None)


def test_the_command_lands_lists_and_the_views_tell(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = CliRunner().invoke(main, ["duplicates", "--find"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert OTHER[0] in done.output
    assert "chromaprint" in done.output
    assert "show-r0001" in done.output
    digest = lake.rows(HASHES, SHOW[0])[0].audio_sha256
    words = [{"word_idx": n, "word": f"w{n}", "start_ms": 1000 * n, "end_ms": 1000 * n + 300} for n in range(20)]
    land(lake, WORDS, SHOW[0], [{**row, "audio_sha256": digest} for row in words])
    spans = [
        {"utterance_idx": 0, "start_ms": 3_000, "end_ms": 7_000},
        {"utterance_idx": 1, "start_ms": 30_000, "end_ms": 34_000},
    ]
    land(lake, UTTERANCES, SHOW[0], [{**row, "audio_sha256": digest} for row in spans])
    with connect(lake.home) as connection:
        (repeated,) = ask(connection, "select list(word order by word_idx) from repeated_words")
        shares = ask(
            connection,
            "select utterance_idx, repeated_share, repeated_in_episodes, copy_of from utterance_repeats order by all",
        )
        assert ask(connection, "select count(*) from hashes") == [(6,)]
    assert {"w3", "w4", "w5", "w6"} <= set(repeated[0]) <= {f"w{n}" for n in range(1, 10)}
    assert shares == [(0, 1.0, 4, None), (1, 0.0, 0, None)]


def test_sealed_and_forgotten(instance: dg.DagsterInstance, lake: Lake) -> None:
    gather(instance, lake, Settings())
    lake.replace(SAME_AUDIO, "all", SAME_AUDIO.of(same_audio_rows(lake, "run", datetime.now(UTC))))
    seal_settled(lake)
    forget_episodes(lake, [SHOW[0], OTHER[0]])
    rows = lake.rows(REPEATED_AUDIO, "show")
    assert [row.episode_id for row in rows] == SHOW[1:]
    assert {row.n_episodes for row in rows} == {3}
    assert [row.episode_id for row in SAME_AUDIO.rows_of(lake.read_file(SAME_AUDIO, "all"))] == [OTHER[1]]
    forget_episodes(lake, SHOW[1:])
    assert lake.rows(REPEATED_AUDIO, "show") == []
    assert SAME_AUDIO.rows_of(lake.read_file(SAME_AUDIO, "all")) == []


def test_an_episode_that_is_forgotten_during_the_search_is_no_copy(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found_and_then_forgotten(lake: Lake, run_id: str, now: datetime) -> list[SameAudioRow]:
        rows = same_audio_rows(lake, run_id, now)
        assert [row.episode_id for row in rows] == sorted(OTHER)
        forget_episodes(lake, [OTHER[1]])
        return rows

    monkeypatch.setattr("assets.audio.same_audio.same_audio_rows", found_and_then_forgotten)
    assert dg.materialize([same_audio], instance=instance, resources={"lake": lake}).success
    found = lake.read_file(SAME_AUDIO, SAME_AUDIO.landing_key())
    assert found is not None
    assert found["episode_id"].to_pylist() == [OTHER[0]]


def test_an_episode_is_not_forgotten_while_a_run_reads_its_feed(
    instance: dg.DagsterInstance, lake: Lake, tmp_path: Path
) -> None:
    tags = {"dagster/asset_partition_range_start": "other", "dagster/asset_partition_range_end": "show"}
    asset = frozenset({dg.AssetKey("repeated_audio")})
    instance.add_run(dg.DagsterRun("__ASSET_JOB", status=dg.DagsterRunStatus.STARTED, tags=tags, asset_selection=asset))
    catalogue = Catalogue(lake)
    catalogue.subscribe([("https://show.test/rss", "show"), ("https://other.test/rss", "other")])
    url, cache = f"sqlite:///{tmp_path}/service.db", tmp_path / "cache"
    resources = {"catalogue": catalogue, "lesson_ledger": LessonLedger(lambda: url)}
    with pytest.raises(InWork, match="A run works on show"):
        forget(instance, resources, cache, "", plan(resources, cache, [SHOW[1]]))
