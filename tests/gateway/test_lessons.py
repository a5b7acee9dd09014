"""Lessons over HTTP and in a real browser: upload, gates, previews, refusals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.stages import STAGES
from dagster_project.lessons import run_tags, statuses
from pipeline.records import Run, land_failure
from pipeline.stage import Failure, Landing
from podlake.api import LessonRetry
from podlake.client import ApiError
from resources.lake.tables.lessons import DUBBED_VIDEOS, LESSONS
from speech.errors import BadLesson
from tests.gateway.serving import ADMIN, OPERATOR, VIEWER, Served, served
from tests.gateway.test_dashboard import values
from tests.gateway.test_studio_page import opened
from tests.landings import land, land_outcome
from tests.videos import tone, write_video

PLACE = {"title": "Mitosis", "source": "en", "target": "es", "course": "biology"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, _dagster_home: None) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODLAKE_LESSON_MAX_GB", "0.0002")
        with served(tmp_path_factory.mktemp("lessons")) as found:
            yield found


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4", tone(1.0), video="libx264").read_bytes()


def add(service: Served, content: bytes, title: str = "Mitosis", **more: str) -> Any:
    with service.client(OPERATOR) as client:
        params = {**PLACE, "title": title, "file_name": "talk.mp4", **more}
        return client.post("/api/v1/lessons", params=params, content=content)


def probed(service: Served, key: str) -> None:
    """What the run of `lesson_video` lands."""
    lesson = service.service.lessons.ledger.lesson(key)
    assert lesson is not None
    row = {
        "source_uri": lesson.source_uri,
        "title": lesson.title,
        "added_at": datetime.now(UTC),
        "course": lesson.course,
    }
    land(service.service.lake, LESSONS, key, [{**row, "source_language": "en", "target_language": "es"}])


def landed(service: Served, key: str) -> None:
    """What the run of the gate lands."""
    review = service.service.lessons.ledger.review(key, "content_review")
    assert review is not None
    row = {name: value for name, value in asdict(review).items() if name != "gate"}
    outcome = Landing(key, {"content_reviews": [row]})
    land_outcome(service.service.lake, STAGES["content_review"], outcome, Run("run", "run", datetime.now(UTC), 1))


def test_an_uploaded_video_waits_for_its_first_review(service: Served, video: bytes) -> None:
    answer = add(service, video)
    assert answer.status_code == 202, answer.text
    found = answer.json()
    key = found["lesson_id"]
    assert answer.headers["Location"] == f"/api/v1/lessons/{key}"
    assert (found["state"], found["stage"], found["added_by"]) == ("pending", "lesson_video", OPERATOR[0])
    stored = service.service.lessons.ledger.lesson(key)
    assert stored is not None
    assert Path(service.service.lake.home.path(str(stored.source_uri))).read_bytes() == video
    with service.client(OPERATOR) as client:
        early = client.post(f"/api/v1/lessons/{key}/reviews", json={"decision": "approved"})
        assert (early.status_code, early.json()["code"]) == (409, "nothing_to_review")
        probed(service, key)
        assert client.get(f"/api/v1/lessons/{key}").json()["state"] == "content_review"
        without = client.post(f"/api/v1/lessons/{key}/reviews", json={"decision": "rejected"})
        assert (without.status_code, without.json()["code"]) == (400, "no_reason")
        rejected = client.post(f"/api/v1/lessons/{key}/reviews", json={"decision": "rejected", "note": "It hums."})
        assert rejected.json()["reviews"][0]["note"] == "It hums."
        approved = client.post(
            f"/api/v1/lessons/{key}/reviews", json={"decision": "approved", "gate": "content_review"}
        ).json()
        assert (approved["state"], approved["stage"]) == ("pending", "content_review")
        reviews = client.get(f"/api/v1/lessons/{key}/reviews").json()
        assert [(one["decision"], one["decided_by"]) for one in reviews] == [
            ("rejected", OPERATOR[0]), ("approved", OPERATOR[0]),
        ]  # fmt: skip
        cancelled = client.post(f"/api/v1/lessons/{key}/cancel").json()
        assert cancelled["state"] == "cancelled"


def test_previews_answer_ranges(service: Served, video: bytes) -> None:
    key = add(service, video, "Preview").json()["lesson_id"]
    with service.client(VIEWER) as client:
        assert client.get(f"/api/v1/lessons/{key}/video").status_code == 404
        assert client.get(f"/api/v1/lessons/{key}/subtitles/target.vtt").status_code == 404
        probed(service, key)
        part = client.get(f"/api/v1/lessons/{key}/video?which=source", headers={"Range": "bytes=4-7"})
        assert (part.status_code, part.content) == (206, b"ftyp")
        assert part.headers["Content-Type"] == "video/mp4"
        lesson = service.service.lessons.ledger.lesson(key)
        assert lesson is not None
        land(service.service.lake, DUBBED_VIDEOS, key, [{"uri": lesson.source_uri}])
        assert client.get(f"/api/v1/lessons/{key}/video").content == video
        assert client.get("/api/v1/lessons/lesson-20260101-00000000/video").status_code == 404
        listed = client.get("/api/v1/lessons", params={"course": "biology"}).json()["lessons"]
        assert key in [one["lesson_id"] for one in listed]
        assert client.get("/api/v1/lessons", params={"course": "other"}).json()["lessons"] == []
        (course,) = client.get("/api/v1/lessons/courses").json()
        assert (course["course"], course["is_available"]) == ("biology", False)


def test_prometheus_counts_lessons_by_state(service: Served, video: bytes) -> None:
    add(service, video)
    with service.client(ADMIN) as client:
        found = values(client.get("/metrics").text)
    assert found["podlake_lessons", (("state", "pending"),)] >= 1


@pytest.mark.parametrize(
    ("more", "content", "status", "message"),
    [
        ({"file_name": "talk.exe"}, b"MZ", 400, "no file of .mp4"),
        ({}, b"<html>not found</html>", 400, "talk.mp4 cannot be read as a video"),
        ({}, b"", 400, "talk.mp4 is empty"),
        ({"target": "en"}, None, 400, "in en already"),
        ({"target": "12"}, None, 400, "names no language"),
        ({"target": "tl"}, None, 400, "PODLAKE_VOICES=tl.S1="),
        ({"episode": "show-20260101-00000001"}, None, 400, "or episode"),
        ({"title": " "}, None, 400, "A title is one line"),
        ({}, b"x" * 300_000, 413, ""),
    ],
)
def test_bad_lessons_are_refused_and_leave_nothing(
    service: Served, video: bytes, more: dict[str, str], content: bytes | None, status: int, message: str
) -> None:
    before = service.service.lessons.ledger.lessons()
    answer = add(service, video if content is None else content, **more)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["detail"]
    assert "uploads" not in answer.text
    assert service.service.lessons.ledger.lessons() == before
    uploads = service.service.lessons.files.cache / "uploads"
    assert not uploads.exists() or list(uploads.iterdir()) == []


def test_viewers_look_and_do_not_decide(service: Served, video: bytes) -> None:
    key = add(service, video, "Watched").json()["lesson_id"]
    probed(service, key)
    with service.client(VIEWER) as client:
        assert client.get(f"/api/v1/lessons/{key}").status_code == 200
        assert client.post(f"/api/v1/lessons/{key}/reviews", json={"decision": "approved"}).status_code == 403
        assert client.post("/api/v1/lessons", params={**PLACE, "file_name": "a.mp4"}, content=video).status_code == 403
        missing = client.get("/api/v1/lessons/lesson-20260101-00000000")
        assert (missing.status_code, missing.json()["detail"]) == (404, "There is no lesson lesson-20260101-00000000.")


def test_operators_try_a_failed_lesson_again(service: Served, video: bytes) -> None:
    key = add(service, video, "Again").json()["lesson_id"]
    instance, lake, ledger = service.service.studio.instance, service.service.lake, service.service.lessons.ledger
    (before,) = statuses(instance, lake, ledger, [ledger.lesson(key)])  # type: ignore[list-item]
    run = instance.create_run_for_job(_nothing, tags=run_tags(before))
    land_failure(lake, STAGES["lesson_video"], Failure(key, BadLesson("It is broken.")), run.run_id)
    instance.report_run_failed(run, "It is broken.")
    with service.api(OPERATOR) as client:
        failed = client.lesson(key)
        assert (failed.state, failed.error, failed.attempt) == ("failed", "It is broken.", 1)
        again = client.retry_lesson(key)
        assert (again.state, again.error, again.attempt, again.stage) == ("pending", None, 0, "lesson_video")
        refused: list[tuple[str, LessonRetry, int, str | None]] = [
            ("lesson-20260101-00000000", LessonRetry(), 404, None), (key, LessonRetry("audio"), 400, "bad_stage"),
        ]  # fmt: skip
        for lesson_id, asked, status, code in refused:
            with pytest.raises(ApiError) as error:
                client.retry_lesson(lesson_id, asked)
            assert (error.value.status, error.value.problem.get("code")) == (status, code)
        ledger.cancel(key)
        with pytest.raises(ApiError, match="Add the video again") as error:
            client.retry_lesson(key)
        assert (error.value.status, error.value.problem["code"]) == (409, "cannot_retry")
    with service.api(VIEWER) as viewer, pytest.raises(ApiError, match="403"):
        viewer.retry_lesson(key)
    with service.client(VIEWER) as viewer:
        (route,) = viewer.get("/openapi.json").json()["paths"]["/api/v1/lessons/{lesson_id}/retry"].values()
    assert {"200", "400", "409"} <= set(route["responses"])


@dg.job
def _nothing() -> None: ...


def test_the_page_shows_and_decides(
    service: Served, video: bytes, browser: Any, violations: Callable[[Any], list[str]], tmp_path: Path
) -> None:
    key = add(service, video, "On the page <b>").json()["lesson_id"]
    probed(service, key)
    (tmp_path / "new.mp4").write_bytes(video)
    with opened(browser, service, OPERATOR, "/lessons") as page:
        card = page.locator("article", has_text="On the page <b>")
        assert "waits: may it be dubbed?" in card.inner_text()
        assert violations(page) == []
        played_s = card.locator("video").evaluate(
            "video => new Promise(done => { video.onended = () => done(video.currentTime); video.play(); })"
        )
        assert played_s == pytest.approx(1.0, abs=0.2)
        page.once("dialog", lambda dialog: dialog.accept("The microphone hums."))
        card.get_by_role("button", name="Reject").click()
        page.wait_for_selector("article:has-text('On the page <b>'):has-text('rejected by')")
        landed(service, key)
        again = "article:has-text('On the page <b>') button:has-text('Approve after all')"
        page.wait_for_selector(again)
        assert violations(page) == []
        page.click(again)
        page.wait_for_selector("article:has-text('On the page <b>'):has-text('content approved by')")
        page.set_input_files("#file", str(tmp_path / "new.mp4"))
        page.fill("#title", "Uploaded here")
        page.fill("#target", "es")
        page.dblclick("#add button")
        page.wait_for_selector("article:has-text('Uploaded here')")
        assert page.locator("article:has-text('Uploaded here')").count() == 1
        if folder := os.environ.get("PODLAKE_SCREENSHOTS"):
            page.screenshot(path=f"{folder}/lessons.png", full_page=True)
    review = service.service.lessons.ledger.review(key, "content_review")
    assert review is not None
    assert (review.is_approved, review.decided_by) == (True, OPERATOR[0])
