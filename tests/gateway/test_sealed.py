"""Podcasts, lessons and videos whose landings are sealed: feed, API, pages, listening and SQL say what they said before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import feedparser
import pytest

from assets.lake.sealed_tables import REQUESTED_NAMES
from dagster_project.lessons import due
from dagster_project.podcasts import unfinished
from dagster_project.videos import stages_to_run
from podlake.api import NewPodcast
from resources.lake.compaction import open_before, seal
from resources.lake.tables import PODCAST_AUDIO, PODCAST_TRANSCRIPTS, SCRIPTS, TALKING_HEAD_VIDEOS
from resources.lake.tables.lessons import DUBBED_VIDEOS
from resources.lake.warehouse import ask, connect
from resources.studio.feed import FeedSettings, write_feed
from resources.studio.lessons import NewLesson
from tests.gateway.serving import OPERATOR, VIEWER, Served, served
from tests.gateway.test_videos import finish as finish_video
from tests.gateway.test_videos import requested as request_video
from tests.landings import land, land_stage
from tests.lessons import publish
from tests.podcasts import SCRIPT, finish

_SQL = """
select 'podcast', title, duration_ms from podcast_audio
union all select 'lesson', title, duration_ms from lessons
union all select 'video', title, duration_ms from talking_head_videos
order by 1
"""


@pytest.fixture
def studio(tmp_path: Path, _dagster_home: None) -> Iterator[Served]:
    with served(tmp_path / "home") as found:
        yield found


def test_what_is_sealed_is_still_everywhere(studio: Served) -> None:
    lake, files = studio.service.lake, studio.service.studio.files
    podcast, lesson, video = make_all(studio)
    before = everything(studio, podcast, lesson, video)
    assert [one["state"] for one in before["api"][:6]] == [
        "completed", "completed", "published", "published", "completed", "completed",
    ]  # fmt: skip
    assert (before["feed"], before["heard"], before["courses"]) == ([podcast], ("A talk", 2000), [("biology", 1, True)])
    assert before["sql"] == [("lesson", "Mitosis", 1_000), ("podcast", "A talk", 2000), ("video", "The weather", 2000)]

    sealed = {one.table: one.landings for one in seal_requested(studio)}
    assert (sealed["stream_packages"], sealed["published_videos"], sealed["talking_head_videos"]) == (1, 1, 1)
    assert everything(studio, podcast, lesson, video) == before

    # What lands afterwards replaces the rows, before and after it is sealed too.
    land(lake, PODCAST_AUDIO, podcast, [{**row(lake, PODCAST_AUDIO, podcast), "title": "Another talk"}])
    land(lake, SCRIPTS, podcast, [{**row(lake, SCRIPTS, podcast), "title": "Another talk"}])
    land(lake, TALKING_HEAD_VIDEOS, video, [{**row(lake, TALKING_HEAD_VIDEOS, video), "duration_ms": 3_000}])
    publish(lake, studio.service.lessons.ledger, lesson, lesson_rows(studio, lesson, duration_ms=5_000))
    after = everything(studio, podcast, lesson, video)
    assert after["sql"] == [
        ("lesson", "Mitosis", 5_000), ("podcast", "Another talk", 2000), ("video", "The weather", 3_000),
    ]  # fmt: skip
    assert (after["heard"], after["api"][5]["duration_ms"]) == (("Another talk", 2000), 3_000)
    write_feed(lake, files, FeedSettings("https://a.test", "Podcasts"))
    assert [one.title for one in feedparser.parse(files.read("feed.xml")).entries] == ["Another talk"]
    list(seal_requested(studio))
    assert everything(studio, podcast, lesson, video) == after


def test_what_is_sealed_and_finished_is_not_made_again(studio: Served) -> None:
    service, now = studio.service, datetime.now(UTC)
    podcast, lesson, video = make_all(studio)
    list(seal_requested(studio))
    assert unfinished(service.lake, service.studio.ledger, now) == []
    assert due(service.studio.instance, service.lake, service.lessons.ledger) == []
    assert stages_to_run(service.lake, service.videos.heads, video) == []
    with studio.api(VIEWER) as client:  # one at a time: the sealed one is finished
        assert client.request_podcast(NewPodcast(SCRIPT, "The next")).podcast_id != podcast
    with studio.client(OPERATOR) as http:
        answer = http.post(f"/api/v1/lessons/{lesson}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (409, "already_finished")


def make_all(studio: Served) -> tuple[str, str, str]:
    """A finished podcast of the viewer, a published lesson, and a finished video of the operator."""
    lake, files = studio.service.lake, studio.service.studio.files
    with studio.api(VIEWER) as client:
        podcast = client.request_podcast(NewPodcast(SCRIPT, "A talk")).podcast_id
    land(lake, SCRIPTS, podcast, [{"title": "A talk", "language": "en", "script": SCRIPT}])
    finish(lake, files, podcast)
    land(lake, PODCAST_TRANSCRIPTS, podcast, [{"vtt_path": "a.vtt", "json_path": "a.json", "chapters_path": "a"}])
    land_stage(lake, "podcast_hearing", podcast, {"podcast_hearings": [{"word_error_rate": 0.5}]})
    ledger = studio.service.lessons.ledger
    new = NewLesson("Mitosis", "en", "es", "olga", "biology")
    lesson = ledger.add(ledger.new_key(new), new, None).lesson_id
    publish(lake, ledger, lesson, lesson_rows(studio, lesson))
    video = request_video(studio, kind="audiogram").video_id
    finish_video(studio, video)
    return podcast, lesson, video


def lesson_rows(studio: Served, lesson: str, duration_ms: int = 1_000) -> dict[str, list[dict[str, Any]]]:
    files = studio.service.lessons.files
    row = {
        "title": "Mitosis", "course": "biology", "source_language": "en", "target_language": "es",
        "duration_ms": duration_ms, "source_uri": files.write(lesson, "source.mp4", b"source"),
    }  # fmt: skip
    subtitles = {
        "kind": "target", "format": "vtt", "language": "es", "uri": files.write(lesson, "target.vtt", b"WEBVTT"),
    }  # fmt: skip
    return {
        "lessons": [row], "dubbed_videos": [{"uri": files.write(lesson, "dubbed.mp4", b"dubbed")}],
        "lesson_subtitles": [subtitles], "published_videos": [{"service": "folder", "location": "/srv/a.mp4"}],
    }  # fmt: skip


def seal_requested(studio: Served) -> list[Any]:
    lake = studio.service.lake
    done = list(seal(lake, open_before(lake, REQUESTED_NAMES, datetime.now(UTC))))
    assert open_before(lake, REQUESTED_NAMES, datetime.now(UTC)) == set()
    return done


def everything(studio: Served, podcast: str, lesson: str, video: str) -> dict[str, Any]:
    """What users see."""
    service = studio.service
    write_feed(service.lake, service.studio.files, FeedSettings("https://a.test", "Podcasts"))
    api: list[Any] = []
    with studio.client(VIEWER) as viewer, studio.client(OPERATOR) as operator:
        for client, kind, key in (
            (viewer, "podcasts", podcast),
            (viewer, "lessons", lesson),
            (operator, "videos", video),
        ):
            api += client.get(f"/api/v1/{kind}").json()[kind]
            api.append(client.get(f"/api/v1/{kind}/{key}").json())
        contents = [
            viewer.get(f"/api/v1/podcasts/{podcast}/audio").content, viewer.get(f"/api/v1/lessons/{lesson}/video").content,
            viewer.get(f"/api/v1/lessons/{lesson}/subtitles/target.vtt").content,
            operator.get(f"/api/v1/videos/{video}/file").content,
        ]  # fmt: skip
        courses = viewer.get("/api/v1/lessons/courses").json()
    recording = service.library._podcast(podcast)
    with connect(service.lake.home) as connection:
        sql = ask(connection, _SQL)
    return {
        "api": api, "files": contents, "heard": (recording.title, recording.duration_ms), "sql": sql,
        "courses": [(one["course"], one["n_published"], one["is_available"]) for one in courses],
        "feed": [one.id for one in feedparser.parse(service.studio.files.read("feed.xml")).entries],
        "dubbed": len(service.lake.rows(DUBBED_VIDEOS, lesson)),
    }  # fmt: skip


def row(lake: Any, table: Any, key: str) -> dict[str, Any]:
    (found,) = lake.read(table, key).to_pylist()
    return found
