"""`hashes`: what the fetched bytes are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

DECODED_AT_ONCE = 2


def _shows(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    row = tables["hashes"].to_pylist()[0]
    shown = ("container", "codec", "bitrate", "sample_rate", "channels", "loudness_lufs", "decode_errors", "truncated")
    return {
        **{name: row[name] for name in shown if row[name] is not None},
        "duration_seconds": row["duration_ms"] / 1000,
        "sha256": row["sha256"],
        "pcm16k_sha256": row["pcm16k_sha256"],
        "chromaprint": row["chromaprint_absent_reason"] or "present",
    }
