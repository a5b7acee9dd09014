"""Watches the lake for landings and failures: what has changed, and whether an answer made before is still true."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from partitions.keys import feed_of
from pipeline.progress import EPISODE_STAGES, FEED_STAGES
from resources.lake.commits import FAILED, Commit
from resources.lake.lake import Lake
from resources.lake.sealed_files import MANIFEST
from resources.lake.tables import STAGE_RUNS
from resources.lake.tables.pipeline import FailureRow
from speech.errors import PodlakeError

LOOK_S = 1.0
KEPT = 10_000
"""Events that a client which connects again can still get."""
_RECORDS = ("lake", STAGE_RUNS.name, "open")
log = logging.getLogger("podlake")

Kind = Literal["landed", "failed"]


@dataclass(frozen=True, slots=True)
class Event:
    """A landing of a stage, or a try that failed."""

    id: str
    """`<stamp>.<stage>.<key>`: the same after a restart."""
    kind: Kind
    stage: str
    key: str
    """The episode, or the feed."""
    feed_id: str
    at: datetime
    error_class: str | None = None
    message: str | None = None


@dataclass
class Landings:
    """The open records of the lake, as of the last look. One task looks; listeners get what is new."""

    lake: Lake
    commits: dict[str, dict[str, str]] = field(default_factory=dict)
    """Stage → key → the stamp of its newest open landing."""
    failed: dict[str, str] = field(default_factory=dict)
    """Key → the stamp of its newest failed try."""
    sealed: str = ""
    """Changes with every compaction and removal."""
    recent: deque[Event] = field(default_factory=lambda: deque(maxlen=KEPT))
    _names: dict[str, frozenset[str]] = field(default_factory=dict)
    _changed_at: dict[str, int] = field(default_factory=dict)
    _unreported: list[Event] = field(default_factory=list)
    """Found by looks that have raised."""
    _listeners: list[asyncio.Queue[Event]] = field(default_factory=list)
    _is_first: bool = True

    def version(self, key: str) -> tuple[str, ...]:
        """Changes when something about the episode or feed may have changed."""
        stamps = (self.commits.get(stage, {}).get(key, "") for stage in (*FEED_STAGES, *EPISODE_STAGES))
        polled = self.commits.get("episodes", {}).get(feed_of(key), "")
        return (*stamps, polled, self.failed.get(key, ""), self.sealed)

    def look(self) -> list[Event]:
        """Read the names of the records. Returns what is new since the last look; nothing at the first one.

        Raises OSError if a folder cannot be listed. The next look then returns what this one has found before.
        """
        home = self.lake.home
        self.sealed = (home.names("lake", STAGE_RUNS.name, MANIFEST) or [""])[-1]
        for folder in (*FEED_STAGES, *EPISODE_STAGES, FAILED):
            if self._may_have_changed(folder):
                try:
                    self._look_at(folder)
                except Exception:
                    self._changed_at.pop(folder, None)  # the next look lists it again
                    raise
        self._is_first = False
        events, self._unreported = self._unreported, []
        return sorted(events, key=lambda event: event.id)

    def _look_at(self, folder: str) -> None:
        names = frozenset(name.removesuffix(".parquet") for name in self.lake.home.names(*_RECORDS, folder))
        if not self._is_first:
            self._unreported += list(self._events(folder, names - self._names.get(folder, frozenset())))
        self._names[folder] = names
        newest = dict(name.split("@", 1) for name in sorted(names))
        if folder == FAILED:
            self.failed = newest
        else:
            self.commits[folder] = newest

    def publish(self, events: list[Event]) -> None:
        """Give events to the listeners. One that is far behind loses the oldest."""
        self.recent.extend(events)
        for queue in self._listeners:
            for event in events:
                if queue.full():
                    queue.get_nowait()
                queue.put_nowait(event)

    @asynccontextmanager
    async def listening(self, after: str | None = None) -> AsyncIterator[asyncio.Queue[Event]]:
        """A queue of the events from now on; with those since the event `after`, as far as they are kept."""
        queue: asyncio.Queue[Event] = asyncio.Queue(KEPT + 1)
        if after:
            for event in self._since(after):
                queue.put_nowait(event)
        self._listeners.append(queue)
        try:
            yield queue
        finally:
            self._listeners.remove(queue)

    def _since(self, after: str) -> list[Event]:
        """In the order of publication: an event may have been published after one with a later stamp."""
        recent = list(self.recent)
        place = next((index for index, event in enumerate(recent) if event.id == after), None)
        return [event for event in recent if event.id > after] if place is None else recent[place + 1 :]

    @property
    def n_listeners(self) -> int:
        return len(self._listeners)

    def _may_have_changed(self, folder: str) -> bool:
        """On a local disk, a folder's time changes with its names."""
        if not self.lake.home.is_local:
            return True
        try:
            changed_at = Path(self.lake.home.path(*_RECORDS, folder)).stat().st_mtime_ns
        except FileNotFoundError:
            changed_at = 0
        before, self._changed_at[folder] = self._changed_at.get(folder), changed_at
        # Two changes within one tick of the disk's clock have the same time: look once more after each.
        if before not in (changed_at, -changed_at):
            self._changed_at[folder] = -changed_at
        return before != changed_at

    def _events(self, folder: str, names: frozenset[str]) -> Iterator[Event]:
        for name in names:
            commit = Commit.parse(folder, name)
            try:
                yield self._failure(commit) if folder == FAILED else landed(commit)
            except (FileNotFoundError, StopIteration, PodlakeError):
                continue  # compaction or a removal was faster

    def _failure(self, commit: Commit) -> Event:
        rows = STAGE_RUNS.rows_of(self.lake.read_name(STAGE_RUNS, FAILED, commit.name))
        stage = next(iter(rows)).stage
        known: FailureRow | None = self.lake.failures(stage, [commit.key]).get(commit.key)
        return Event(
            f"{commit.stamp}.{stage}.{commit.key}", "failed", stage, commit.key, _feed(stage, commit.key),
            commit.landed_at, known.error_class if known else None, known.message if known else None,
        )  # fmt: skip


def landed(commit: Commit) -> Event:
    """The event of a landing."""
    return Event(
        f"{commit.stamp}.{commit.stage}.{commit.key}", "landed", commit.stage, commit.key,
        _feed(commit.stage, commit.key), commit.landed_at,
    )  # fmt: skip


@asynccontextmanager
async def watching(landings: Landings, deliver: Callable[[list[Event]], None]) -> AsyncIterator[None]:
    """Look every second, publish what is new, and call `deliver` with it in a thread, again until it succeeds."""

    async def watch() -> None:
        undelivered: list[Event] = []
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                events = await asyncio.to_thread(landings.look)
                landings.publish(events)
                undelivered += events
                if undelivered:
                    await asyncio.to_thread(deliver, undelivered)
                    undelivered = []
            except Exception:
                log.exception("The lake could not be watched; the next look is in %.0f s", LOOK_S)

    await asyncio.to_thread(landings.look)
    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def as_json(event: Event) -> Mapping[str, object]:
    """What clients get."""
    found: dict[str, object] = {
        "id": event.id, "kind": event.kind, "stage": event.stage, "key": event.key, "feed_id": event.feed_id,
        "at": event.at.isoformat(),
    }  # fmt: skip
    if event.kind == "failed":
        found |= {"error_class": event.error_class, "message": event.message}
    return found


def _feed(stage: str, key: str) -> str:
    return key if stage in FEED_STAGES else feed_of(key)
