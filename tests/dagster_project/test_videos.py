"""What becomes of requested videos: states from runs and failures, which are due, and at which stage they go on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.stages import STAGES
from dagster_project.attempts import ATTEMPT_TAG
from dagster_project.videos import (
    VIDEO_TAG,
    VideoStatus,
    due_videos,
    stages_to_run,
    statuses,
    statuses_in_queue,
)
from pipeline.records import land_failure
from pipeline.stage import Failure
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.studio.device_leases import DeviceLeases
from resources.studio.head_devices import HeadDevices
from resources.studio.video_ledger import AskedVideo, VideoLedger, VideoLimits
from speech.errors import BadReference, DeviceBusy, HeadServiceFailed, PodlakeError
from speech.talking_head.device import HeadDevice
from tests.landings import land_stage

NOW = datetime.now(UTC)


@dg.job
def nothing() -> None: ...


@dataclass
class Studio:
    instance: dg.DagsterInstance
    lake: Lake
    ledger: VideoLedger
    heads: HeadDevices

    def request(self, kind: str = "talking_head") -> str:
        asked = AskedVideo("ana", "Good morning.", wanted=kind, video_upload="me.mp4")  # type: ignore[arg-type]
        answer = self.ledger.admit(asked, VideoLimits(99, 99), lambda _: [], has_devices=True)
        assert answer.video_id is not None
        return answer.video_id

    def status(self, video_id: str) -> VideoStatus:
        request = self.ledger.request(video_id)
        assert request is not None
        return statuses_in_queue(self.instance, self.lake, self.ledger, self.heads, [request])[0]

    def run(self, video_id: str, attempt: int, error: PodlakeError | None = None, stage: str = "cloned_speech") -> None:
        """A run that works; with an error, one that has failed."""
        tags = {VIDEO_TAG: video_id, ATTEMPT_TAG: str(attempt)}
        run = self.instance.create_run_for_job(nothing, tags=tags)
        self.instance.report_dagster_event(
            dg.DagsterEvent(dg.DagsterEventType.PIPELINE_START.value, "nothing"), run.run_id
        )
        if error is not None:
            land_failure(self.lake, STAGES[stage], Failure(video_id, error), run.run_id)
            self.instance.report_run_failed(run)

    def due(self) -> list[str]:
        found = due_videos(self.instance, self.lake, self.ledger, self.heads, retry_after=timedelta(0))
        return [one.request.video_id for one in found]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    url = f"sqlite:///{tmp_path}/service.db"
    devices = tuple(
        HeadDevice(f"gpu{n}", f"http://a{n}:1", f"http://a{n}:2", tmp_path, tmp_path) for n in range(2)
    )  # fmt: skip
    with dg.instance_for_test() as instance:
        yield Studio(
            instance, Lake(Home.at(str(tmp_path / "home"))), VideoLedger(url), HeadDevices(devices, DeviceLeases(url))
        )


def test_no_more_talking_heads_start_than_there_are_devices(studio: Studio) -> None:
    videos = [studio.request() for _ in range(3)]
    drawn = studio.request("audiogram")
    assert [studio.status(video_id).position for video_id in (*videos, drawn)] == [1, 2, 3, 4]
    assert studio.due() == [*videos[:2], drawn]
    assert studio.due() == [videos[2]]  # the others are claimed, and their runs do not show yet
    for video_id in videos[:2]:
        studio.run(video_id, 1)
    studio.request()
    assert studio.due() == []


def test_a_device_that_is_set_aside_is_no_place_and_is_named(studio: Studio) -> None:
    videos = [studio.request() for _ in range(2)]
    studio.heads.leases.set_aside("gpu0", "It is busy.", 600)
    assert studio.due() == videos[:1]
    assert studio.status(videos[1]).waits_for == "gpu0 (It is busy.)"


def test_a_failed_attempt_is_followed_by_two_others(studio: Studio) -> None:
    video_id = studio.request()
    for attempt in (1, 2):
        studio.run(video_id, attempt, HeadServiceFailed("no answer"))
        found = studio.status(video_id)
        assert (found.state, found.attempt, found.stage, found.error) == (
            "pending",
            attempt,
            "cloned_speech",
            "no answer",
        )
        assert studio.due() == [video_id]
    studio.run(video_id, 3, HeadServiceFailed("no answer"))
    assert studio.status(video_id).state == "failed"


def test_a_permanent_error_ends_a_request_and_a_busy_device_does_not(studio: Studio) -> None:
    bad, busy = studio.request(), studio.request()
    studio.run(bad, 1, BadReference("no speech"), "reference_audio")
    assert (studio.status(bad).state, studio.status(bad).error) == ("failed", "no speech")
    for attempt in range(1, 6):
        studio.run(busy, attempt, DeviceBusy("none is left"))
    assert studio.status(busy).state == "pending"
    assert studio.due() == [busy]


def test_an_attempt_goes_on_where_the_last_one_ended(studio: Studio) -> None:
    video_id = studio.request()
    times = {"started_at": NOW, "finished_at": NOW}
    assert stages_to_run(studio.lake, studio.heads, video_id) == [
        "reference_audio", "speech_text", "cloned_speech", "talking_head_video",
    ]  # fmt: skip
    rows = {"reference_audio": [{}], "speech_texts": [{"requested_at": NOW}], "cloned_speech": [{"device": "gpu0"}]}
    for stage in ("reference_audio", "speech_text", "cloned_speech"):
        land_stage(studio.lake, stage, video_id, rows, **times)
    assert stages_to_run(studio.lake, studio.heads, video_id) == ["talking_head_video"]
    studio.heads.leases.set_aside("gpu0", "It is busy.", 600)
    assert stages_to_run(studio.lake, studio.heads, video_id) == ["cloned_speech", "talking_head_video"]
    land_stage(studio.lake, "talking_head_video", video_id, {"talking_head_videos": [{}]}, **times)
    (found,) = statuses(studio.instance, studio.lake, [one for one in [studio.ledger.request(video_id)] if one])
    assert found.state == "completed"
