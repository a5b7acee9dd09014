"""Talking heads and audiograms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

VideoState = Literal["pending", "processing", "completed", "failed", "cancelled"]


@dataclass(frozen=True)
class NewVideo:
    """A video to make of a text."""

    text: str
    title: str = ""
    """Empty: the first words of the text."""
    language: str = "en"
    kind: Literal["auto", "talking_head", "audiogram"] = "auto"
    """auto: a talking head if there are devices, else an audiogram."""
    shape: Literal["square", "vertical", "wide"] = "square"
    """Of an audiogram."""
    video: str | None = None
    """Upload: the person who is to speak."""
    audio: str | None = None
    """Upload: the voice; None: that of the video."""


@dataclass(frozen=True)
class UploadedFile:
    """A stored upload."""

    name: str
    """What a request calls it."""
    size_bytes: int


@dataclass(frozen=True)
class VideoLinks:
    """Where to go on; None: not there yet."""

    status: str
    file: str | None
    speech: str | None


@dataclass(frozen=True)
class VideoTimings:
    """Seconds; None: not known yet."""

    waited_s: float | None
    """For a device."""
    speech_s: float | None
    """To say the text."""
    video_s: float | None
    """To film it, or to draw the audiogram."""
    total_s: float | None
    """From the request to the end of the last run, or until now."""


@dataclass(frozen=True)
class Video:
    """A requested video, and what became of it."""

    video_id: str
    user: str
    title: str
    language: str
    kind: Literal["talking_head", "audiogram"]
    state: VideoState
    requested_at: datetime
    text: str
    links: VideoLinks
    timings: VideoTimings
    kind_reason: str | None = None
    """Why it is an audiogram although the request left that open."""
    position: int | None = None
    """Place among the pending videos of all users, from 1."""
    device: str | None = None
    attempt: int = 0
    stage: str | None = None
    """The stage that is under way, or has failed."""
    error: str | None = None
    retry_at: datetime | None = None
    waits_for: str | None = None
    """Devices that are set aside, and why."""
    duration_ms: int | None = None
    width: int | None = None
    height: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True)
class VideoList:
    """Videos, the newest first."""

    videos: tuple[Video, ...]


@dataclass(frozen=True)
class VideoDevice:
    """A device for talking heads."""

    device: str
    video_id: str | None
    """The request that has it."""
    leased_at: datetime | None
    set_aside_at: datetime | None
    until: datetime | None
    """When it is looked at again; None: when a person brings it back."""
    reason: str | None
    """Why it is set aside."""
    memory_used_bytes: int | None
    """By nvidia-smi; None where there is none on this machine."""
    memory_total_bytes: int | None
    utilization: float | None
