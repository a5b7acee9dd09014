"""What the routes of videos share: the ledger, the files, the devices, and what became of each request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import dagster as dg

from dagster_project.audiogram_check import check_audiogram
from dagster_project.build_resources import head_devices, voices
from dagster_project.settings import Settings
from dagster_project.videos import (
    VideoStatus,
    cancel_video,
    open_videos,
    statuses,
    statuses_in_queue,
    video_limits,
)
from gateway.gpus import Gpu, gpus
from podlake.api import NewVideo, Video, VideoDevice, VideoLinks, VideoTimings
from resources.lake.lake import Lake
from resources.lake.tables import CLONED_SPEECH, TALKING_HEAD_VIDEOS
from resources.lake.tables.videos import ClonedSpeechRow, TalkingHeadVideoRow
from resources.studio.head_devices import HeadDevices
from resources.studio.request_limits import REMEMBERED
from resources.studio.video_files import VideoFiles
from resources.studio.video_ledger import AskedVideo, VideoAnswer, VideoLedger, VideoRequest

PATH = "/api/v1/videos"


@dataclass(frozen=True)
class VideoNumbers:
    """Requested videos of the last seven days by kind and state, and the devices for talking heads by what they do."""

    videos: dict[str, dict[str, int]]
    devices: dict[str, int]
    """free, leased, set_aside."""


@dataclass(frozen=True)
class VideoStudio:
    """The videos of a service."""

    settings: Settings
    lake: Lake
    ledger: VideoLedger
    files: VideoFiles
    heads: HeadDevices
    instance: Callable[[], dg.DagsterInstance]

    @classmethod
    def of(cls, settings: Settings, lake: Lake, url: str, instance: Callable[[], dg.DagsterInstance]) -> VideoStudio:
        files = VideoFiles(lake.home, settings.cache_folder)
        return cls(settings, lake, VideoLedger(url), files, head_devices(settings), instance)

    def admit(self, user_id: str, asked: NewVideo, language: str) -> VideoAnswer:
        """The ledger's answer to a request."""
        wanted = AskedVideo(
            user_id, asked.text, asked.title, language, asked.kind, asked.shape, asked.video, asked.audio
        )  # fmt: skip
        return self.ledger.admit(
            wanted, video_limits(self.settings), lambda own: open_videos(self.instance(), self.lake, own),
            has_devices=bool(self.heads.devices), check_audiogram=partial(check_audiogram, voices(self.settings)),
        )  # fmt: skip

    def cancel(self, video_id: str) -> None:
        cancel_video(self.instance(), self.lake, self.ledger, self.heads, video_id)

    def videos(self, requests: Sequence[VideoRequest]) -> list[Video]:
        """What became of the requests."""
        found = statuses_in_queue(self.instance(), self.lake, self.ledger, self.heads, requests)
        keys = [one.request.video_id for one in found]
        made, said = self.lake.read_many(TALKING_HEAD_VIDEOS, keys), self.lake.read_many(CLONED_SPEECH, keys)
        return [
            _video(
                one,
                next(iter(TALKING_HEAD_VIDEOS.rows_of(made[key])), None) if key in made else None,
                next(iter(CLONED_SPEECH.rows_of(said[key])), None) if key in said else None,
            )
            for key, one in zip(keys, found, strict=True)
        ]  # fmt: skip

    def made(self, video_id: str) -> TalkingHeadVideoRow | None:
        return next(iter(self.lake.rows(TALKING_HEAD_VIDEOS, video_id)), None)

    def said(self, video_id: str) -> ClonedSpeechRow | None:
        return next(iter(self.lake.rows(CLONED_SPEECH, video_id)), None)

    def devices(self) -> list[VideoDevice]:
        """The devices with their use. nvidia-smi is asked before the leases are read, so that nothing waits for it."""
        known = {gpu.index: gpu for gpu in gpus()} if any(one.gpu is not None for one in self.heads.devices) else {}
        return [
            VideoDevice(
                state.device, state.video_id, _time(state.leased_at), _time(state.set_aside_at), _time(state.until),
                state.reason, *_use(known, device.gpu),
            )
            for device, state in zip(self.heads.devices, self.heads.states(), strict=True)
        ]  # fmt: skip

    def numbers(self, now: datetime, within: timedelta = REMEMBERED) -> VideoNumbers:
        by_kind: dict[str, Counter[str]] = {}
        for one in statuses(self.instance(), self.lake, self.ledger.requests(since=now - within, most=None)):
            by_kind.setdefault(one.request.kind, Counter())[one.state] += 1
        states = self.heads.states()
        devices = {
            "free": sum(state.is_free for state in states),
            "leased": sum(state.video_id is not None for state in states),
            "set_aside": sum(state.set_aside_at is not None and state.video_id is None for state in states),
        }
        return VideoNumbers({kind: dict(found) for kind, found in by_kind.items()}, devices)


def _video(status: VideoStatus, made: TalkingHeadVideoRow | None, said: ClonedSpeechRow | None) -> Video:
    request = status.request
    is_done = status.state == "completed" and made is not None
    own = f"{PATH}/{request.video_id}"
    ended = status.ended_at or datetime.now(UTC)
    return Video(
        request.video_id, request.user_id, request.title, request.language, request.kind, status.state,
        request.admitted_at, request.text,
        links=VideoLinks(own, f"{own}/file" if is_done else None, f"{own}/speech" if said else None),
        timings=VideoTimings(
            said.waited_ms / 1000 if said else None, said.engine_ms / 1000 if said else None,
            made.made_ms / 1000 if made else None,
            (ended - request.admitted_at).total_seconds() if status.started_at else None,
        ),
        kind_reason=request.kind_reason, position=status.position,
        device=status.device or (made.device if made else said.device if said else None), attempt=status.attempt,
        stage=status.stage, error=None if is_done else status.error,
        retry_at=status.retry_at if status.state == "pending" else None,
        waits_for=status.waits_for, duration_ms=made.duration_ms if made else None,
        width=made.width if made else None, height=made.height if made else None,
        size_bytes=made.size_bytes if made else None,
    )  # fmt: skip


def _use(known: dict[int, Gpu], index: int | None) -> tuple[int | None, int | None, float | None]:
    gpu = known.get(index) if index is not None else None
    return (gpu.used_bytes, gpu.total_bytes, gpu.utilization) if gpu else (None, None, None)


def _time(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)
