"""`podlake add FILE`: lands lists of millions of audio URLs in the catalogue, in feeds of limited size."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import pyarrow as pa
from rich.console import Console
from rich.progress import Progress

from dagster_project.commands.import_lines import FORMATS, Bad, Kind, Line, read_lines
from partitions.credentials import without_credentials
from partitions.languages import normalise_language
from resources.lake import warehouse
from resources.lake.catalogue import Catalogue, Imported
from resources.lake.catalogue_landing import land_feed
from resources.lake.duckdb_files import prepare, retry_if_file_vanished
from resources.lake.tables import EPISODES, POLLS
from resources.lake.tables.catalogue import EpisodeRow, PollRow
from resources.lake.tombstones import IMPORTED, Tombstones

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FEED_EPISODES = 10_000
"""Episodes of one feed of imports at most: a stage reads the rows of a whole feed to find one episode."""
_AT_ONCE = 50_000
_MEMORY = "400MB"
_SCHEMA = pa.schema(
    [("number", pa.int64()), ("url", pa.string()), ("secret_url", pa.string()), ("language_declared", pa.string()), ("language", pa.string()),
     ("title", pa.string()), ("guid", pa.string()), ("published_at", pa.timestamp("us", "UTC"))]
)  # fmt: skip

_NEW = """
create table new as
with first as (
    from lines where url not in (select enclosure_url from known)
    qualify row_number() over (partition by url order by number) = 1
), named as (
    -- A guid that several URLs share is made unique, as in feeds.
    select * replace (
        case when guid is null then url
        when count(*) over (partition by guid) > 1 or guid in (select guid from known where is_imported)
        then guid || '#' || left(sha256(url), 8) else guid end as guid)
    from first
), placed as (
    select *, $last + (row_number() over (order by number) - 1 + $in_last) // $size as part from named
), keyed as (
    select *, format('imported-{:04d}-{}-', part, coalesce(strftime(published_at, '%Y%m%d'), 'undated')) as start,
    from placed
)
select * exclude (start), start || left(sha256(guid), if(
    count(*) over (partition by start, left(sha256(guid), 8)) > 1
    or start || left(sha256(guid), 8) in (select episode_id from known where is_imported), 16, 8)) as episode_id
from keyed order by number
"""


@dataclass
class ImportedLines:
    """What came of a list."""

    audio: int = 0
    feeds: int = 0
    duplicates: int = 0
    """Lines whose URL is in the catalogue, or in an earlier line."""
    forgotten: int = 0
    bad: Bad = field(default_factory=Bad)

    def summary(self) -> str:
        parts = [f"{self.audio} audio files and {self.feeds} feeds added, {self.duplicates} already present"]
        parts += [f"{self.forgotten} left out because they were forgotten"] if self.forgotten else []
        parts += [f"{self.bad.count} bad lines"] if self.bad.count else []
        return "\n".join([", ".join(parts), *(f"  {reason}" for reason in self.bad.first)])


def is_list(target: str, form: str | None) -> bool:
    """Whether the target is a list of URLs. An OPML file can also be at a URL, and is recognised by its content."""
    return target == "-" or (
        "://" not in target and (form is not None or Path(target).suffix[1:].lower() in FORMATS[:3])
    )


def import_file(
    catalogue: Catalogue, name: str, form: str | None, *, kind: Kind | None = None, language: str | None = None
) -> ImportedLines:
    """Add what a file lists, or standard input for `-`. A bad line does not affect the others."""
    form = form or (Path(name).suffix[1:].lower() if name != "-" else FORMATS[0])
    done = ImportedLines()
    with _opened(name) as stream, _progress(name) as lines_read:
        lines = read_lines(form, lines_read(stream), done.bad, kind)
        if language:
            lines = (line if line.language else replace(line, language=language) for line in lines)
        import_lines(catalogue, lines, done)
    return done


def import_lines(catalogue: Catalogue, lines: Iterable[Line], done: ImportedLines) -> None:
    """Add the feeds and the audio, and count them in `done`."""
    import duckdb

    feeds: dict[str | None, dict[str, str | None]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="podlake-import-") as folder,
        duckdb.connect(str(Path(folder) / "lines.duckdb"), config={"memory_limit": _MEMORY}) as connection,
    ):
        connection.execute("set timezone = 'UTC'")
        connection.register("empty", _SCHEMA.empty_table())
        connection.execute("create table lines as from empty")
        _load(connection, _audio(lines, feeds, Tombstones.read(catalogue.home), done))
        _land(connection, catalogue, done)
    for language, found in feeds.items():
        new = len(catalogue.subscribe(found.items(), language))
        done.feeds, done.duplicates = done.feeds + new, done.duplicates + len(found) - new


def _audio(
    lines: Iterable[Line], feeds: dict[str | None, dict[str, str | None]], tombstones: Tombstones, done: ImportedLines
) -> Iterator[Line]:
    """The lines of audio. Those of feeds are put into `feeds`: language → URL → title."""
    for line in lines:
        if line.kind == "feed":
            feeds.setdefault(line.language, {}).setdefault(line.url, line.title)
        elif tombstones.hashes and tombstones.has(f"{IMPORTED}-", _as_row(line)):
            done.forgotten += 1
        else:
            yield line


def _as_row(line: Line) -> EpisodeRow:
    now = datetime.now(UTC)
    return EpisodeRow(
        episode_id="", guid=line.guid or line.url, enclosure_url=line.url, published_at=line.published_at, listed=True,
        transcript_urls=(), first_seen_at=now, last_changed_at=now,
    )  # fmt: skip


def _load(connection: DuckDBPyConnection, lines: Iterable[Line]) -> None:
    number = 0
    remaining = iter(lines)
    while some := list(islice(remaining, _AT_ONCE)):
        columns = zip(
            *((number + n, *_shown_and_secret(line.url), line.language, normalise_language(line.language),
               line.title and without_credentials(line.title), line.guid and without_credentials(line.guid),
               line.published_at) for n, line in enumerate(some)),
            strict=True,
        )  # fmt: skip
        rows = pa.Table.from_arrays(
            [pa.array(column, one.type) for column, one in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
        )
        connection.register("some_lines", rows)
        connection.execute("insert into lines from some_lines")
        number += len(some)


def _shown_and_secret(url: str) -> tuple[str, str | None]:
    """The URL that tables show, and the one to fetch if that has credentials. Two that differ only in them are two."""
    shown = without_credentials(url)
    return (url, None) if shown == url else (f"{shown}#{sha256(url.encode()).hexdigest()[:8]}", url)


def _land(connection: DuckDBPyConnection, catalogue: Catalogue, done: ImportedLines) -> None:
    """Choose the lines that are new, and land them feed by feed."""
    ((n_lines,),) = connection.execute("select count(*) from lines").fetchall()
    if not n_lines:
        return
    parts = {int(feed.feed_id.rpartition("-")[2]): feed for feed in catalogue.imported()}
    last = max(parts, default=1)
    _read_known(connection, catalogue)
    in_last = parts[last].n_items if last in parts else 0
    connection.execute(_NEW, {"last": last, "in_last": in_last, "size": FEED_EPISODES})
    for part, count in connection.execute("select part, count(*) from new group by part order by part").fetchall():
        feed = Imported(f"{IMPORTED}-{part:04d}", count + (in_last if part == last else 0), datetime.now(UTC))
        rows = connection.sql("from new where part = $part order by number", params={"part": part})
        _land_part(catalogue, feed, rows.to_arrow_table())
        done.audio += count
    done.duplicates += n_lines - done.audio


def _read_known(connection: DuckDBPyConnection, catalogue: Catalogue) -> None:
    """The URLs and guids of the catalogue."""
    path = str(warehouse.build(catalogue.home)).replace("'", "''")
    prepare(connection, catalogue.home)
    connection.execute(f"attach '{path}' as warehouse (read_only)")
    retry_if_file_vanished(
        lambda: connection.execute(
            "create or replace table known as select enclosure_url, guid, episode_id, "
            f"starts_with(feed_id, '{IMPORTED}-') as is_imported from warehouse.lake.episodes"
        )
    )


def _land_part(catalogue: Catalogue, feed: Imported, new: pa.Table) -> None:
    now, n_new = datetime.now(UTC), new.num_rows
    constants = {
        "feed_id": feed.feed_id, "listed": True, "transcript_urls": [], "first_seen_at": now, "last_changed_at": now,
        "run_id": "podlake-add", "landed_at": now,
    }  # fmt: skip
    own = new.rename_columns(["enclosure_url" if name == "url" else name for name in new.column_names])
    columns = [
        own[one.name].cast(one.type)
        if one.name in own.column_names
        else pa.array([constants.get(one.name)] * n_new, one.type)
        for one in EPISODES.schema
    ]
    rows = pa.Table.from_arrays(columns, schema=EPISODES.schema)
    secrets = zip(*(new[name].to_pylist() for name in ("episode_id", "url", "secret_url")), strict=True)
    catalogue.episode_secrets(feed.feed_id).add({f"{key} {shown}": url for key, shown, url in secrets if url})
    before = catalogue.lake.read(EPISODES, feed.feed_id)
    rows = rows if before is None else pa.concat_tables([before, rows])
    poll = PollRow(title="Imported", categories=(), last_polled_at=now, n_episodes=rows.num_rows, problems=())
    polls = POLLS.of([poll], feed_id=feed.feed_id, run_id="podlake-add", landed_at=now)
    land_feed(catalogue.lake, feed.feed_id, {EPISODES.name: rows, POLLS.name: polls}, "podlake-add")
    catalogue.add_imported(feed)


@contextmanager
def _opened(name: str) -> Iterator[TextIO]:
    if name == "-":
        yield sys.stdin
        return
    with Path(name).expanduser().open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        yield stream


@contextmanager
def _progress(name: str) -> Iterator[Callable[[TextIO], Iterator[str]]]:
    """Shows on a terminal how much of the file has been read."""
    size = Path(name).expanduser().stat().st_size if name != "-" else None
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("reading", total=size)

        def counted(stream: TextIO) -> Iterator[str]:
            for number, line in enumerate(stream):
                yield line
                if size and number % 1000 == 0:  # an update of the bar takes as long as reading ten lines
                    progress.update(task, completed=stream.buffer.tell())
            progress.update(task, completed=size)

        yield counted
