"""`reference_audio`: the recording of 3–30 s that a voice is cloned from, out of the uploaded video or recording."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.stage import Batch, Landing, Outcome, Stage, each
from resources.lake.tables.videos import REFERENCE_AUDIO, ReferenceAudioRow
from resources.studio.video_files import VideoFiles
from resources.studio.video_ledger import VideoLedger, VideoRequest
from speech.engines.line_synthesizer import write_wav
from speech.errors import BadReference
from speech.talking_head.reference import choose_reference, picture_of


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["reference_audio"].to_pylist()
    if row["path"] is None:
        return {"absent_reason": row["absent_reason"]}
    return {"path": row["path"], "source": row["source"], "speech_s": row["speech_ms"] / 1000}


@Stage(
    tables=(REFERENCE_AUDIO,), ui_metadata=_ui_metadata, group="studio", batch_size=1, version="1",
    partition_kind="video", kinds=frozenset({"wav", "parquet"}),
)  # fmt: skip
def reference_audio(batch: Batch, video_ledger: VideoLedger, video_files: VideoFiles) -> Iterator[Outcome]:
    """Cuts the stretch with the most speech out of the upload. An audiogram needs none."""
    return each(batch.keys, lambda key: _reference(key, video_ledger, video_files))


def _reference(key: str, ledger: VideoLedger, files: VideoFiles) -> Landing:
    ledger.check_wanted(key)
    request = requested(key, ledger)
    if request.kind == "audiogram":
        row = ReferenceAudioRow(absent_reason="An audiogram has the voice of a synthesizer.")
        return Landing(key, {"reference_audio": [row]})
    if request.video_upload is None:
        raise BadReference(f"{key} has no video of the person. Request it again with one.")
    picture = picture_of(files.upload(request.video_upload))
    source = "audio" if request.audio_upload else "video"
    chosen = choose_reference(files.upload(request.audio_upload or request.video_upload))
    local = files.scratch(key, "reference.wav")
    write_wav(local, chosen.sound)
    row = ReferenceAudioRow(
        source=source, path=files.publish(key, "reference.wav", local),
        sha256=hashlib.sha256(local.read_bytes()).hexdigest(), start_ms=chosen.span.start_ms,
        duration_ms=chosen.span.duration_ms, speech_ms=chosen.speech_ms,
        video_width=picture.width, video_height=picture.height, video_codec=picture.codec,
    )  # fmt: skip
    return Landing(key, {"reference_audio": [row]})


def requested(key: str, ledger: VideoLedger) -> VideoRequest:
    """The request of a partition. Raises `BadReference` if there is none."""
    request = ledger.request(key)
    if request is None:
        raise BadReference(f"The ledger has no request {key}. Request a video with `podlake video submit`.")
    return request
