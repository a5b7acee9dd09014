"""Links voices of different feeds on request, and lands feeds whose voices a user has decided about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby

import dagster as dg
import numpy as np

from dagster_project.in_process import run_batch
from partitions.definitions import FEEDS, add_keys
from pipeline.planner import Batch
from resources.lake.home import Home
from resources.lake.voice_decisions import change_decisions, decided_feeds, decisions_of
from resources.lake.warehouse import ask, connect
from speech.engines.speaker_embeddings import EMBEDDING_MODEL
from speech.voices import SameAs, Voice, feed_of_voice
from speech.voices_across import link_across

_EMBEDDED = """
select voice_id, embedding from lake.voices
where embedding is not null and embedding_model = $model order by voice_id
"""


def link_feeds(home: Home) -> dict[str, SameAs]:
    """Record which voices of different feeds are one person. Returns the new links; earlier ones stay."""
    with connect(home) as connection:
        rows = ask(connection, _EMBEDDED, {"model": EMBEDDING_MODEL})
    known = {
        name: same for feed_id in decided_feeds(home) for name, same in decisions_of(home, feed_id).same_as.items()
    }
    found = link_across([Voice(name, np.array(embedding, np.float32)) for name, embedding in rows], known)
    for feed_id, names in groupby(sorted(found), key=feed_of_voice):
        new = {name: found[name] for name in names}
        change_decisions(home, feed_id, lambda before, new=new: replace(before, same_as={**new, **before.same_as}))  # type: ignore[misc]
    return found


def land_voices(instance: dg.DagsterInstance, feeds: Iterable[str]) -> None:
    """Make the feeds' voices again in this process, so that tables and views show what was decided."""
    feeds = list(dict.fromkeys(feeds))
    add_keys(instance, FEEDS, feeds)
    for feed_id in feeds:
        run_batch(instance, Batch("voices", (feed_id,), "decided by a user"))
