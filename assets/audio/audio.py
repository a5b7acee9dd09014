"""`audio`: fetch an episode's bytes, once."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.stage import Batch, Cost, Landing, Outcome, each, stage
from resources.engines.routing import Audio
from resources.fetch.audio_store import AudioStore
from resources.fetch.http import Download, download
from resources.lake.catalogue import Catalogue, Entry
from resources.lake.lake import Lake
from resources.lake.tables import ACQUISITIONS
from speech.errors import NotFound, StorageError, UpstreamMissing

DOWNLOADS_AT_ONCE = 8


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    row = tables["acquisitions"].to_pylist()[0]
    return {
        "final_url": row["final_url"],
        "redirects": len(row["redirect_chain"]),
        "bytes": row["bytes"],
        "content_type": row["content_type"] or "not said",
        "sha256": row["audio_sha256"],
        "resumed": row["resumed"],
        "stored_at": row["storage_uri"],
    }


@stage(
    tables=[ACQUISITIONS], ui_metadata=_ui_metadata, group="audio", batch_size=64, version="1", catalogue=("episodes",), pool="downloads",
    data_version_columns=("audio_sha256",),
)  # fmt: skip
def audio(batch: Batch, catalogue: Catalogue, audio_store: AudioStore, lake: Lake) -> Iterator[Outcome]:
    """Downloads an episode's audio to its content address, hashing while it streams; a broken download is resumed.

    Made again, it asks the server whether the bytes are still current, and keeps them if so.
    """
    return each(batch.keys, lambda key: _fetch(catalogue.entry(key), audio_store, lake), workers=DOWNLOADS_AT_ONCE)


def _fetch(entry: Entry, store: AudioStore, lake: Lake) -> Landing:
    started = time.monotonic()
    if entry.enclosure_url.startswith(("http://", "https://")) or not entry.is_single:
        row = _fetch_url(entry, store, _stored(entry, store, lake))
    else:
        row = _copy_file(entry, store)
    cost = Cost(audio_sha256=row["audio_sha256"], download_ms=round(1000 * (time.monotonic() - started)))
    return Landing(entry.episode_id, {"acquisitions": [row]}, cost, {"audio": row["final_url"]})


def _fetch_url(entry: Entry, store: AudioStore, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Download, or find that what is stored is still what the server has."""
    answer = download(
        entry.enclosure_url,
        store.part(entry.episode_id),
        known_etag=stored.get("etag"),
        known_last_modified=stored.get("last_modified"),
    )
    row = {
        "requested_url": answer.requested_url, "final_url": answer.final_url, "fetched_at": answer.fetched_at,
        "redirect_chain": [{"url": url, "status": status} for url, status in answer.redirect_chain],
        "http_status": answer.http_status, "etag": answer.etag, "last_modified": answer.last_modified,
        "content_type": answer.content_type, "attempts": 1,
    }  # fmt: skip
    if not isinstance(answer, Download):
        kept = ("audio_sha256", "md5", "bytes", "content_type", "storage_uri")
        known = {
            "etag": answer.etag or stored["etag"],
            "last_modified": answer.last_modified or stored["last_modified"],
        }
        return {**row, **known, **{name: stored[name] for name in kept}, "resumed": False}
    uri = store.keep(answer.path, answer.sha256, answer.final_url, answer.content_type)
    return {
        **row, "audio_sha256": answer.sha256, "md5": answer.md5, "bytes": answer.bytes, "resumed": answer.resumed,
        "storage_uri": uri,
    }  # fmt: skip


def _copy_file(entry: Entry, store: AudioStore) -> dict[str, Any]:
    """Audio that the user added by its path."""
    source, target = Path(entry.enclosure_url), store.part(entry.episode_id)
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise NotFound(
            f"There is no file {source} any more. Put it back, or add it again from where it is now."
        ) from error
    except OSError as error:
        raise StorageError(f"{source} could not be copied: {error}. Check permissions and free space.") from error
    with target.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    n_bytes = target.stat().st_size
    uri = store.keep(target, sha256, source.name, None)
    return {
        "audio_sha256": sha256, "md5": md5, "requested_url": str(source), "final_url": source.as_uri(), "redirect_chain": [],
        "fetched_at": datetime.now(UTC), "http_status": None, "etag": None, "last_modified": None, "content_type": None,
        "bytes": n_bytes, "attempts": 1, "resumed": False, "storage_uri": uri,
    }  # fmt: skip


def _stored(entry: Entry, store: AudioStore, lake: Lake) -> Mapping[str, Any]:
    """The last acquisition, if its bytes still lie there and came from the same URL."""
    landed = lake.read(ACQUISITIONS, entry.episode_id)
    if landed is None:
        return {}
    row = landed.to_pylist()[-1]
    return row if row["requested_url"] == entry.enclosure_url and store.has(row["storage_uri"]) else {}


def acquisition(lake: Lake, episode_id: str) -> dict[str, Any]:
    """The acquisition row of an episode. Raises `UpstreamMissing`."""
    landed = lake.read(ACQUISITIONS, episode_id)
    if landed is None or not landed.num_rows:
        raise UpstreamMissing(f"{episode_id} has no audio yet. Materialize audio for it first.")
    row: dict[str, Any] = landed.to_pylist()[-1]
    return row


def audio_inputs(batch: Batch, catalogue: Catalogue, store: AudioStore) -> Iterator[Audio]:
    """The batch's audio, as engines are given it."""
    entries = catalogue.entries(batch.keys)
    for key in batch.keys:
        row = acquisition(catalogue.lake, key)
        yield Audio(key, row["audio_sha256"], store.local(row["storage_uri"]), entries[key].language)
