"""Retention on a real instance: which audio goes, that rows and copies stay, and that audio comes back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import dagster as dg
import pytest

from assets.audio.audio_retention import audio_retention
from assets.stages import EPISODE_GRAPH
from partitions.definitions import EPISODES, add_keys
from pipeline.lake_state import LakeState
from pipeline.planner import plan
from pipeline.readiness import Episode, InFlight, PlanSettings
from pipeline.retention import AudioRule, removals
from resources.fetch.audio_store import AudioStore
from resources.lake.forgetting import audio_of, forget_removed_audio
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import ACQUISITIONS, FAILURES, REMOVED_AUDIO
from speech.errors import AudioRemoved
from tests.instances import instance_for_test
from tests.landings import land, land_stage, seal_settled

AUDIO = Path(__file__).parents[2] / "audio" / "tone.opus"
OLD, NEW, OPEN, SAME = (f"show-2026010{n}-0000000{n}" for n in (1, 2, 3, 4))
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SIZE = AUDIO.stat().st_size


class Kept:
    """A lake with two complete episodes and one that is not, each with its own audio."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.instance, self.lake = instance, Lake(Home.at(str(folder)))
        self.store = AudioStore(self.lake.home, folder, 10**9)
        for days, key in ((50, OLD), (10, NEW), (60, OPEN)):
            self.fetch(key, key, NOW - timedelta(days=days))
        for key in (OLD, NEW):
            self.complete(key)
        add_keys(instance, EPISODES, [OLD, NEW, OPEN])

    def fetch(self, key: str, content: str, at: datetime) -> None:
        fetched = self.store.part(key)
        fetched.write_bytes(AUDIO.read_bytes() + content.encode())
        digest = hashlib.sha256(fetched.read_bytes()).hexdigest()
        uri = self.store.keep(fetched, digest, "https://a.test/a.opus", None)
        row = {"audio_sha256": digest, "fetched_at": at, "storage_uri": uri, "final_url": "https://a.test/a.opus"}
        land(self.lake, ACQUISITIONS, key, [row])

    def complete(self, key: str) -> None:
        for stage in EPISODE_GRAPH.names[1:]:
            land_stage(self.lake, stage, key, {})

    def uri(self, key: str) -> str:
        return self.lake.rows(ACQUISITIONS, key)[0].storage_uri

    def chosen(self, rule: AudioRule, now: datetime = NOW) -> list[tuple[str, str]]:
        found = removals(self.instance, self.lake, EPISODE_GRAPH, rule, now)
        return [(one.episodes[0], one.reason) for one in found]

    def retain(self, rule: AudioRule) -> dict[str, object]:
        given = {"lake": self.lake, "audio_store": self.store, "audio_rule": rule}
        result = dg.materialize([audio_retention], instance=self.instance, resources=given)
        metadata = result.asset_materializations_for_node("audio_retention")[0].metadata
        return {name: value.value for name, value in metadata.items()}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with instance_for_test() as instance:
        yield Kept(tmp_path, instance)


def days(number: float) -> AudioRule:
    return AudioRule(max_age=timedelta(days=number))


def test_only_complete_episodes_beyond_a_limit_lose_their_audio(kept: Kept) -> None:
    size = SIZE + len(OLD)
    assert kept.chosen(AudioRule()) == []
    assert kept.chosen(days(30)) == [(OLD, "age")]
    assert kept.chosen(days(0)) == [(OLD, "age"), (NEW, "age")]
    assert kept.chosen(AudioRule(max_bytes=3 * size)) == []
    assert kept.chosen(AudioRule(max_bytes=3 * size - 1)) == [(OLD, "size")]
    assert kept.chosen(AudioRule(max_bytes=0)) == [(OLD, "size"), (NEW, "size")]
    seal_settled(kept.lake)
    assert kept.chosen(days(30)) == [(OLD, "age")], "sealed episodes are complete too"


def test_shared_bytes_stay_while_one_episode_needs_them(kept: Kept) -> None:
    kept.fetch(SAME, OLD, NOW - timedelta(days=50))
    assert kept.chosen(days(30)) == []
    kept.complete(SAME)
    assert kept.chosen(days(30)) == [(OLD, "age")]


def test_a_failed_stage_and_a_lost_source_keep_the_audio(kept: Kept, tmp_path: Path) -> None:
    land(kept.lake, FAILURES, f"{OLD}.transcript", [{}])
    assert kept.chosen(days(30)) == []
    (row,) = kept.lake.rows(ACQUISITIONS, NEW)
    source = tmp_path / "added.opus"
    added = {**{name: getattr(row, name) for name in row.__slots__}, "requested_url": str(source)}
    land(kept.lake, ACQUISITIONS, NEW, [{**added, "final_url": source.as_uri(), "redirect_chain": []}])
    kept.complete(NEW)
    assert kept.chosen(days(5)) == []
    source.touch()
    assert kept.chosen(days(5)) == [(NEW, "age")]


def test_removed_audio_leaves_a_record_and_a_copy_that_is_forgotten_too(kept: Kept) -> None:
    uri = kept.uri(OLD)
    shown = kept.retain(AudioRule(max_bytes=2 * SIZE + len(OLD) * 2, copies=True))
    (row,) = REMOVED_AUDIO.rows_of(kept.lake.read_file(REMOVED_AUDIO, "all"))
    assert shown == {"files_removed": 1, "bytes_removed": SIZE + len(OLD), "bytes_of_copies": row.copy_bytes,
                     "kept_because_the_copy_failed": 0}  # fmt: skip
    assert not kept.lake.home.exists(uri)
    assert kept.lake.home.exists(kept.uri(NEW))
    copied = kept.store.local(row.copy_uri or "")
    assert hashlib.sha256(copied.read_bytes()).hexdigest() == row.copy_sha256
    with av.open(str(copied)) as opened:
        assert (opened.streams.audio[0].codec_context.name, opened.streams.audio[0].channels) == ("opus", 1)
    assert kept.chosen(AudioRule(max_bytes=2 * SIZE + len(OLD) * 2)) == [], "copies do not count"
    assert kept.lake.rows(ACQUISITIONS, OLD), "the rows stay"
    assert audio_of(kept.lake, [OLD]).files == (str(copied),)
    forget_removed_audio(kept.lake, audio_of(kept.lake, [OLD]).sha256)
    assert kept.lake.read_file(REMOVED_AUDIO, "all").num_rows == 0


def test_audio_that_cannot_be_copied_stays(kept: Kept) -> None:
    path = Path(kept.lake.home.path(kept.uri(OLD)))
    path.write_bytes(b"not audio")
    assert kept.retain(AudioRule(max_age=timedelta(days=30), copies=True))["kept_because_the_copy_failed"] == 1
    assert path.exists()


def test_a_stage_that_finds_no_audio_has_it_fetched_again(kept: Kept) -> None:
    kept.retain(days(30))
    with pytest.raises(AudioRemoved, match="materialization of `audio`"):
        kept.store.local(kept.uri(OLD))
    failed = {"error_class": "audio_removed", "last_at": datetime.now(UTC), "retryable": False}
    land(kept.lake, FAILURES, f"{OLD}.transcript", [failed])

    def planned() -> list[tuple[str, str]]:
        state = LakeState.read(kept.lake, EPISODE_GRAPH, [OLD])
        settings = PlanSettings(batch_sizes=dict.fromkeys(EPISODE_GRAPH.names, 8))
        batches = plan(EPISODE_GRAPH, {OLD: Episode()}, state.commits, state.failures, InFlight(), settings, NOW)
        return [(batch.stage, batch.reason) for batch in batches]

    assert planned() == [("audio", "1 its audio was removed")]
    kept.fetch(OLD, OLD, datetime.now(UTC) - timedelta(days=40))
    assert planned() == []
    kept.lake.remove(FAILURES, f"{OLD}.transcript")
    assert kept.chosen(days(30), datetime.now(UTC)) == [], "a stage may be about to use it"
    land_stage(kept.lake, EPISODE_GRAPH.terminal[0], OLD, {})
    assert (OLD, "age") in kept.chosen(days(30), datetime.now(UTC))
