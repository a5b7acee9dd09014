"""The fetched audio that the stages after `audio` read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.stage import Batch, Failure
from resources.engines.routing import Audio
from resources.fetch.audio_store import AudioStore
from resources.lake.catalogue import Catalogue
from resources.lake.lake import Lake
from resources.lake.tables.audio import ACQUISITIONS, AcquisitionRow
from speech.errors import PodlakeError, StorageError, UpstreamMissing


def acquisition(lake: Lake, episode_id: str) -> AcquisitionRow:
    """The current acquisition of an episode. Raises `UpstreamMissing`."""
    rows = lake.rows(ACQUISITIONS, episode_id)
    if not rows:
        raise UpstreamMissing(f"{episode_id} has no audio yet. Materialize `audio` for it first.")
    return current(rows)


def current(rows: Sequence[AcquisitionRow]) -> AcquisitionRow:
    """The acquisition that the episode has now: the newest. Earlier ones stay until retention removes them."""
    return max(rows, key=lambda row: row.fetched_at)


def audio_inputs(batch: Batch, catalogue: Catalogue, store: AudioStore, failures: list[Failure]) -> Iterator[Audio]:
    """The batch's audio as engines take it. Episodes whose bytes cannot be read are added to `failures`."""
    entries = catalogue.entries(batch.keys)
    for key in batch.keys:
        try:
            row = acquisition(catalogue.lake, key)
            path = store.local(row.storage_uri)
        except (PodlakeError, OSError) as error:
            failures.append(Failure(key, error if isinstance(error, PodlakeError) else StorageError(f"{key}: {error}")))
        else:
            language = entries[key].language if key in entries else None
            yield Audio(key, row.audio_sha256, path, language)
