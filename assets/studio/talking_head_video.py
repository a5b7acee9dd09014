"""`talking_head_video`: the person of the uploaded video says the speech; or an audiogram of it, and the row says so."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from assets.studio.reference_audio import requested
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.lake.lake import Lake
from resources.lake.tables.videos import (
    CLONED_SPEECH,
    SPEECH_TEXTS,
    TALKING_HEAD_VIDEOS,
    ClonedSpeechRow,
    SpeechTextRow,
    TalkingHeadVideoRow,
)
from resources.studio.filming import film
from resources.studio.head_devices import HeadDevices
from resources.studio.video_files import VideoFiles
from resources.studio.video_ledger import VideoLedger, VideoRequest
from speech.errors import BadReference
from speech.spoken_turns import SpokenTurn, passage


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["talking_head_videos"].to_pylist()
    shown = {"video": row["path"], "kind": row["kind"], "duration_s": row["duration_ms"] / 1000}
    more = {name: row[name] for name in ("kind_reason", "device") if row[name] is not None}
    return {**shown, **more}


@Stage(
    tables=(TALKING_HEAD_VIDEOS,), ui_metadata=_ui_metadata, group="studio", batch_size=1, version="1",
    inputs=("cloned_speech", "speech_text"), partition_kind="video", kinds=frozenset({"mp4", "parquet"}),
)  # fmt: skip
def talking_head_video(
    batch: Batch, lake: Lake, head_devices: HeadDevices, video_ledger: VideoLedger, video_files: VideoFiles
) -> Iterator[Outcome]:
    """Films the speech on the device that has said it. A task that an interrupted run has given is not given again."""
    return each(batch.keys, lambda key: _video(key, batch, lake, head_devices, video_ledger, video_files))


def _video(
    key: str, batch: Batch, lake: Lake, heads: HeadDevices, ledger: VideoLedger, files: VideoFiles
) -> Landing:  # fmt: skip
    ledger.check_wanted(key)
    request = requested(key, ledger)
    (speech,), (text,) = batch.rows(lake, CLONED_SPEECH, key), batch.rows(lake, SPEECH_TEXTS, key)
    if request.kind == "audiogram":
        return _audiogram(key, request, text, speech, files)
    if speech.device is None or request.video_upload is None:
        raise BadReference(f"{key} has no speech of a device. Materialize `cloned_speech` of it again.")
    made = film(
        heads, key, speech.device, files.local(speech.path), speech.sha256, speech.duration_ms,
        files.upload(request.video_upload), lambda: ledger.check_wanted(key),
    )  # fmt: skip
    row = TalkingHeadVideoRow(
        kind="talking_head", title=text.title, path=files.publish(key, f"{key}.mp4", made.path),
        size_bytes=made.path.stat().st_size, sha256=_sha256(made.path), duration_ms=made.duration_ms,
        width=made.width, height=made.height, codec=made.codec, device=made.device, task_code=made.code,
        is_resumed=made.is_resumed, waited_ms=round(1000 * made.waited_s), made_ms=round(1000 * made.filmed_s),
    )  # fmt: skip
    cost = Cost(engine="heygem", device=made.device, engine_ms=row.made_ms, audio_ms=made.duration_ms)
    return Landing(key, {"talking_head_videos": [row]}, cost)


def _audiogram(
    key: str, request: VideoRequest, text: SpeechTextRow, speech: ClonedSpeechRow, files: VideoFiles
) -> Landing:
    from speech.audiogram.card import PALETTE, Card, Shape, ShownTurn, ShownWord, layout_of
    from speech.audiogram.video import write_audiogram
    from speech.stretches import stretch

    started = time.monotonic()
    said = passage(SpokenTurn("", 0, speech.duration_ms, text.text))
    words = tuple(ShownWord(word.text, word.start_ms, word.end_ms) for word in said.words)
    card = Card(text.title, "", speech.duration_ms, (ShownTurn("", PALETTE[0], words),))
    local = files.scratch(key, "audiogram.mp4")
    samples = stretch(files.local(speech.path), 0, speech.duration_ms)
    made = write_audiogram(local, card, layout_of(cast("Shape", request.shape)), samples)
    row = TalkingHeadVideoRow(
        kind="audiogram", kind_reason=request.kind_reason, title=text.title,
        path=files.publish(key, f"{key}.mp4", local), size_bytes=local.stat().st_size, sha256=_sha256(local),
        duration_ms=made.duration_ms, width=made.width, height=made.height, codec=made.codec, waited_ms=0,
        made_ms=round(1000 * (time.monotonic() - started)),
    )  # fmt: skip
    return Landing(key, {"talking_head_videos": [row]}, Cost(engine_ms=row.made_ms, audio_ms=made.duration_ms))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
