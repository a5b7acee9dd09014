"""Removes every byte of episodes and feeds from the lake and from the audio store.

Each step can be repeated: a removal that was killed is completed by the next one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from partitions.keys import feed_of
from resources.lake.catalogue_landing import FEED_TABLES, land_feed
from resources.lake.compaction import exclusive, remove, remove_requested, supersede
from resources.lake.home import Home
from resources.lake.lake import OPEN, Lake
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import (
    ACQUISITIONS,
    FAILURES,
    REMOVED_AUDIO,
    REPEATED_AUDIO,
    SAME_AUDIO,
    SPEAKER_LINKS,
    STAGE_RUNS,
    VOICES,
    Table,
)
from resources.lake.tables.table import Row_co
from resources.lake.tombstones import IMPORTED
from resources.lake.unchanged_polls import forget_unchanged
from resources.lake.voice_decisions import FOLDER as VOICE_DECISIONS
from resources.lake.voice_decisions import decided_feeds, decisions_of, forget_pins, forget_same_as
from resources.lake.warehouse import ask, connect
from speech.voices import feed_of_voice


@dataclass(frozen=True)
class StoredAudio:
    """The bytes that were fetched for some episodes and that no other episode has."""

    sha256: frozenset[str]
    files: tuple[str, ...]
    """Paths in the file system of the home."""
    bytes: int


def audio_of(lake: Lake, keys: Collection[str]) -> StoredAudio:
    """All bytes ever fetched for the episodes, except those that another episode has too."""
    found = _acquired(lake, keys)
    with connect(lake.home) as connection:
        others = ask(
            connection,
            "select distinct audio_sha256 from lake.acquisitions where audio_sha256 in (select unnest($found)) "
            "and episode_id not in (select unnest($keys))",
            {"found": sorted(found), "keys": sorted(keys)},
        )
    own = found - {sha256 for (sha256,) in others}
    removed = lake.read_file(REMOVED_AUDIO, REMOVED_AUDIO.landing_key())
    copies = [] if removed is None else [row for row in REMOVED_AUDIO.rows_of(removed) if row.audio_sha256 in own]
    own |= {row.copy_sha256 for row in copies if row.copy_sha256}
    infos = [info for sha256 in sorted(own) for info in _stored(lake.home, sha256)]
    return StoredAudio(frozenset(own), tuple(info.path for info in infos), sum(info.size or 0 for info in infos))


def _acquired(lake: Lake, keys: Collection[str]) -> set[str]:
    return {row.audio_sha256 for row in rows_of_all_landings(lake, ACQUISITIONS, keys)}


def rows_of_all_landings(lake: Lake, table: Table[Row_co], keys: Collection[str]) -> list[Row_co]:
    """The rows of the keys, also those of older landings and of landings without a commit."""
    names = lake.home.names("lake", table.name, OPEN)
    own = [name.removesuffix(".parquet") for name in names if name.partition("@")[0] in keys]
    parts = [SealedFiles(lake.home, table).all_rows(sorted(keys)), *(lake.read_name(table, name) for name in own)]
    return [row for rows in parts for row in table.rows_of(rows)]


def forget_requested(lake: Lake, key: str, column: str) -> None:
    """Remove the rows of a podcast, lesson or video from every table."""
    remove_requested(lake, key, column)
    _remove_unfinished(lake.home, [key])


def _stored(home: Home, sha256: str) -> Iterator[fs.FileInfo]:
    selector = fs.FileSelector(home.path("audio", sha256[:2]), allow_not_found=True)
    yield from (info for info in home.filesystem.get_file_info(selector) if sha256 in info.base_name)


def forget_episodes(lake: Lake, keys: Collection[str]) -> None:
    """Remove the episodes' rows from every table, also from the catalogue and from the voices of their feeds."""
    remove(lake, keys)
    feeds = sorted({feed_of(key) for key in keys})
    with exclusive(lake.home):
        _forget_copies(lake, keys)
        for feed_id in feeds:
            forget_pins(lake.home, feed_id, keys)
            for stage in FEED_TABLES:
                _reland(lake, stage, feed_id, keys)
        _remove_superseded(lake, feeds)
    _remove_unfinished(lake.home, keys)


def _forget_copies(lake: Lake, keys: Collection[str]) -> None:
    """Remove the rows that name the episodes as copies or as originals. The next search finds other originals."""
    found = lake.read_file(SAME_AUDIO, SAME_AUDIO.landing_key())
    if found is not None:
        forgotten = pa.array(sorted(keys), pa.string())
        named = [pc.is_in(found[column], forgotten) for column in ("episode_id", "original_episode_id")]
        lake.replace(SAME_AUDIO, SAME_AUDIO.landing_key(), found.filter(pc.invert(pc.or_(*named))))


def forget_removed_audio(lake: Lake, sha256: Collection[str]) -> None:
    """Remove the records of audio that retention has removed."""
    with exclusive(lake.home):
        found = lake.read_file(REMOVED_AUDIO, REMOVED_AUDIO.landing_key())
        if found is not None:
            rest = found.filter(pc.invert(pc.is_in(found["audio_sha256"], pa.array(sorted(sha256), pa.string()))))
            lake.replace(REMOVED_AUDIO, REMOVED_AUDIO.landing_key(), rest)


def forget_feeds(lake: Lake, feed_ids: Sequence[str]) -> None:
    """Remove the rows that describe the feeds. Their episodes must have been removed."""
    with exclusive(lake.home):
        for feed_id in feed_ids:
            for folder in (("subscriptions",), ("subscriptions", IMPORTED), (VOICE_DECISIONS,)):
                lake.home.remove(*folder, f"{feed_id}.json")
            _remove_landings(lake.home, ("stage_runs", OPEN, "failed"), feed_id)
            for stage, tables in FEED_TABLES.items():
                lake.remove(FAILURES, FAILURES.landing_key(feed_id, stage))
                _remove_landings(lake.home, ("stage_runs", OPEN, stage), feed_id)
                for table in tables:
                    _remove_landings(lake.home, (table.name, OPEN), feed_id)
        forget_unchanged(lake, feed_ids)
        _remove_superseded(lake, [*feed_ids, *_forget_same_voices(lake, set(feed_ids))])
        records = SealedFiles(lake.home, STAGE_RUNS)
        supersede(records, feed_ids, (), rewrite_all=True)
        records.remove_replaced()
    _remove_unfinished(lake.home, feed_ids)


def _forget_same_voices(lake: Lake, feed_ids: Collection[str]) -> list[str]:
    """Remove what other feeds have of these feeds' voices: that a voice is the same, and its name. Returns those feeds."""
    changed = []
    for feed_id in decided_feeds(lake.home):
        decisions = decisions_of(lake.home, feed_id)
        gone = {voice for voice, same in decisions.same_as.items() if feed_of_voice(same.voice_id) in feed_ids}
        if gone:
            voices = [
                replace(row, same_as=None, same_as_similarity=None, same_as_margin=None, same_as_method=None,
                        name=decisions.names.get(row.voice_id)) if row.voice_id in gone else row
                for row in lake.rows(VOICES, feed_id)
            ]  # fmt: skip
            links = [
                replace(row, name=decisions.names.get(row.voice_id or "")) if row.voice_id in gone else row
                for row in lake.rows(SPEAKER_LINKS, feed_id)
            ]
            rows = {VOICES.name: VOICES.of(voices), SPEAKER_LINKS.name: SPEAKER_LINKS.of(links)}
            commit = land_feed(lake, feed_id, rows, "podlake-forget", stage=VOICES.asset)
            for table in (VOICES, SPEAKER_LINKS):
                _remove_landings(lake.home, (table.name, OPEN), feed_id, but=commit.name)
            forget_same_as(lake.home, feed_id, gone)
            changed.append(feed_id)
    return changed


def _reland(lake: Lake, stage: str, feed_id: str, keys: Collection[str]) -> None:
    """Land the feed's rows without these episodes, then remove the older landings."""
    tables = FEED_TABLES[stage]
    found = {table.name: rows for table in tables if (rows := lake.read(table, feed_id)) is not None}
    if not found:
        return
    forgotten = pa.array(sorted(keys), pa.string())
    for name, rows in found.items():
        if "episode_id" in rows.column_names:
            found[name] = rows.filter(pc.invert(pc.is_in(rows["episode_id"], forgotten)))
    if "voices" in found and "speaker_links" in found:  # a voice that only they have
        linked = pc.unique(found["speaker_links"]["voice_id"])
        found["voices"] = found["voices"].filter(pc.is_in(found["voices"]["voice_id"], linked))
    if REPEATED_AUDIO.name in found:
        found[REPEATED_AUDIO.name] = _counted_again(found[REPEATED_AUDIO.name])
    commit = land_feed(lake, feed_id, found, "podlake-forget", stage=stage)
    for table in tables:
        _remove_landings(lake.home, (table.name, OPEN), feed_id, but=commit.name)


def _counted_again(repeated: pa.Table) -> pa.Table:
    """The occurrences that are left, with their number. What occurs once is not repeated."""
    rows = REPEATED_AUDIO.rows_of(repeated)
    occurrences = Counter(row.repeat_id for row in rows)
    episodes = Counter(repeat_id for repeat_id, _ in {(row.repeat_id, row.episode_id) for row in rows})
    return REPEATED_AUDIO.of(
        replace(row, n_episodes=episodes[row.repeat_id], n_occurrences=occurrences[row.repeat_id])
        for row in rows
        if occurrences[row.repeat_id] > 1
    )


def _remove_superseded(lake: Lake, feed_ids: Sequence[str]) -> None:
    """Rewrite the sealed files without the feeds' rows: their newest landing is open, or removed."""
    for table in (table for tables in FEED_TABLES.values() for table in tables):
        files = SealedFiles(lake.home, table)
        supersede(files, feed_ids, (), rewrite_all=True)
        files.remove_replaced()


def _remove_landings(home: Home, folder: tuple[str, ...], key: str, but: str = "") -> None:
    for name in home.names("lake", *folder):
        if name.partition("@")[0] == key and name.removesuffix(".parquet") != but:
            home.remove("lake", *folder, name)


def _remove_unfinished(home: Home, keys: Collection[str]) -> None:
    """Remove the hidden files of killed processes that were writing landings of these keys."""
    if home.is_local:
        for path in Path(home.path("lake")).rglob(".*.tmp"):
            if path.name.lstrip(".").partition("@")[0] in keys:
                path.unlink(missing_ok=True)
