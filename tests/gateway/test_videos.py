"""Videos through the API and on their page: uploads, limits, who sees what, devices, cancelling, downloads with ranges."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from dagster_project.attempts import ATTEMPT_TAG
from dagster_project.videos import VIDEO_TAG
from demo.head_servers import spoken_tone, talking_picture
from podlake.api import NewVideo, Video, VideoDevice
from podlake.client import ApiError
from tests.gateway.serving import ADMIN, OPERATOR, VIEWER, Served, served
from tests.gateway.test_dashboard import values
from tests.gateway.test_podcasts import _nothing
from tests.gateway.test_studio_page import opened
from tests.landings import land_stage

TEXT = "Good morning. This is the weather."
DEVICES = [
    {
        "name": name, "speech_url": f"http://127.0.0.1:9/{name}", "video_url": f"http://127.0.0.1:9/{name}/video",
        "speech_folder": "/nowhere", "video_folder": "/nowhere",
    }
    for name in ("gpu0", "gpu1")
]  # fmt: skip


@pytest.fixture
def plain(tmp_path: Path, _dagster_home: None) -> Iterator[Served]:
    """A service without devices."""
    with served(tmp_path / "home") as found:
        yield found


@pytest.fixture
def studio(tmp_path: Path, _dagster_home: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A service with two devices."""
    monkeypatch.setenv("PODLAKE_HEAD_DEVICES", json.dumps(DEVICES))
    with served(tmp_path / "home", upload_mb=1) as found:
        yield found


@cache
def picture() -> bytes:
    return talking_picture(spoken_tone(30))


def upload(studio: Served, content: bytes | None = None, name: str = "me.mp4") -> httpx.Response:
    with studio.client(OPERATOR) as http:
        body = picture() if content is None else content
        return http.put("/api/v1/videos/uploads", params={"name": name}, content=body)


def requested(studio: Served, user: tuple[str, str] = OPERATOR, **more: Any) -> Video:
    video = upload(studio).json()["name"] if studio.service.videos.heads.devices else None
    with studio.api(user) as client:
        return client.request_video(NewVideo(TEXT, **{"title": "The weather", "video": video, **more}))


def begun(studio: Served, video_id: str) -> None:
    """A run of the video works."""
    instance = studio.service.studio.instance
    run = instance.create_run_for_job(_nothing, tags={VIDEO_TAG: video_id, ATTEMPT_TAG: "1"})
    instance.report_dagster_event(dg.DagsterEvent(dg.DagsterEventType.PIPELINE_START.value, "nothing"), run.run_id)


def finish(studio: Served, video_id: str) -> None:
    """The video has landed, with its files."""
    files, lake, now = studio.service.videos.files, studio.service.lake, datetime.now(UTC)
    local = files.scratch(video_id, "made.mp4")
    local.write_bytes(picture())
    row = {
        "kind": "talking_head", "title": "The weather", "path": files.publish(video_id, f"{video_id}.mp4", local),
        "size_bytes": len(picture()), "duration_ms": 2_000, "width": 64, "height": 64, "codec": "mpeg4",
        "device": "gpu0", "made_ms": 4_000, "waited_ms": 0,
    }  # fmt: skip
    said = {"path": row["path"], "engine_ms": 3_000, "waited_ms": 1_500, "duration_ms": 2_000, "device": "gpu0"}
    times = {"started_at": now, "finished_at": now}
    for stage in ("reference_audio", "speech_text"):
        land_stage(lake, stage, video_id, {"reference_audio": [{}], "speech_texts": [{"requested_at": now}]}, **times)
    land_stage(lake, "cloned_speech", video_id, {"cloned_speech": [said]}, **times)
    land_stage(lake, "talking_head_video", video_id, {"talking_head_videos": [row]}, **times)


def test_an_upload_is_stored_once_under_its_hash(studio: Served) -> None:
    first = upload(studio)
    assert first.status_code == 201
    name = f"{hashlib.sha256(picture()).hexdigest()}.mp4"
    assert first.json() == {"name": name, "size_bytes": len(picture())}
    assert upload(studio, name="again.MP4").json()["name"] == name
    assert [one.name for one in studio.service.videos.files.uploads()] == [name]
    assert upload(studio, name="page.html").json()["code"] == "bad_upload"
    large = upload(studio, b"0" * 1_000_001)
    assert (large.status_code, large.json()["detail"]) == (
        413, "The body is larger than 1 MB, the limit for this path. Divide it, or make it smaller.",
    )  # fmt: skip
    for content in (b"", b"<html>not found</html>"):
        refused = upload(studio, content)
        assert (refused.status_code, refused.json()["code"]) == (415, "bad_upload")
        assert "me.mp4 is no video or recording that can be read" in refused.json()["detail"]
    assert list((Path(studio.service.lake.home.root) / "videos" / "receiving").glob("*")) == []
    with studio.client(VIEWER) as http:
        assert http.put("/api/v1/videos/uploads?name=a.mp4", content=b"1").status_code == 403


def test_a_request_is_admitted_with_a_link_to_its_status(studio: Served) -> None:
    name = upload(studio).json()["name"]
    with studio.client(OPERATOR) as http:
        answer = http.post("/api/v1/videos", json={"text": TEXT, "video": name})
        found = answer.json()
        assert (answer.status_code, answer.headers["Location"]) == (202, found["links"]["status"])
        assert (found["kind"], found["state"], found["position"], found["title"]) == (
            "talking_head",
            "pending",
            1,
            TEXT,
        )
        assert found["links"] == {"status": f"/api/v1/videos/{found['video_id']}", "file": None, "speech": None}
        assert http.get(found["links"]["status"]).json()["state"] == "pending"
        nothing = http.get("/api/v1/videos/video-20260101-00000000")
        assert (nothing.status_code, nothing.json()["detail"]) == (404, "You have no video video-20260101-00000000.")


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"text": ""}, 400, "bad_text"),
        ({"text": "a" * 5_001}, 400, "bad_text"),
        ({"text": "a\0b"}, 400, "bad_text"),
        ({"title": "two\nlines"}, 400, "bad_title"),
        ({"language": "klingon"}, 400, "bad_language"),
        ({"language": "de"}, 400, "language_unsupported"),
        ({"video": "0" * 64 + ".mp4"}, 400, "no_upload"),
        ({"video": "../../etc/passwd"}, 400, "no_upload"),
        ({"video": None}, 400, "no_video"),
    ],
)
def test_what_is_against_a_rule_is_refused(studio: Served, asked: dict[str, Any], status: int, code: str) -> None:
    with pytest.raises(ApiError) as refused:
        requested(studio, **{key: value for key, value in asked.items() if key != "text"}) if "text" not in asked else (
            studio.api(OPERATOR).request_video(NewVideo(asked["text"], video=upload(studio).json()["name"]))
        )
    assert (refused.value.status, refused.value.problem["code"]) == (status, code)


def test_a_user_has_two_at_once_and_a_limit_for_the_day(studio: Served) -> None:
    for _ in range(2):
        requested(studio)
    with pytest.raises(ApiError) as refused:
        requested(studio)
    assert (refused.value.status, refused.value.problem["code"]) == (429, "rate_limit_exceeded")
    assert requested(studio, ADMIN).position == 3


def test_without_devices_an_audiogram_is_made_and_a_talking_head_is_refused(plain: Served) -> None:
    found = requested(plain, language="de", shape="wide")
    assert found.kind == "audiogram"
    assert (
        found.kind_reason
        == "No device for talking heads is set (PODLAKE_HEAD_DEVICES), and the request left the kind open."
    )
    with pytest.raises(ApiError) as refused:
        requested(plain, kind="talking_head")
    assert (refused.value.status, refused.value.problem["code"]) == (409, "no_device")
    with plain.api(VIEWER) as client:
        assert client.video_devices() == []


def test_users_see_their_own_videos_and_administrators_all(studio: Served) -> None:
    mine, other = requested(studio), requested(studio, ADMIN)
    with studio.api(OPERATOR) as client, studio.api(ADMIN) as admin:
        assert [one.video_id for one in client.videos()] == [mine.video_id]
        assert [one.video_id for one in admin.videos(everyone=True)] == [other.video_id, mine.video_id]
        for act in (client.video, client.cancel_video, client.video_file):
            with pytest.raises(ApiError) as refused:
                act(other.video_id)  # type: ignore[operator]
            assert refused.value.status == 404
        with pytest.raises(ApiError) as refused:
            client.videos(everyone=True)
        assert refused.value.status == 403


def test_devices_say_who_has_them_and_which_are_set_aside(studio: Served) -> None:
    found = requested(studio)
    leases = studio.service.videos.heads.leases
    begun(studio, found.video_id)
    assert leases.take(found.video_id, ["gpu1"]) is not None
    leases.set_aside("gpu0", "It is busy.", 600)
    with studio.api(VIEWER) as client:
        aside, leased = client.video_devices()
    assert (leased.device, leased.video_id, leased.memory_used_bytes, leased.utilization) == (
        "gpu1",
        found.video_id,
        None,
        None,
    )
    assert (aside.reason, aside.video_id) == ("It is busy.", None)
    assert isinstance(leased, VideoDevice)
    with studio.api(OPERATOR) as client:
        now = client.video(found.video_id)
        assert (now.state, now.device, now.stage) == ("processing", "gpu1", "reference_audio")
        assert requested(studio).waits_for == "gpu0 (It is busy.)"
    with studio.client(ADMIN) as http:
        seen = values(http.get("/metrics").text)
    assert seen["podlake_head_devices", (("state", "leased"),)] == 1
    assert seen["podlake_head_devices", (("state", "set_aside"),)] == 1
    assert seen["podlake_videos", (("kind", "talking_head"), ("state", "pending"))] == 1


def test_a_finished_video_is_downloaded_with_ranges_and_timings(studio: Served) -> None:
    found = requested(studio)
    with studio.api(OPERATOR) as client, studio.client(OPERATOR) as http:
        with pytest.raises(ApiError) as refused:
            client.video_file(found.video_id)
        assert (refused.value.status, refused.value.problem["code"]) == (409, "not_finished")
        assert http.get(f"/api/v1/videos/{found.video_id}/speech").status_code == 409
        begun(studio, found.video_id)
        finish(studio, found.video_id)
        done = client.video(found.video_id)
        assert (done.state, done.device, done.duration_ms, done.error) == ("completed", "gpu0", 2_000, None)
        assert (done.timings.waited_s, done.timings.speech_s, done.timings.video_s) == (1.5, 3.0, 4.0)
        assert client.video_file(found.video_id) == picture()
        assert client.video_file(found.video_id, first=10, last=19) == picture()[10:20]
        answer = http.get(str(done.links.file), params={"download": "true"}, headers={"Range": "bytes=0-3"})
        assert (answer.status_code, answer.headers["content-range"]) == (206, f"bytes 0-3/{len(picture())}")
        assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''The%20weather.mp4"
        assert http.get(str(done.links.speech)).status_code == 200
        with pytest.raises(ApiError) as refused:
            client.cancel_video(found.video_id)
        assert (refused.value.status, refused.value.problem["code"]) == (409, "already_finished")
        made = studio.service.videos.made(found.video_id)
        assert made is not None
        (Path(studio.service.lake.home.root) / "videos" / made.path).unlink()
        assert http.get(str(done.links.file)).json()["code"] == "removed"


def test_a_cancelled_video_releases_its_device(studio: Served) -> None:
    found = requested(studio)
    begun(studio, found.video_id)
    heads = studio.service.videos.heads
    assert heads.leases.take(found.video_id, heads.names) is not None
    with studio.api(OPERATOR) as client:
        assert client.cancel_video(found.video_id).state == "cancelled"
        assert client.cancel_video(found.video_id).state == "cancelled"
    assert all(state.is_free for state in heads.states())
    runs = studio.service.studio.instance.get_runs(dg.RunsFilter(tags={VIDEO_TAG: found.video_id}))
    assert [run.status for run in runs] == [dg.DagsterRunStatus.CANCELED]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_uploads_requests_and_previews(
    studio: Served, browser: Any, violations: Callable[[Any], list[str]], tmp_path: Path, width: int
) -> None:
    me = tmp_path / "me.mp4"
    me.write_bytes(picture())
    with opened(browser, studio, OPERATOR, "/videos") as page:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_selector("#devices td")
        page.click("#make")
        page.wait_for_selector("#refusal:not([hidden])")
        assert "A text has 2 to 5,000 characters" in page.locator("#refusal").inner_text()
        page.fill("#script", "<b>Good morning.</b>")
        assert page.locator("#text-count").inner_text() == "20 of 5,000 characters"
        page.set_input_files("#video-file", str(me))
        page.click("#make")
        page.wait_for_selector("#own-videos td:has-text('in the queue, place 1')")
        assert page.locator("#own-videos td").first.inner_text() == "<b>Good morning.</b>"
        (one,) = studio.service.videos.ledger.requests()
        begun(studio, one.video_id)
        finish(studio, one.video_id)
        page.wait_for_selector("#own-videos button:has-text('Show')")
        page.click("#own-videos button:has-text('Show')")
        page.locator("#preview").evaluate(
            "video => new Promise((done) => video.readyState ? done() : video.addEventListener('loadedmetadata', () => done()))"
        )
        assert page.locator("#preview").evaluate("video => video.videoWidth") == 64
        assert page.locator("#preview").get_attribute("src") == f"/api/v1/videos/{one.video_id}/file"
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
