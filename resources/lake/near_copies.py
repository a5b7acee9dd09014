"""Finds episodes of all feeds that have the same audio: equal files, equal samples, or near copies.

An index over the sketches of the fingerprints proposes pairs; whole fingerprints decide. Each occurrence of a word is
paired with the next few only, so that the work grows with the number of episodes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from resources.lake.lake import Lake
from resources.lake.tables import HASHES
from resources.lake.tables.audio import HashesRow
from resources.lake.tables.duplicates import SameAudioRow
from resources.lake.warehouse import ask, connect
from speech.audio_matches import find_matches
from speech.fingerprints import ITEM_MS

NEAR_COPY_SHARE = 0.5
"""Share of the longer episode that near copies have in common."""
PAIRED = 4
"""Later occurrences of a word that an occurrence is paired with."""
_READ_AT_ONCE = 256

_NEWEST = """
with newest as (
    from lake.acquisitions qualify row_number() over (partition by episode_id order by fetched_at desc) = 1
),
current as (
    select hashes.episode_id, hashes.audio_sha256, pcm16k_sha256, sketch, episodes.published_at
    from lake.hashes as hashes
    join newest using (episode_id, audio_sha256)
    left join lake.episodes as episodes using (episode_id)
)
"""
_EQUAL = f"""{_NEWEST}
select list(episode_id order by episode_id) as episode_ids
from current group by pcm16k_sha256 having count(*) > 1 order by all
"""
_PROPOSED = f"""{_NEWEST},
words as (
    select episode_id, unnest(sketch) as word
    from (select min(episode_id) as episode_id, any_value(sketch) as sketch from current group by pcm16k_sha256)
),
paired as (
    select episode_id, unnest([{", ".join(f"lead(episode_id, {n}) over same" for n in range(1, PAIRED + 1))}]) as other
    from words window same as (partition by word order by episode_id)
)
select episode_id, other from paired where other is not null group by all having count(*) > 1 order by all
"""
_DATES = f"{_NEWEST} select episode_id, published_at from current where episode_id in (select unnest($keys))"


@dataclass(frozen=True, slots=True)
class _Common:
    """What two episodes have in common."""

    similarity: float
    share: float
    offset_ms: int
    common_ms: int


def same_audio_rows(lake: Lake, run_id: str, now: datetime) -> list[SameAudioRow]:
    """A row for each episode that is a copy of another one. Raises `StorageError`."""
    with connect(lake.home) as connection:
        equal = [tuple(keys) for (keys,) in ask(connection, _EQUAL)]
        proposed = [(str(one), str(other)) for one, other in ask(connection, _PROPOSED)]
        near = _near_pairs(lake, proposed)
        groups = list(_groups([*equal, *near]))
        keys = sorted(key for group in groups for key in group)
        dates = dict(ask(connection, _DATES, {"keys": keys}))
    rows: list[SameAudioRow] = []
    for group in groups:
        ordered = sorted(group, key=lambda key: (dates.get(key) is None, dates.get(key) or now, key))
        rows += _rows_of_group(lake, ordered, run_id, now)
    return sorted(rows, key=lambda row: row.episode_id)


def _near_pairs(lake: Lake, pairs: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The proposed pairs that are near copies."""
    for start in range(0, len(pairs), _READ_AT_ONCE):
        some = pairs[start : start + _READ_AT_ONCE]
        hashes = _hashes(lake, {key for pair in some for key in pair})
        for pair in some:
            if all(key in hashes for key in pair) and _common(hashes[pair[0]], hashes[pair[1]]):
                yield pair


def _hashes(lake: Lake, keys: Collection[str]) -> dict[str, HashesRow]:
    found = lake.read_many(HASHES, sorted(keys))
    return {key: row for key, rows in found.items() for row in HASHES.rows_of(rows)}


def _common(original: HashesRow, copy: HashesRow) -> _Common | None:
    """None unless they are near copies."""
    items = [np.frombuffer(row.fingerprint or b"", "<u4") for row in (original, copy)]
    matches = [match for match in find_matches(items) if match.first != match.other]
    n_items = sum(match.n_items for match in matches)
    share = n_items / max(1, *map(len, items))
    if share < NEAR_COPY_SHARE:
        return None
    longest = max(matches, key=lambda match: match.n_items)
    similarity = sum(match.similarity * match.n_items for match in matches) / n_items
    offset_ms = round((longest.other_start - longest.start) * ITEM_MS)
    return _Common(similarity, min(1.0, share), offset_ms, round(n_items * ITEM_MS))


def _groups(links: Iterable[tuple[str, ...]]) -> Iterator[list[str]]:
    parents: dict[str, str] = {}

    def root(key: str) -> str:
        while (parent := parents.setdefault(key, key)) != key:
            parents[key] = parents[parent]
            key = parent
        return key

    for first, *others in links:
        for other in others:
            parents[root(other)] = root(first)
    members: dict[str, list[str]] = defaultdict(list)
    for key in sorted(parents):
        members[root(key)].append(key)
    yield from (group for group in members.values() if len(group) > 1)


def _rows_of_group(lake: Lake, ordered: list[str], run_id: str, now: datetime) -> Iterator[SameAudioRow]:
    """Each copy beside its original. One that is a copy of another copy only starts a group of its own."""
    hashes = _hashes(lake, ordered)
    left = [key for key in ordered if key in hashes]
    while len(left) > 1:
        original, *others = left
        left = []
        for key in others:
            row = _row(hashes[original], hashes[key], run_id, now)
            if row is None:
                left.append(key)
            else:
                yield row


def _row(original: HashesRow, copy: HashesRow, run_id: str, now: datetime) -> SameAudioRow | None:
    if original.pcm16k_sha256 == copy.pcm16k_sha256:
        method = "bytes" if original.audio_sha256 == copy.audio_sha256 else "samples"
        common, common_ms = _Common(1.0, 1.0, 0, 0), None
    else:
        found = _common(original, copy)
        if found is None:
            return None
        method, common, common_ms = "chromaprint", found, found.common_ms
    return SameAudioRow(
        episode_id=copy.episode_id, audio_sha256=copy.audio_sha256, original_episode_id=original.episode_id,
        original_audio_sha256=original.audio_sha256, method=method, similarity=common.similarity, share=common.share,
        offset_ms=common.offset_ms, common_ms=common_ms, run_id=run_id, landed_at=now,
    )  # fmt: skip
