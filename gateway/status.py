"""The status of one episode, kept as JSON until something about the episode changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

import pyarrow as pa
from pydantic import TypeAdapter

from gateway.landings import Landings
from partitions.keys import feed_of
from pipeline.progress import EPISODE_STAGES
from podlake.api import EpisodeStatus, StageStatus
from resources.lake.commits import FAILED
from resources.lake.lake import Lake
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import EPISODES, FAILURES, STAGE_RUNS
from resources.lake.tables.catalogue import EpisodeRow
from resources.lake.tables.pipeline import FailureRow, StageRunRow
from speech.errors import UpstreamMissing

MOST_KEPT = 50_000
_FEEDS_KEPT = 32
_TO_JSON = TypeAdapter(EpisodeStatus)


@dataclass(frozen=True, slots=True)
class _Feed:
    """The episodes of a feed. To look for one among 100 000 takes as long as everything else of its status."""

    stamp: str
    rows: pa.Table
    places: Mapping[str, int]
    """Episode → the number of its row."""

    @classmethod
    def of(cls, stamp: str, rows: pa.Table) -> _Feed:
        return cls(stamp, rows, {key: place for place, key in enumerate(rows["episode_id"].to_pylist())})


@dataclass
class Statuses:
    """Looks up statuses. A change in the lake is seen after `LOOK_S`."""

    lake: Lake
    landings: Landings
    _kept: OrderedDict[str, tuple[tuple[str, ...], bytes]] = field(default_factory=OrderedDict)
    _feeds: OrderedDict[str, _Feed] = field(default_factory=OrderedDict)
    _sealed: tuple[str | None, frozenset[str]] = (None, frozenset())
    _lock: Lock = field(default_factory=Lock)

    def kept(self, episode_id: str) -> bytes | None:
        """The status as JSON if it is known, without a look at the lake."""
        found = self._kept.get(episode_id)
        return found[1] if found and found[0] == self.landings.version(episode_id) else None

    def read(self, episode_id: str) -> bytes:
        """The status as JSON, from the lake. Raises `UpstreamMissing`."""
        version = self.landings.version(episode_id)
        made = _TO_JSON.dump_json(self._status(episode_id))
        with self._lock:
            self._kept[episode_id] = (version, made)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return made

    def _status(self, episode_id: str) -> EpisodeStatus:
        entry = self._entry(episode_id)
        runs = self._runs(episode_id)
        failures = {stage: row for stage in EPISODE_STAGES if (row := self._failure(episode_id, stage))}
        stages = tuple(_stage(stage, runs.get(stage, []), failures.get(stage)) for stage in EPISODE_STAGES)
        return EpisodeStatus(
            episode_id, entry.feed_id, entry.title, entry.published_at, entry.language, entry.enclosure_url,
            _state(stages), stages,
        )  # fmt: skip

    def _entry(self, episode_id: str) -> EpisodeRow:
        feed_id = feed_of(episode_id)
        stamp = self.landings.commits.get("episodes", {}).get(feed_id, self.landings.sealed)
        known = self._feeds.get(feed_id)
        if known is None or known.stamp != stamp:
            rows = self.lake.read(EPISODES, feed_id)
            known = None if rows is None else _Feed.of(stamp, rows)
        if known is not None:
            with self._lock:
                self._feeds[feed_id] = known
                while len(self._feeds) > _FEEDS_KEPT:
                    self._feeds.popitem(last=False)
            if episode_id in known.places:
                (row,) = EPISODES.rows_of(known.rows.slice(known.places[episode_id], 1))
                return row
        raise UpstreamMissing(f"There is no episode {episode_id}.")

    def _runs(self, episode_id: str) -> dict[str, list[StageRunRow]]:
        """Stage → its tries, oldest first: from the open records, and from sealed ones if a stage has no open one."""
        found: list[StageRunRow] = []
        names = {stage: self.landings.commits.get(stage, {}).get(episode_id) for stage in EPISODE_STAGES}
        if episode_id in self.landings.failed:
            names[FAILED] = self.landings.failed[episode_id]
        for folder, stamp in names.items():
            if stamp is not None:
                try:
                    rows = self.lake.read_name(STAGE_RUNS, folder, f"{episode_id}@{stamp}")
                except FileNotFoundError:  # sealed since the last look
                    continue
                found += STAGE_RUNS.rows_of(rows)
        if episode_id in self._sealed_keys():
            for rows in SealedFiles(self.lake.home, STAGE_RUNS).landings([episode_id]).values():
                found += STAGE_RUNS.rows_of(rows)
        by_stage: dict[str, list[StageRunRow]] = {}
        for row in sorted(found, key=lambda row: row.finished_at):
            by_stage.setdefault(row.stage, []).append(row)
        return by_stage

    def _sealed_keys(self) -> frozenset[str]:
        """The episodes that have sealed records, read again after each compaction."""
        version, keys = self._sealed
        if version != self.landings.sealed:
            version = self.landings.sealed
            keys = frozenset().union(*SealedFiles(self.lake.home, STAGE_RUNS).landed().values())
            self._sealed = (version, keys)
        return keys

    def _failure(self, episode_id: str, stage: str) -> FailureRow | None:
        return self.lake.last_failure(FAILURES.landing_key(episode_id, stage))


def _stage(stage: str, tries: list[StageRunRow], failure: FailureRow | None) -> StageStatus:
    landed = [row for row in tries if row.outcome == "landed"]
    last = landed[-1] if landed else tries[-1] if tries else None
    if last is None:
        made = StageStatus(stage, "waiting")
    else:
        made = StageStatus(
            stage, "landed" if landed else "failed", last.finished_at, len(tries), last.run_id, last.engine, last.model,
            last.audio_ms, last.engine_ms, last.rtfx, last.worker,
        )  # fmt: skip
    if failure is None:
        return made
    return StageStatus(
        stage, "failed", failure.last_at, max(len(tries), failure.attempts), failure.run_id, made.engine, made.model,
        made.audio_ms, made.engine_ms, made.rtfx, made.worker, failure.error_class, failure.message, failure.retryable,
        failure.next_retry_at,
    )  # fmt: skip


def _state(stages: tuple[StageStatus, ...]) -> str:
    failed = [one.stage for one in stages if one.state == "failed"]
    if failed:
        return f"failed: {', '.join(failed)}"
    return next((f"next: {one.stage}" for one in stages if one.state == "waiting"), "done")
