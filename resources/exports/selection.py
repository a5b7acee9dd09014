"""Chooses the utterances of a data set: profile, licenses, blocked and forgotten episodes, splits, shards.

The rows are streamed to a local Parquet file, so that memory does not grow with their number.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from resources.exports.licenses import PERMISSIVE, identify, is_allowed
from resources.exports.rows import MEASURES, PLACED
from resources.exports.splits import Assignment, Speech, SplitRule, assign, groups
from resources.lake.commits import digest
from resources.lake.duckdb_files import retry_if_file_vanished
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tombstones import Tombstones
from resources.lake.warehouse import SQL, ask
from resources.profiles import Profile, load_profile
from speech.errors import PodlakeError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BLOCKED = "the feed or item asks to be left out (block)"
FORGOTTEN = "forgotten"
NO_AUDIO = "the audio is not kept; a materialization of `audio` fetches it again"
UNSTATED = "no license is stated"
ROWS_AT_ONCE = 1024
_COPIES = """
select audio_sha256, original_audio_sha256 from same_audio where audio_sha256 != original_audio_sha256 order by all
"""


@dataclass(frozen=True)
class Choice:
    """What a data set is made of."""

    profile: str | None = None
    """Quality profile; None keeps every utterance."""
    feeds: tuple[str, ...] = ()
    """Only these; none: all."""
    episodes: tuple[str, ...] = ()
    licenses: tuple[str, ...] = (PERMISSIVE,)
    split: SplitRule = field(default_factory=SplitRule)
    shard_minutes: float = 60.0
    """Minutes of audio in a shard. An interrupted export continues with the first shard that is not complete."""

    def __post_init__(self) -> None:
        if self.shard_minutes < 1:
            raise PodlakeError(f"A shard has at least one minute of audio, not {self.shard_minutes:g}.")


@dataclass(frozen=True)
class Source:
    """An episode of a data set, and what its license asks to be named."""

    episode_id: str
    audio_sha256: str
    n_utterances: int
    duration_ms: int
    """Of the utterances, before the profile."""
    feed_id: str
    guid: str
    enclosure_url: str
    published_at: datetime | None
    title: str | None
    authors: tuple[str, ...]
    feed_title: str | None
    link: str | None
    license: str | None
    license_url: str | None
    blocked: bool
    storage_uri: str | None


@dataclass(frozen=True, order=True)
class Excluded:
    """Utterances that the data set does not contain, for one reason."""

    reason: str
    n_episodes: int
    n_utterances: int
    duration_ms: int


@dataclass(frozen=True)
class Selection:
    """The rows of a data set, and why it lacks others."""

    rows: Path
    """Parquet with the schema `PLACED`, in the order of the data set."""
    profile: Profile | None
    """What it was chosen by."""
    sources: tuple[Source, ...]
    """The episodes that rows are from."""
    excluded: tuple[Excluded, ...]
    n_utterances: int
    duration_ms: int
    fingerprint: str
    """Changes with the rows."""
    lake_state: str
    """Changes with the landings that the episodes' rows are from."""
    n_groups: int
    """Sets of feeds and voices that stay together."""


def select(connection: DuckDBPyConnection, lake: Lake, choice: Choice, rows: Path) -> Selection:
    """Choose, and write the chosen rows to the file `rows`.

    Raises PodlakeError for an episode without utterances, and for a profile that does not exist or cannot be read.
    """
    profile = None if choice.profile is None else load_profile(lake.home, choice.profile)
    episodes = _episodes(connection, choice)
    reasons = _reasons(lake.home, episodes, choice.licenses)
    chosen = [one for one in episodes if one.episode_id not in reasons]
    excluded = _excluded((reasons[one.episode_id], one) for one in episodes if one.episode_id in reasons)
    return retry_if_file_vanished(lambda: _select(connection, lake, choice, profile, rows, chosen, excluded))


def _select(
    connection: DuckDBPyConnection,
    lake: Lake,
    choice: Choice,
    profile: Profile | None,
    path: Path,
    chosen: Sequence[Source],
    excluded: Sequence[Excluded],
) -> Selection:
    connection.register("export_episodes", _episode_table(chosen))
    connection.execute(_sql("utterances"), {"profile": choice.profile or ""}).fetchall()
    assignment = _register_speakers(connection, choice.split)
    fingerprint, n_utterances, duration_ms = _write_rows(connection, choice, path)
    found = connection.execute("select distinct episode_id from export_utterances where keep").fetchall()
    kept = {key for (key,) in found}
    sources = tuple(one for one in chosen if one.episode_id in kept)
    return Selection(
        path,
        profile,
        sources,
        (*excluded, *_dropped(connection, choice)),
        n_utterances,
        duration_ms,
        fingerprint,
        lake_state(lake, sources),
        assignment.n_groups,
    )


def _sql(name: str) -> str:
    return (SQL / "exports" / f"{name}.sql").read_text()


def _episodes(connection: DuckDBPyConnection, choice: Choice) -> list[Source]:
    asked = {"feeds": list(choice.feeds), "episodes": list(choice.episodes)}
    rows = [_source(*row) for row in ask(connection, _sql("episodes"), asked)]
    if missing := sorted(set(choice.episodes) - {row.episode_id for row in rows}):
        raise PodlakeError(f"{missing[0]} has no utterances. `podlake status {missing[0]}` says how far it is.")
    return rows


def _source(*row: Any) -> Source:
    source = Source(*row)
    license_id = identify(source.license, source.license_url)
    return replace(source, authors=tuple(source.authors), license=license_id)


def _reasons(home: Home, episodes: Sequence[Source], licenses: Collection[str]) -> dict[str, str]:
    """Episode → why it is left out, for those that are."""
    tombstones = Tombstones.read(home)
    kept = _stored(home, [one.storage_uri for one in episodes if one.storage_uri])
    found = {}
    for one in episodes:
        if one.blocked:
            found[one.episode_id] = BLOCKED
        elif tombstones.has(one.feed_id, one):
            found[one.episode_id] = FORGOTTEN
        elif not is_allowed(one.license, licenses):
            stated = f"license {one.license}: --license {one.license} includes it"
            found[one.episode_id] = stated if one.license else UNSTATED
        elif one.storage_uri not in kept:
            found[one.episode_id] = NO_AUDIO
    return found


def _stored(home: Home, uris: Sequence[str]) -> set[str]:
    """Those of the audio files that exist."""
    infos = home.filesystem.get_file_info([home.path(uri) for uri in uris])
    return {uri for uri, info in zip(uris, infos, strict=True) if info.type == fs.FileType.File}


def _excluded(reasons: Iterable[tuple[str, Source]]) -> list[Excluded]:
    by_reason = defaultdict(list)
    for reason, source in reasons:
        by_reason[reason].append(source)
    return [
        Excluded(reason, len(found), sum(one.n_utterances for one in found), sum(one.duration_ms for one in found))
        for reason, found in sorted(by_reason.items())
    ]


def _dropped(connection: DuckDBPyConnection, choice: Choice) -> list[Excluded]:
    """What the profile drops: each utterance counts for each of its reasons, and once in the sum."""
    total = connection.execute(
        "select count(distinct episode_id), count(*), coalesce(sum(duration_ms), 0)::bigint "
        "from export_utterances where not keep"
    ).fetchall()
    by_reason = connection.execute(
        "select reason, count(distinct episode_id), count(*), sum(duration_ms)::bigint "
        "from (select unnest(drop_reasons) as reason, * from export_utterances where not keep) "
        "group by reason order by reason"
    ).fetchall()
    if choice.profile is None or not total[0][1]:
        return []
    head = f"profile {choice.profile}"
    return [Excluded(head, *total[0]), *[Excluded(f"{head}: {reason}", *counts) for reason, *counts in by_reason]]


def _episode_table(chosen: Sequence[Source]) -> pa.Table:
    names = ("episode_id", "audio_sha256", "feed_id", "license", "storage_uri")
    return pa.table({name: pa.array([getattr(one, name) for one in chosen], pa.string()) for name in names})


def _register_speakers(connection: DuckDBPyConnection, rule: SplitRule) -> Assignment:
    """Make the table of speakers with their splits. Voices of different feeds that are one person have one name."""
    tied = connection.execute("select voice_id, same_as from voices where same_as is not null order by all").fetchall()
    same = groups(tied)
    copies = groups(connection.execute(_COPIES).fetchall())
    found = connection.execute(
        "select global_speaker, feed_id, audio_speaker, sum(duration_ms)::bigint, audio_sha256 from export_utterances "
        "where keep group by all order by all"
    ).fetchall()
    speech = [
        Speech(same.get(speaker, speaker), feed_id, audio_speaker, duration_ms, copies.get(sha256))
        for speaker, feed_id, audio_speaker, duration_ms, sha256 in found
    ]
    assignment = assign(speech, rule)
    names = {speaker: same.get(speaker, speaker) for speaker, *_ in found}
    table = {
        "global_speaker": list(names),
        "name": list(names.values()),
        "split": [assignment.split_of[name] for name in names.values()],
    }
    connection.register(
        "export_speakers", pa.table({name: pa.array(column, pa.string()) for name, column in table.items()})
    )
    return assignment


def _write_rows(connection: DuckDBPyConnection, choice: Choice, path: Path) -> tuple[str, int, int]:
    """Returns fingerprint, number and duration of the rows."""
    content = hashlib.sha256()
    n_utterances = duration_ms = 0
    statement = Template(_sql("rows")).safe_substitute(
        measures=", ".join(MEASURES), shard_ms=round(60_000 * choice.shard_minutes)
    )
    answer = connection.sql(statement).to_arrow_reader(ROWS_AT_ONCE)
    with pq.ParquetWriter(path, PLACED, compression="zstd") as writer:
        for batch in answer:
            rows = pa.Table.from_batches([batch]).cast(PLACED)
            writer.write_table(rows)
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, PLACED.remove_metadata()) as stream:
                stream.write_table(rows.cast(PLACED.remove_metadata()).combine_chunks())
            content.update(sink.getvalue())
            n_utterances += rows.num_rows
            duration_ms += pc.sum(rows["duration_ms"]).as_py() or 0
    return content.hexdigest()[:16], n_utterances, duration_ms


def lake_state(lake: Lake, sources: Sequence[Source]) -> str:
    """A fingerprint of the landings that the rows are from: utterances, and catalogue and voices of their feeds."""
    keys = sorted({one.episode_id for one in sources})
    feeds = sorted({one.feed_id for one in sources})
    return digest(
        lake.state(stage, names) for stage, names in (("utterances", keys), ("episodes", feeds), ("voices", feeds))
    )
