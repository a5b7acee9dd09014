"""The stage `voices` in a lake: what is planned, landed, shown, decided and removed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from assets.speech.voices import voices
from dagster_project.cli import main
from dagster_project.commands import voices as commands
from dagster_project.gathering import gather, gathering_batches
from dagster_project.link_voices import link_feeds
from dagster_project.settings import Settings
from partitions.definitions import FEEDS, add_keys
from pipeline.records import Run
from pipeline.stage import Batch
from resources.lake.compaction import remove, seal
from resources.lake.forgetting import forget_episodes, forget_feeds
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES, SPEAKER_LINKS, SPEAKERS, VOICES, WORDS
from resources.lake.tables.voices import SpeakerLinkRow
from resources.lake.voice_decisions import change_decisions, decisions_of
from resources.lake.warehouse import connect
from speech.engines.speaker_embeddings import EMBEDDING_MODEL
from speech.voices import SameAs
from tests.instances import instance_for_test
from tests.landings import land, land_last, land_outcome, land_stage, seal_settled
from tests.speech.test_voices import ADA, BOB, embedding

ONE, TWO, THREE = (f"show-2026010{n}-0000000{n}" for n in (1, 2, 3))
OTHER = "other-20260101-00000001"


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.delitem(sys.modules, "dagster_project.definitions", raising=False)  # it keeps the home of its first use
    with instance_for_test(temp_dir=str(tmp_path)) as instance:
        add_keys(instance, FEEDS, ["other", "show"])
        yield instance


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(Home.at(str(tmp_path / "home")))
    land(lake, EPISODES, "show", [{"episode_id": key} for key in (ONE, TWO, THREE)])
    land(lake, EPISODES, "other", [{"episode_id": OTHER}])
    return lake


def diarize(lake: Lake, key: str, *people: object, run_id: str = "r") -> None:
    """A diarization that finds these people, labelled S0, S1, …"""
    rows = [
        {
            "speaker": f"S{index}", "speech_ms": 60_000, "embedding": embedding(person).tolist(), "run_id": run_id,
            "embedding_model": EMBEDDING_MODEL, "embedding_speech_ms": 30_000, "audio_sha256": "a" * 64,
        }
        for index, person in enumerate(people)
    ]  # fmt: skip
    land_stage(lake, "diarization", key, {"speakers": rows, "segments": []})


def planned(instance: dg.DagsterInstance, lake: Lake) -> list[Sequence[str]]:
    return [batch.keys for batch in gathering_batches(instance, lake, Settings())]


def links(lake: Lake, feed_id: str = "show") -> dict[tuple[str, str], SpeakerLinkRow]:
    return {(row.episode_id, row.speaker): row for row in lake.rows(SPEAKER_LINKS, feed_id)}


def link(lake: Lake, *feeds: str) -> None:
    """What a run of the stage lands."""
    for outcome in voices.work(Batch(feeds or ("show",), {}), lake=lake):
        land_outcome(lake, voices, outcome, Run("run", "run", datetime.now(UTC), 1))


def test_it_runs_for_feeds_with_new_diarizations_and_changes_no_old_link(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    assert planned(instance, lake) == []
    diarize(lake, ONE, ADA, BOB)
    assert planned(instance, lake) == [("show",)]
    gather(instance, lake, Settings())
    before = links(lake)
    assert instance.get_materialized_partitions(dg.AssetKey("voices")) == {"show"}
    assert planned(instance, lake) == []
    diarize(lake, TWO, BOB, ADA)
    assert planned(instance, lake) == [], "it waits for more episodes of the feed"
    assert [batch.keys for batch in gathering_batches(instance, lake, Settings(), pause=timedelta(0))] == [("show",)]
    link(lake)
    after = links(lake)
    assert [after[key].voice_id for key in before] == [row.voice_id for row in before.values()]
    assert after[TWO, "S0"].voice_id == before[ONE, "S1"].voice_id
    found = lake.rows(VOICES, "show")
    assert [(row.n_episodes, row.speech_ms, row.decided_by) for row in found] == [(2, 120_000, "automatic")] * 2


def test_sealed_landings_of_an_earlier_version_are_linked_too(instance: dg.DagsterInstance, lake: Lake) -> None:
    diarize(lake, ONE, ADA, BOB)
    land_last(lake, ONE)
    seal_settled(lake)
    assert planned(instance, lake) == [("show",)]
    link(lake)
    assert len(lake.rows(VOICES, "show")) == 2
    assert planned(instance, lake) == []
    seal_settled(lake)
    assert planned(instance, lake) == []


def test_decisions_are_shown_and_survive_another_diarization(lake: Lake) -> None:
    diarize(lake, ONE, ADA, BOB)
    land(lake, WORDS, ONE, [{"word_idx": 0, "word": "Hello", "audio_sha256": "a" * 64}])
    of = {"speaker": "S0", "audio_sha256": "a" * 64}
    land_stage(lake, "turns", ONE, {"word_speakers": [of], "turns": [{**of, "text": "Hello"}]})
    link(lake)
    ada, bob = (str(links(lake)[ONE, name].voice_id) for name in ("S0", "S1"))
    assert commands.name(lake, ada, "Ada") == ["show"]
    link(lake)
    with connect(lake.home) as connection:
        assert connection.execute("select line from transcript").fetchall() == [("[00:00] Ada: Hello",)]
        assert connection.execute("select name, voice_id from spoken_words").fetchall() == [("Ada", ada)]
    _, rows = commands.listing(lake.home, feed_id="show", limit=1)
    assert rows[0][:4] in [(ada, "Ada", None, 1), (bob, None, None, 1)]

    split, _ = commands.split(lake, ONE, "S1", None)
    link(lake)
    assert split not in (ada, bob)
    assert links(lake)[ONE, "S1"].voice_id == split
    diarize(lake, ONE, BOB, ADA, run_id="again")
    link(lake)
    assert [links(lake)[ONE, name].voice_id for name in ("S0", "S1")] == [split, ada]

    commands.merge(lake, ada, split)
    link(lake)
    assert {row.voice_id for row in links(lake).values()} == {ada}
    assert [(row.name, row.decided_by) for row in lake.rows(VOICES, "show")] == [("Ada", "manual")]


def test_voices_of_feeds_are_linked_on_request_and_share_the_name(lake: Lake) -> None:
    diarize(lake, ONE, ADA, BOB)
    diarize(lake, OTHER, ADA)
    link(lake, "other", "show")
    ((voice_id, same),) = link_feeds(lake.home).items()
    assert (voice_id, same.method) == (links(lake)[ONE, "S0"].voice_id, "across")
    assert link_feeds(lake.home) == {}
    assert commands.name(lake, same.voice_id, "Ada") == ["other", "show"]
    link(lake, "other", "show")
    assert (links(lake)[ONE, "S0"].name, links(lake, "other")[OTHER, "S0"].name) == ("Ada", "Ada")
    assert {row.same_as for row in lake.rows(VOICES, "show")} == {same.voice_id, None}
    assert commands.merge(lake, same.voice_id, str(links(lake)[ONE, "S1"].voice_id)) == ["show"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("name", "show-v00000000", "X"), "There is no voice show-v00000000. `podlake voices list` shows the voices."),
        (("split", TWO, "S0"), f"No speaker of {TWO} is linked yet. podlake run links them."),
        (("split", ONE, "S9"), f"{ONE} has no speaker S9. It has: S0, S1."),
    ],
)
def test_wrong_input_says_what_to_do(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.setenv("PODLAKE_HOME", lake.home.root)
    diarize(lake, ONE, ADA, BOB)
    link(lake)
    result = CliRunner().invoke(main, ["voices", *arguments])
    assert result.exit_code == 1
    assert message in result.stderr


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_removed_episode_leaves_no_link_and_no_embedding(lake: Lake, is_sealed: bool) -> None:
    diarize(lake, ONE, ADA, BOB)
    diarize(lake, TWO, ADA)
    link(lake)
    split, _ = commands.split(lake, TWO, "S0", None)
    link(lake)
    commands.merge(lake, str(links(lake)[ONE, "S0"].voice_id), split)
    link(lake)
    if is_sealed:
        land_last(lake, ONE)
        land_last(lake, TWO)
        seal_settled(lake)
        assert lake.home.names("lake", "voices", "sealed")
    before = links(lake)
    remove(lake, [TWO])
    assert links(lake) == {key: row for key, row in before.items() if key[0] == ONE}
    assert sorted(row.embedding is None for row in lake.rows(VOICES, "show")) == [False, True]
    assert decisions_of(lake.home, "show").pins == ()
    for path in Path(lake.home.root, "lake", "speaker_links").rglob("*.parquet"):
        assert TWO not in str(pq.read_table(path).to_pylist())
    link(lake)
    assert len(links(lake)) == 2
    assert all(row.embedding for row in lake.rows(VOICES, "show"))


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_forgotten_feed_leaves_no_embedding_and_no_name_anywhere(lake: Lake, is_sealed: bool) -> None:
    diarize(lake, ONE, ADA, BOB)
    diarize(lake, TWO, ADA)
    diarize(lake, OTHER, ADA)
    link(lake, "show", "other")
    assert len(link_feeds(lake.home)) == 1
    (others,) = lake.rows(VOICES, "other")
    ada = next(row.voice_id for row in lake.rows(VOICES, "show") if row.n_episodes == 2)
    own = {row.voice_id: row for row in lake.rows(VOICES, "show")}
    if not decisions_of(lake.home, "other").same_as:  # the link is noted with one of the two
        same = SameAs(ada, "manual")
        change_decisions(lake.home, "other", lambda before: replace(before, same_as={others.voice_id: same}))
    commands.name(lake, ada, "Ada Lovelace")
    link(lake, "show", "other")
    assert [(row.same_as, row.name) for row in lake.rows(VOICES, "other")] == [(ada, "Ada Lovelace")]
    if is_sealed:
        list(seal(lake, {ONE, TWO, OTHER, "show", "other"}))
    forbidden = [np.array(row.embedding) for row in own.values()]
    forbidden += [np.array(row.embedding) for key in (ONE, TWO) for row in lake.rows(SPEAKERS, key)]
    assert embeddings_like(lake, forbidden) > 4

    forget_episodes(lake, {ONE, TWO})
    forget_feeds(lake, ["show"])
    assert embeddings_like(lake, forbidden) == 0
    for path in Path(lake.home.root).rglob("*.*"):
        content = pq.read_table(path).to_pylist() if path.suffix == ".parquet" else path.read_bytes()
        assert "Ada" not in str(content), path
        assert "show" not in str(content), path
    (left,) = lake.rows(VOICES, "other")
    assert (left.voice_id, left.embedding, left.same_as, left.name) == (others.voice_id, others.embedding, None, None)


def embeddings_like(lake: Lake, forbidden: Sequence[np.ndarray]) -> int:
    """How many lists of numbers in all files of the lake are one of these, or their mean."""
    mean = np.mean(forbidden, axis=0)
    wanted = [one / np.linalg.norm(one) for one in [*forbidden, mean]]
    found = 0
    for path in Path(lake.home.root, "lake").rglob("*.parquet"):
        table = pq.read_table(path)
        for column in table.columns:
            if pa.types.is_list(column.type) and pa.types.is_floating(column.type.value_type):
                vectors = (np.array(value) for value in column.to_pylist() if value)
                found += sum(any(vector @ one > 0.9999 for one in wanted) for vector in vectors)
    return found
