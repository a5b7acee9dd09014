"""The fetched audio that the stages after `audio` read."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.stage import Batch
from resources.engines.routing import Audio
from resources.fetch.audio_store import AudioStore
from resources.lake.catalogue import Catalogue
from resources.lake.lake import Lake
from resources.lake.tables.audio import ACQUISITIONS, AcquisitionRow
from speech.errors import UpstreamMissing


def acquisition(lake: Lake, episode_id: str) -> AcquisitionRow:
    """The current acquisition of an episode. Raises `UpstreamMissing`."""
    rows = lake.rows(ACQUISITIONS, episode_id)
    if not rows:
        raise UpstreamMissing(f"{episode_id} has no audio yet. Materialize `audio` for it first.")
    return rows[-1]


def audio_inputs(batch: Batch, catalogue: Catalogue, store: AudioStore) -> Iterator[Audio]:
    """The batch's audio as engines take it."""
    entries = catalogue.entries(batch.keys)
    for key in batch.keys:
        row = acquisition(catalogue.lake, key)
        yield Audio(key, row.audio_sha256, store.local(row.storage_uri), entries[key].language)
