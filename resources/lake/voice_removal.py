"""Removes episodes from the voices of their feeds: links, decisions, and the embeddings that theirs are part of."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from partitions.keys import feed_of
from resources.lake.commits import Commit, data_version, new_commit
from resources.lake.lake import Lake
from resources.lake.tables import SPEAKER_LINKS, VOICES
from resources.lake.voice_decisions import forget_pins


def land_without(lake: Lake, episode_ids: Collection[str]) -> list[Commit]:
    """Land the voices of the feeds again without the episodes. Returns the new commits; older landings remain.

    A voice without another episode disappears; the mean of one with others is NULL until the next linking.
    """
    landed = []
    for feed_id in sorted({feed_of(key) for key in episode_ids}):
        forget_pins(lake.home, feed_id, episode_ids)
        record = lake.runs(VOICES.asset, [feed_id]).get(feed_id)
        links, voices = lake.read(SPEAKER_LINKS, feed_id), lake.read(VOICES, feed_id)
        if record is None or links is None or voices is None:
            continue
        is_gone = pc.is_in(links["episode_id"], pa.array(sorted(episode_ids), pa.string()))
        kept = links.filter(pc.invert(is_gone))
        voices = _without(voices, links.filter(is_gone)["voice_id"], kept["voice_id"])
        before = record.commit
        commit = new_commit(
            feed_id, VOICES.asset, data=data_version([voices, kept]), inputs=before.inputs_version,
            engine=before.engine_version, after=before,
        )  # fmt: skip
        lake.write_rows(commit, [(VOICES, voices), (SPEAKER_LINKS, kept)])
        lake.commit(replace(record, stamp=commit.stamp))
        landed.append(commit)
    return landed


def _without(voices: pa.Table, gone: pa.ChunkedArray, kept: pa.ChunkedArray) -> pa.Table:
    voices = voices.filter(pc.is_in(voices["voice_id"], kept))
    index = VOICES.schema.get_field_index("embedding")
    is_changed = pc.is_in(voices["voice_id"], gone)
    none = pa.nulls(voices.num_rows, VOICES.schema.field(index).type)
    return voices.set_column(
        index, VOICES.schema.field(index), pc.if_else(is_changed, none, voices["embedding"].combine_chunks())
    )
