"""Tables of videos that are made on request: talking heads and audiograms. Times are milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from resources.lake.tables.studio import SpokenChange
from resources.lake.tables.table import FILLED, Int32, Int64, LandedAt, RunId, Table

VideoId = Annotated[str, "The video, which is its Dagster partition key."]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRow:
    """A row of a video that is made on request."""

    video_id: VideoId = FILLED
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceAudioRow(VideoRow):
    """The recording that the voice is cloned from."""

    source: Annotated[str | None, "Where it comes from: `audio` or `video`, the upload; NULL: no voice is cloned."] = (
        None
    )
    absent_reason: Annotated[str | None, "Why there is none."] = None
    path: Annotated[str | None, "The WAV file in the home."] = None
    sha256: Annotated[str | None, "Its hash."] = None
    start_ms: Annotated[Int32 | None, "Where it begins in the upload."] = None
    duration_ms: Annotated[Int32 | None, "Its length: at most 30 s."] = None
    speech_ms: Annotated[Int32 | None, "Speech in it, by voice activity: at least 3 s."] = None
    video_width: Annotated[Int32 | None, "Width of the uploaded video in pixels."] = None
    video_height: Annotated[Int32 | None, "Its height."] = None
    video_codec: Annotated[str | None, "Its codec."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechTextRow(VideoRow):
    """The text, as it is written and as it is said."""

    title: Annotated[str, "Title."]
    language: Annotated[str, "Language tag."]
    user_id: Annotated[str, "Who has asked for it."]
    requested_at: Annotated[datetime, "When."]
    text: Annotated[str, "As it is written."]
    spoken_text: Annotated[str, "As it is said: formulas, numbers, dates and abbreviations in words."]
    changes: Annotated[tuple[SpokenChange, ...], "What differs."]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClonedSpeechRow(VideoRow):
    """The text as it was said."""

    is_cloned: Annotated[bool, "Whether the voice is that of the reference; else it is a synthesizer's."]
    engine: Annotated[str, "What has said it: `fish-speech`, or a synthesizer."]
    device: Annotated[str | None, "The device, which films the video too; NULL: none was used."] = None
    reference_text: Annotated[str | None, "What the engine has understood of the reference."] = None
    path: Annotated[str, "The WAV file in the home."]
    sha256: Annotated[str, "Its hash."]
    duration_ms: Annotated[Int32, "Its length."]
    sample_rate_hz: Annotated[Int32, "Its sample rate."]
    waited_ms: Annotated[Int32, "Wait for the device."]
    engine_ms: Annotated[Int32, "Time that the engine took."]


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkingHeadVideoRow(VideoRow):
    """The finished video. `kind` says what it is: an audiogram is never called a talking head."""

    kind: Annotated[str, "`talking_head`, or `audiogram`: cover, waveform and captions."]
    kind_reason: Annotated[str | None, "Why it is an audiogram although the request left that open."] = None
    title: Annotated[str, "Title."]
    path: Annotated[str, "The MP4 file in the home."]
    size_bytes: Annotated[Int64, "Its size."]
    sha256: Annotated[str, "Its hash."]
    duration_ms: Annotated[Int32, "Its length."]
    width: Annotated[Int32, "Pixels."]
    height: Annotated[Int32, "Pixels."]
    codec: Annotated[str, "Codec of the picture."]
    device: Annotated[str | None, "The device; NULL: none was used."] = None
    task_code: Annotated[str | None, "The task's code on the device."] = None
    is_resumed: Annotated[bool, "Whether an interrupted attempt had given the task to the device."] = False
    waited_ms: Annotated[Int32, "Wait for the device."]
    made_ms: Annotated[Int32, "From the task to the file."]


_KEY = ("video_id",)
REFERENCE_AUDIO: Table[ReferenceAudioRow] = Table(
    "reference_audio", "reference_audio", _KEY, ReferenceAudioRow, landing=_KEY
)
SPEECH_TEXTS: Table[SpeechTextRow] = Table("speech_texts", "speech_text", _KEY, SpeechTextRow, landing=_KEY)
CLONED_SPEECH: Table[ClonedSpeechRow] = Table("cloned_speech", "cloned_speech", _KEY, ClonedSpeechRow, landing=_KEY)
TALKING_HEAD_VIDEOS: Table[TalkingHeadVideoRow] = Table(
    "talking_head_videos", "talking_head_video", _KEY, TalkingHeadVideoRow, landing=_KEY
)
