"""Removes audio files of complete episodes that are too old or too many. The rows made from them stay."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path, PurePosixPath

from dagster import DagsterInstance
from pyarrow import fs

from partitions.definitions import EPISODES
from pipeline.in_flight import in_flight
from pipeline.lake_state import LakeState
from pipeline.readiness import Episode, PlanSettings, readiness
from resources.fetch.audio_store import AudioStore
from resources.lake.compaction import exclusive
from resources.lake.graph import StageGraph
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import REMOVED_AUDIO
from resources.lake.tables.audio import RemovedAudioRow
from resources.lake.warehouse import ask, connect
from speech.errors import PodlakeError
from speech.opus_copy import opus_copy

log = logging.getLogger("podlake")

FETCHED_AGAIN_FOR = timedelta(days=1)
"""Audio that is fetched again for a complete episode is kept so long, or until a stage has used it."""
_RECORDED_TOGETHER = 100
_ACQUIRED = """
select
    audio_sha256, max(fetched_at), arg_max(if(starts_with(final_url, 'file:'), requested_url, null), fetched_at),
    list(distinct episode_id order by episode_id)
from lake.acquisitions group by audio_sha256 order by max(fetched_at), audio_sha256
"""


@dataclass(frozen=True)
class AudioRule:
    """How much audio of complete episodes is kept. None: no limit."""

    max_age: timedelta | None = None
    """Since it was fetched. Zero: none is kept."""
    max_bytes: float | None = None
    """Of all stored audio; the earliest fetched is removed first."""
    copies: bool = False
    """A mono Opus copy stays of what is removed."""


@dataclass(frozen=True)
class Removal:
    """The files of one acquisition that the rule removes."""

    audio_sha256: str
    uris: tuple[str, ...]
    bytes: int
    fetched_at: datetime
    episodes: tuple[str, ...]
    reason: str
    """`age` or `size`."""


def removals(instance: DagsterInstance, lake: Lake, graph: StageGraph, rule: AudioRule, now: datetime) -> list[Removal]:
    """What the rule removes now, the earliest fetched first. Bytes that an incomplete episode shares stay.

    So does a file that was added by its path, if the path no longer exists: it could not be fetched again.
    """
    if rule.max_age is None and rule.max_bytes is None:
        return []
    files = _stored(lake.home)
    with connect(lake.home) as connection:
        acquired = [row for row in ask(connection, _ACQUIRED) if row[0] in files]
    idle = _idle(instance, lake, graph, sorted({key for *_, keys in acquired for key in keys}), now)
    total_bytes = sum(info.size for infos in files.values() for info in infos)
    found = []
    for digest, fetched_at, source, keys in acquired:
        is_old = rule.max_age is not None and now - fetched_at >= rule.max_age
        is_over = rule.max_bytes is not None and total_bytes > rule.max_bytes
        is_only = source is not None and not Path(source).exists()  # a file that the user added, and removed
        if (is_old or is_over) and not is_only and idle.issuperset(keys):
            uris = tuple(info.path.removeprefix(f"{lake.home.root}/") for info in files[digest])
            size = sum(info.size for info in files[digest])
            found.append(Removal(digest, uris, size, fetched_at, tuple(keys), "age" if is_old else "size"))
            total_bytes -= size
    return found


def remove_audio(
    lake: Lake, store: AudioStore, chosen: Sequence[Removal], *, copies: bool, run_id: str
) -> Iterator[RemovedAudioRow]:
    """Record the removals, then delete the files. Yields what was removed; audio that cannot be copied stays."""
    for start in range(0, len(chosen), _RECORDED_TOGETHER):
        some = chosen[start : start + _RECORDED_TOGETHER]
        rows = {one: row for one in some if (row := _row(one, store, copies=copies, run_id=run_id))}
        _record(lake, list(rows.values()))
        for one, row in rows.items():
            for uri in one.uris:
                lake.home.remove(uri)
            yield row


def _stored(home: Home) -> dict[str, list[fs.FileInfo]]:
    """SHA-256 → the files of the store."""
    selector = fs.FileSelector(home.path("audio"), recursive=True, allow_not_found=True)
    found: dict[str, list[fs.FileInfo]] = {}
    for info in home.filesystem.get_file_info(selector):
        if info.type == fs.FileType.File and info.base_name[0] != ".":
            found.setdefault(PurePosixPath(info.path).stem, []).append(info)
    copies = {row.copy_sha256 for row in _recorded(home)}
    return {digest: infos for digest, infos in found.items() if digest not in copies}


def _idle(
    instance: DagsterInstance, lake: Lake, graph: StageGraph, keys: Collection[str], now: datetime
) -> frozenset[str]:
    """The keys that no stage needs audio for: complete, not in flight, without failures, and not just fetched again."""
    state = LakeState.from_rows(lake, graph, keys)
    flying = in_flight(instance, instance.get_dynamic_partitions(EPISODES.name or ""))
    settings = PlanSettings(batch_sizes={})
    found = readiness(graph, dict.fromkeys(keys, Episode()), state.commits, state.failures, flying, settings, now)
    last = [state.commits[name] for name in graph.terminal]
    complete = frozenset(found.finished).intersection(*last) - flying.all_keys() - set().union(*state.failures.values())

    def is_awaited(key: str) -> bool:
        fetched_at = [state.commits[stage.name][key].landed_at for stage in graph if not stage.inputs]
        used_at = max(landed[key].landed_at for landed in last)
        return any(used_at < at and now - at < FETCHED_AGAIN_FOR for at in fetched_at)

    return frozenset(key for key in complete if not is_awaited(key))


def _row(removal: Removal, store: AudioStore, *, copies: bool, run_id: str) -> RemovedAudioRow | None:
    """The record of the removal, with a copy if wanted. None: the copy failed, so the audio stays."""
    digest = uri = None
    copied = b""
    if copies:
        import av

        try:
            copied = opus_copy(store.local(removal.uris[0]))
            digest = sha256(copied).hexdigest()
            with store.home.writing(uri := f"audio/{digest[:2]}/{digest}.opus") as stream:
                stream.write(copied)
        except (av.FFmpegError, PodlakeError) as error:
            log.warning("%s stays, because it could not be copied: %s", removal.uris[0], error)
            return None
    return RemovedAudioRow(
        audio_sha256=removal.audio_sha256, bytes=removal.bytes, reason=removal.reason, copy_sha256=digest,
        copy_bytes=len(copied) if copies else None, copy_uri=uri, run_id=run_id, landed_at=datetime.now(UTC),
    )  # fmt: skip


def _recorded(home: Home) -> list[RemovedAudioRow]:
    rows = Lake(home).read_file(REMOVED_AUDIO, REMOVED_AUDIO.landing_key())
    return [] if rows is None else REMOVED_AUDIO.rows_of(rows)


def _record(lake: Lake, rows: Sequence[RemovedAudioRow]) -> None:
    """Add the rows to the table, in place of earlier ones of the same audio."""
    with exclusive(lake.home):
        found = {row.audio_sha256: row for row in (*_recorded(lake.home), *rows)}
        lake.replace(REMOVED_AUDIO, REMOVED_AUDIO.landing_key(), REMOVED_AUDIO.of(found.values()))
