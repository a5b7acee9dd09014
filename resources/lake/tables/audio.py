"""Tables of fetched audio."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from resources.lake.tables.table import (
    FILLED,
    AudioSha256,
    DerivedRow,
    EpisodeId,
    Float32,
    Int16,
    Int32,
    Int64,
    LandedAt,
    RunId,
    Table,
)


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect of a download."""

    url: str
    status: Int16


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionRow:
    """Bytes fetched for an episode. The same URL can answer with other bytes later.

    Lakes of version 1 also have `attempts`, which was always 1: it is neither read nor written.
    """

    episode_id: EpisodeId = FILLED
    audio_sha256: AudioSha256
    md5: Annotated[str | None, "MD5 of bytes that an earlier version fetched. `hashes` has it for all."] = None
    requested_url: Annotated[str, "The URL that was requested."]
    final_url: Annotated[str, "The URL that answered, after redirects."]
    redirect_chain: Annotated[tuple[Redirect, ...], "Each redirect on the way: URL and status."] = ()
    fetched_at: Annotated[datetime, "When the answer began."]
    http_status: Annotated[Int16 | None, "200 or 206; 304 for unchanged bytes; NULL for a local file."] = None
    etag: Annotated[str | None, "The answer's ETag."] = None
    last_modified: Annotated[str | None, "The answer's Last-Modified."] = None
    content_type: Annotated[str | None, "The answer's Content-Type; may differ from the container."] = None
    bytes: Annotated[Int64, "Length."]
    resumed: Annotated[bool, "Whether a partial download of an earlier run was continued."] = False
    storage_uri: Annotated[str, "Where the bytes are, relative to the home: audio/ab/<sha256>.<ext>."]
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED


@dataclass(frozen=True, slots=True, kw_only=True)
class HashesRow(DerivedRow):
    """What the bytes are: hashes, container facts, loudness. The same bytes under two episodes are two rows."""

    sha256: Annotated[str, "SHA-256 of the bytes."]
    md5: Annotated[str, "MD5 of the bytes, to match other archives."]
    pcm16k_sha256: Annotated[str, "SHA-256 of the decoded 16 kHz mono int16 samples: equal for lossless copies."]
    chromaprint: Annotated[str | None, "Chromaprint fingerprint, as fpcalc writes it."] = None
    chromaprint_absent_reason: Annotated[str | None, "Why there is none."] = None
    container: Annotated[str, "Container format, from the bytes."]
    codec: Annotated[str, "Audio codec."]
    bitrate: Annotated[Int32 | None, "Bits per second, as the container says."] = None
    sample_rate: Annotated[Int32, "Hz, before resampling."]
    channels: Annotated[Int16, "Channels, before mixing down."]
    duration_header_ms: Annotated[Int32 | None, "Duration that the container declares, if it does."] = None
    duration_ms: Annotated[Int32, "Duration of the decoded samples: the timeline."]
    decode_errors: Annotated[Int32, "Packets that could not be decoded."]
    truncated: Annotated[bool, "Whether the file declares more audio than it holds."]
    loudness_lufs: Annotated[Float32 | None, "Integrated loudness, ITU-R BS.1770."] = None
    loudness_absent_reason: Annotated[str | None, "Why there is none."] = None
    peak_dbfs: Annotated[Float32 | None, "Peak sample; NULL for digital silence."] = None
    clip_rate: Annotated[Float32, "Share of samples at full scale."]
    silence_ratio: Annotated[Float32, "Share of 20 ms frames below -50 dBFS."]
    clock_jumps: Annotated[
        Int32 | None, "Jumps of the file's time stamps, as at an inserted ad; samples are followed."
    ] = None
    fingerprint: Annotated[
        bytes | None, "Chromaprint items of the whole audio, a little-endian uint32 per 124 ms; NULL: older landing."
    ] = None
    sketch: Annotated[tuple[Int32, ...] | None, "Words that stand for the fingerprint in an index of all episodes."] = (
        None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedAudioRow:
    """A file of audio that retention has removed. The rows made from it stay; `audio` can fetch it again."""

    audio_sha256: Annotated[str, "SHA-256 of the removed bytes."]
    bytes: Annotated[Int64, "Length of what was removed."]
    reason: Annotated[str, "age or size: the limit that it exceeded."]
    copy_sha256: Annotated[str | None, "SHA-256 of the mono Opus copy; NULL: there is none."] = None
    copy_bytes: Annotated[Int64 | None, "Length of the copy."] = None
    copy_uri: Annotated[str | None, "Where the copy is, relative to the home."] = None
    run_id: RunId = FILLED
    landed_at: Annotated[datetime, "When the file was removed. A later fetched_at in acquisitions: it is back."] = (
        FILLED
    )


_KEY = ("audio_sha256", "episode_id")
ACQUISITIONS = Table("acquisitions", "audio", _KEY, AcquisitionRow)
REMOVED_AUDIO = Table("removed_audio", "audio_retention", ("audio_sha256",), RemovedAudioRow, landing=())
HASHES = Table("hashes", "hashes", _KEY, HashesRow)
