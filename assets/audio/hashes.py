"""`hashes`: identify the fetched bytes: hashes, container, duration, loudness."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.audio_inputs import acquisition
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.fetch.audio_store import AudioStore
from resources.lake.lake import Lake
from resources.lake.tables.audio import HASHES, HashesRow
from speech.audio_matches import sketch_of
from speech.facts import facts_of
from speech.fingerprints import fingerprint_items
from speech.types import mapped_samples
from speech.waveforms import WaveformCache

DECODED_AT_ONCE = 2

_SHOWN = ("container", "codec", "bitrate", "sample_rate", "channels", "loudness_lufs", "decode_errors", "truncated")


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = HASHES.rows_of(tables["hashes"])
    return {
        **{name: value for name in _SHOWN if (value := getattr(row, name)) is not None},
        "duration_seconds": row.duration_ms / 1000,
        "sha256": row.sha256,
        "pcm16k_sha256": row.pcm16k_sha256,
        "chromaprint": row.chromaprint_absent_reason or "present",
    }


@Stage(
    tables=(HASHES,),
    ui_metadata=_ui_metadata,
    group="audio",
    version="1",
    batch_size=48,
    inputs=("audio",),
    pool="cpu",
)
def hashes(batch: Batch, lake: Lake, audio_store: AudioStore, waveforms: WaveformCache) -> Iterator[Outcome]:
    """Hashes the bytes and the decoded samples, and measures container, duration and loudness.

    An episode of which more than 5 % cannot be decoded fails. A truncated file is marked as such.
    """
    return each(batch.keys, lambda key: _hash(key, lake, audio_store, waveforms), workers=DECODED_AT_ONCE)


def _hash(key: str, lake: Lake, store: AudioStore, waveforms: WaveformCache) -> Landing:
    fetched = acquisition(lake, key)
    started = time.monotonic()
    stored = store.local(fetched.storage_uri)
    with waveforms.using(fetched.audio_sha256, stored) as (waveform, report):
        decode_ms = round(1000 * (time.monotonic() - started))
        samples = mapped_samples(waveform)
        facts, items = facts_of(samples), fingerprint_items(samples)
    row = HashesRow(
        sha256=fetched.audio_sha256, md5=_md5(stored), pcm16k_sha256=report.pcm16k_sha256,
        chromaprint=facts.chromaprint, chromaprint_absent_reason=facts.chromaprint_absent_reason,
        container=report.container, codec=report.codec, bitrate=report.bitrate_bps,
        sample_rate=report.sample_rate_hz, channels=report.channels,
        duration_header_ms=report.duration_header_ms, duration_ms=report.duration_ms,
        decode_errors=report.decode_errors, clock_jumps=report.clock_jumps, truncated=report.truncated,
        loudness_lufs=facts.loudness_lufs, loudness_absent_reason=facts.loudness_absent_reason,
        peak_dbfs=report.peak_dbfs, clip_rate=report.clip_rate, silence_ratio=facts.silence_ratio,
        fingerprint=items.astype("<u4").tobytes(), sketch=tuple(sketch_of(items).tolist()),
    )  # fmt: skip
    cost = Cost(fetched.audio_sha256, f"av-{version('av')}", decode_ms=decode_ms, audio_ms=report.duration_ms)
    return Landing(key, {"hashes": [row]}, cost)


def _md5(path: Path) -> str:
    """Not made by `audio`, where it would take as much CPU as the rest of a download."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
