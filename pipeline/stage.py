"""A stage: one step of the graph, with the code that does its work.

A stage declares its inputs and tables, calls resources and returns rows. The batch contract (`pipeline.contract`)
does the rest: batches, retries, commits, events and metadata.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from typing import Any

import pyarrow as pa
from dagster import AssetMaterialization, DynamicPartitionsDefinition

from partitions.credentials import without_credentials
from partitions.definitions import EPISODES, FEEDS, LESSONS, PODCASTS, VIDEOS
from resources.lake.graph import StageSpec
from resources.lake.lake import Lake
from resources.lake.tables.pipeline import StageRunRow
from resources.lake.tables.table import FILLED, Row_co, Table
from resources.logs import log_fields, with_log_fields
from speech.errors import PodlakeError, UpstreamMissing
from speech.types import SpokenLanguage


@dataclass(frozen=True)
class Batch:
    """The partitions of one run."""

    keys: tuple[str, ...]
    upstream: Mapping[str, Mapping[str, StageRunRow]]
    """Stage → key → the record of its last landing. Every key has one for each upstream stage."""
    optional: Mapping[str, Mapping[str, StageRunRow]] = field(default_factory=dict)
    """The same for the optional inputs, of the keys for which they have landed."""
    write: Callable[[Landing], Written | Failure] | None = None
    """Writes and commits a landing in the calling thread, for stages whose landings take longer than their work."""

    def audio_sha256(self, key: str) -> str:
        """The acquisition that all upstream rows of the episode were made from.

        Raises `UpstreamMissing` where they were made from different ones.
        """
        made_from = {name: landed[key].audio_sha256 for name, landed in self.upstream.items()}
        if len(set(made_from.values())) != 1:
            stages = " and ".join(made_from)
            raise UpstreamMissing(
                f"{stages} of {key} were made from different bytes: the audio has changed. Materialize them again."
            )
        return str(next(iter(made_from.values())))

    def rows(self, lake: Lake, table: Table[Row_co], key: str) -> list[Row_co]:
        """The rows of an input's table, as landed by the commit that this batch was given.

        Raises `UpstreamMissing` if another landing has replaced it: its rows would not fit the others.
        """
        return _landed_rows(lake, table, self.upstream[table.asset][key])

    def optional_rows(self, lake: Lake, table: Table[Row_co], key: str) -> list[Row_co] | None:
        """The same for an optional input; None if it has not landed."""
        landed = self.optional[table.asset].get(key)
        return None if landed is None else _landed_rows(lake, table, landed)


def _landed_rows(lake: Lake, table: Table[Row_co], landed: StageRunRow) -> list[Row_co]:
    rows = lake.read_landing(table, landed.commit)
    if rows is None:
        raise UpstreamMissing(
            f"{table.asset} of {landed.episode_id} has landed again while this run worked. It is tried again."
        )
    return table.rows_of(rows)


@dataclass(frozen=True)
class Cost:
    """What an episode cost, and the engine that worked on it; a row of `stage_runs`."""

    audio_sha256: str | None = None
    engine_fingerprint: str | None = None
    engine: str | None = None
    model: str | None = None
    device: str | None = None
    peak_device_mb: float | None = None
    speaker_capacity: int | None = None
    speech_ms: int | None = None
    dropped_words: int | None = None
    spoken_languages: tuple[SpokenLanguage, ...] | None = None
    spoken_language_absent_reason: str | None = None
    download_ms: int | None = None
    decode_ms: int | None = None
    engine_ms: int | None = None
    audio_ms: int | None = None
    engine_utilization: float | None = None
    reused_from: str | None = None
    worker: str | None = None
    worker_host: str | None = None
    worker_version: str | None = None
    redone_from: str | None = None

    @property
    def rtfx(self) -> float | None:
        return self.audio_ms / self.engine_ms if self.audio_ms and self.engine_ms else None


@dataclass(frozen=True)
class Landing:
    """An episode's rows, ready to be landed."""

    key: str
    rows: Mapping[str, Sequence[object]]
    """Table's name → rows (dataclasses or mappings) without the columns that every derived row carries."""
    cost: Cost = field(default_factory=Cost)
    links: Mapping[str, str] = field(default_factory=dict)
    """Label → URL, shown in the UI."""
    gathered: Mapping[str, str] = field(default_factory=dict)
    """Stage that it gathers → version of the landings that were read."""


@dataclass(frozen=True)
class Failure:
    """An episode that failed, and why."""

    key: str
    error: Exception
    cost: Cost = field(default_factory=Cost)

    @property
    def error_class(self) -> str:
        return self.error.error_class if isinstance(self.error, PodlakeError) else PodlakeError.error_class

    @property
    def message(self) -> str:
        """What rows, events and logs say. Errors of libraries may quote whole URLs."""
        is_own = isinstance(self.error, PodlakeError)
        return without_credentials(str(self.error) if is_own else f"{type(self.error).__name__}: {self.error}")


@dataclass(frozen=True)
class Unchanged:
    """A partition whose last landing is still right. It does not land again, and Dagster needs no event."""

    key: str
    row: object
    """What `Stage.note_unchanged` writes of it."""


@dataclass(frozen=True)
class Written:
    """A landing whose rows are visible, and of which Dagster has no event yet."""

    landing: Landing
    tables: Mapping[str, pa.Table]
    event: AssetMaterialization

    @property
    def key(self) -> str:
        return self.landing.key


Outcome = Landing | Written | Failure | Unchanged
Work = Callable[..., Iterator[Outcome]]
UiMetadata = Callable[[Mapping[str, pa.Table]], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Stage(StageSpec):
    """One step of the stage graph, with the code that does the work.

    It decorates that code, a function `(batch, resource, …) -> outcomes`, and takes name and description from it.
    """

    name: str = FILLED
    work: Work = FILLED
    ui_metadata: UiMetadata
    """The landed tables → what the UI shows of them."""
    group: str
    batch_size: int = 32
    catalogue: tuple[str, ...] = ()
    """Assets that it reads by key: in the lineage, but no re-poll makes it outdated."""
    kinds: frozenset[str] = frozenset({"parquet"})
    data_version_columns: tuple[str, ...] = ()
    """The columns whose content is the landing's data version; none: all of them."""
    after_batch: Callable[..., None] | None = None
    """Called with the instance, the tables of each landing, and the resources that its keyword parameters name.

    A run calls it once, or more often where it lands more than `after_batch.REMEMBERED_BYTES`. What a killed run has
    landed is given to it later, and a landing may be given to it twice.
    """

    note_unchanged: Callable[[Lake, Sequence[Any]], None] | None = None
    """Writes the rows of all `Unchanged` outcomes of a run. Most partitions of such a stage are unchanged, so the runs
    that we request name their keys in our tag only: Dagster logs no planned event per partition."""

    def __call__(self, work: Work) -> Stage:
        return replace(self, name=work.__name__, work=work)

    @property
    def description(self) -> str:
        return inspect.getdoc(self.work) or ""

    @property
    def partitions(self) -> DynamicPartitionsDefinition:
        return {"feed": FEEDS, "episode": EPISODES, "podcast": PODCASTS, "lesson": LESSONS, "video": VIDEOS}[
            self.partition_kind
        ]

    @property
    def needs(self) -> frozenset[str]:
        """The resources that the work asks for: its parameters after the batch."""
        return frozenset(list(inspect.signature(self.work).parameters)[1:])

    @property
    def needs_after_batch(self) -> frozenset[str]:
        """The resources that `after_batch` asks for: its parameters after the instance and the tables."""
        return frozenset(list(inspect.signature(self.after_batch).parameters)[2:] if self.after_batch else ())


def each(
    keys: Sequence[str],
    do: Callable[[str], Landing | Unchanged],
    *,
    workers: int = 1,
    write: Callable[[Landing], Written | Failure] | None = None,
) -> Iterator[Outcome]:
    """Do the keys one by one, or `workers` at once. An exception is the failure of its key only.

    With `write`, the worker that has made a landing writes it too.

    At most 2 × `workers` outcomes are in work or wait for the caller, so that memory is bounded. The threads are
    daemons: an interrupted run does not wait until a download ends.
    """
    waiting: SimpleQueue[str] = SimpleQueue()
    done: SimpleQueue[Outcome | BaseException] = SimpleQueue()
    ahead = Semaphore(2 * workers)

    def work() -> None:
        with suppress(Empty):
            while ahead.acquire():
                key = waiting.get_nowait()
                try:
                    with log_fields(key=key):
                        made = do(key)
                        done.put(write(made) if write and isinstance(made, Landing) else made)
                except Exception as error:  # noqa: BLE001 - the batch contract classifies it
                    done.put(Failure(key, error))
                except BaseException as error:  # noqa: BLE001 - raised in the main thread
                    done.put(error)

    for key in keys:
        waiting.put(key)
    for _ in range(min(workers, len(keys))):
        Thread(target=with_log_fields(work), daemon=True).start()
    try:
        for _ in keys:
            outcome = done.get()
            if isinstance(outcome, BaseException):
                raise outcome
            ahead.release()
            yield outcome
    finally:
        with suppress(Empty):
            while True:
                waiting.get_nowait()
        ahead.release(workers)  # threads that wait find no key and end
