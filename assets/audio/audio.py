"""`audio`: download an episode's bytes once."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from partitions.credentials import without_credentials
from pipeline.audio_inputs import current
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.fetch.audio_store import AudioStore
from resources.fetch.hosts import FetchPolicy
from resources.fetch.http import Download, download
from resources.lake.catalogue import SINGLES, Catalogue
from resources.lake.tables.audio import ACQUISITIONS, AcquisitionRow, Redirect
from resources.lake.tables.catalogue import EpisodeRow
from speech.errors import (
    HttpRefused,
    HttpServerError,
    NetworkError,
    NotFound,
    PodlakeError,
    StorageError,
    TooLarge,
)

DOWNLOADS_AT_ONCE = 8


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    row = current(ACQUISITIONS.rows_of(tables["acquisitions"]))
    return {
        "final_url": row.final_url,
        "redirects": len(row.redirect_chain),
        "bytes": row.bytes,
        "content_type": row.content_type or "not declared",
        "sha256": row.audio_sha256,
        "resumed": row.resumed,
        "stored_at": row.storage_uri,
    }


@Stage(
    tables=(ACQUISITIONS,), ui_metadata=_ui_metadata, group="audio", batch_size=64, version="1", catalogue=("episodes",), pool="downloads",
    data_version_columns=("audio_sha256",),
)  # fmt: skip
def audio(batch: Batch, catalogue: Catalogue, audio_store: AudioStore, fetch_policy: FetchPolicy) -> Iterator[Outcome]:
    """Downloads an episode's audio to its content address and hashes it meanwhile. A partial download is resumed.

    A new materialization asks the server whether the stored bytes are current, and keeps them if they are.
    Other bytes are a new acquisition: the earlier rows and files stay, and what was made from them is outdated.
    """
    return each(
        batch.keys,
        lambda key: _fetch(catalogue.entry(key), audio_store, catalogue, fetch_policy),
        workers=DOWNLOADS_AT_ONCE,
    )


def _fetch(entry: EpisodeRow, store: AudioStore, catalogue: Catalogue, policy: FetchPolicy) -> Landing:
    started = time.monotonic()
    known = catalogue.lake.rows(ACQUISITIONS, entry.episode_id)
    if entry.enclosure_url.startswith(("http://", "https://")) or entry.feed_id != SINGLES:
        stored = current(known) if known else None
        row = _fetch_url(entry, store, stored if stored and store.has(stored.storage_uri) else None, catalogue, policy)
    else:
        row = _copy_file(entry, store)
    earlier = [old for old in known if old.audio_sha256 != row.audio_sha256]
    cost = Cost(audio_sha256=row.audio_sha256, download_ms=round(1000 * (time.monotonic() - started)))
    return Landing(entry.episode_id, {"acquisitions": [*earlier, row]}, cost, {"audio": row.final_url})


def _fetch_url(
    entry: EpisodeRow, store: AudioStore, stored: AcquisitionRow | None, catalogue: Catalogue, policy: FetchPolicy
) -> AcquisitionRow:
    """Download the enclosure, else the first alternative that can be. Raises the error of the enclosure."""
    errors: list[PodlakeError] = []
    secrets = catalogue.episode_secrets(entry.feed_id)
    for shown in (entry.enclosure_url, *(entry.alternative_urls or ())):
        url = secrets.real(shown, entry.episode_id)
        try:
            row = _fetch_file(url, entry, store, stored if stored and stored.requested_url == shown else None, policy)
            return _public(row)
        except (NotFound, HttpRefused, HttpServerError, NetworkError, TooLarge) as error:
            errors.append(error)
    raise errors[0]


def _fetch_file(
    url: str, entry: EpisodeRow, store: AudioStore, stored: AcquisitionRow | None, policy: FetchPolicy
) -> AcquisitionRow:
    """Download, unless the server says that the stored bytes are current."""
    answer = download(
        url,
        store.part(entry.episode_id),
        policy,
        known_etag=stored.etag if stored else None,
        known_last_modified=stored.last_modified if stored else None,
    )
    redirects = tuple(Redirect(url, status) for url, status in answer.redirect_chain)
    if isinstance(answer, Download):
        return AcquisitionRow(
            requested_url=answer.requested_url, final_url=answer.final_url, redirect_chain=redirects,
            fetched_at=answer.fetched_at, http_status=answer.http_status, etag=answer.etag,
            last_modified=answer.last_modified, content_type=answer.content_type, audio_sha256=answer.sha256,
            bytes=answer.bytes, resumed=answer.resumed,
            storage_uri=store.keep(answer.path, answer.sha256, answer.final_url, answer.content_type),
        )  # fmt: skip
    assert stored, "a server says `not modified` only to a conditional request"
    return replace(
        stored, requested_url=answer.requested_url, final_url=answer.final_url, redirect_chain=redirects,
        fetched_at=answer.fetched_at, http_status=answer.http_status, etag=answer.etag or stored.etag,
        last_modified=answer.last_modified or stored.last_modified, resumed=False,
    )  # fmt: skip


def _copy_file(entry: EpisodeRow, store: AudioStore) -> AcquisitionRow:
    """Audio that the user added by its path."""
    source, target = Path(entry.enclosure_url), store.part(entry.episode_id)
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise NotFound(f"The file {source} no longer exists. Put it back, or add it again at its new place.") from error
    except OSError as error:
        raise StorageError(f"{source} could not be copied: {error}. Check permissions and free space.") from error
    with target.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    n_bytes = target.stat().st_size
    return AcquisitionRow(
        audio_sha256=sha256, requested_url=str(source), final_url=source.as_uri(), bytes=n_bytes,
        fetched_at=datetime.now(UTC), storage_uri=store.keep(target, sha256, source.name, None),
    )  # fmt: skip


def _public(row: AcquisitionRow) -> AcquisitionRow:
    """The row without credentials in its URLs."""
    return replace(
        row,
        requested_url=without_credentials(row.requested_url),
        final_url=without_credentials(row.final_url),
        redirect_chain=tuple(replace(hop, url=without_credentials(hop.url)) for hop in row.redirect_chain),
    )
