"""The API's routes of lessons that are dubbed: add, follow, look at, review, retry, cancel."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from assets.stages import LESSON_GRAPH
from dagster_project.lessons import cancel, decide, retry
from gateway.auth import Principal, Role, require
from gateway.errors import Problem
from gateway.lessons import Which
from gateway.service import Here, Service
from partitions.languages import normalise_language
from podlake.api import Course, Lesson, LessonList, LessonRetry, LessonReview, NewReview
from resources.engines.voices import FIRST_SPEAKER, NoVoice
from resources.lake.catalogue import Catalogue
from resources.studio.lessons import Lesson as LedgerLesson
from resources.studio.lessons import NewLesson
from speech.errors import BadLesson, NotAudio, PodlakeError, StorageError, Undecodable
from speech.videos import FORMATS

router = APIRouter(prefix="/api/v1/lessons", tags=["lessons"])
Viewer = Annotated[Principal, require(Role.VIEWER)]
Operator = Annotated[Principal, require(Role.OPERATOR, "submit")]
Retrier = Annotated[Principal, require(Role.OPERATOR, "retry")]
_PROBLEM: dict[str, object] = {"content": {"application/problem+json": {}}}
_RETRY_ANSWERS: dict[int | str, dict[str, object]] = {
    400: {**_PROBLEM, "description": "`bad_stage`: lessons have no such asset."},
    409: {**_PROBLEM, "description": "`cannot_retry`: the lesson is processed at the moment, or cancelled."},
}
_MEDIA_TYPES = {"vtt": "text/vtt", "srt": "application/x-subrip"}


@router.post("", status_code=202)
async def add_lesson(
    request: Request, service: Here, principal: Operator, response: Response,
    title: Annotated[str, Query(max_length=200)], source: Annotated[str, Query(max_length=12)],
    target: Annotated[str, Query(max_length=12)], course: Annotated[str | None, Query(max_length=100)] = None,
    file_name: Annotated[str | None, Query(max_length=200)] = None,
    episode: Annotated[str | None, Query(max_length=120)] = None,
) -> Lesson:  # fmt: skip
    """Add a lesson: the video is the body of the request and `file_name` its name, or `episode` is one of the catalogue.

    Nothing is dubbed before it is approved.
    """
    new = NewLesson(title, _language(source), _language(target), principal.user_id, course, episode)
    try:
        new.check()
    except BadLesson as error:
        raise Problem(400, str(error), code="bad_lesson") from error
    try:
        await run_in_threadpool(service.studio.voices.check_voice, FIRST_SPEAKER, new.target_language)
    except NoVoice as error:
        raise Problem(400, str(error), code=error.code, field="target") from error
    if (file_name is None) == (episode is None):
        raise Problem(400, "Give file_name and the bytes of the video, or episode.", code="bad_lesson")
    if episode is not None:
        added = await run_in_threadpool(_add_episode, service, new)
    else:
        added = await _add_file(service, new, request, str(file_name))
    response.headers["Location"] = f"/api/v1/lessons/{added.lesson_id}"
    return await run_in_threadpool(_entry, service, added)


@router.get("")
def list_lessons(
    service: Here, _: Viewer, course: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> LessonList:
    """The newest lessons, the newest first; of one course, or of all."""
    found = service.lessons.ledger.lessons(course, most=limit)
    return LessonList(tuple(service.lessons.entries(service.studio.instance, found)))


@router.get("/courses")
def list_courses(service: Here, _: Viewer) -> list[Course]:
    """The courses, and which of them are available: all their lessons that are not cancelled are published."""
    return service.lessons.courses()


@router.get("/{lesson_id}")
def lesson(lesson_id: str, service: Here, _: Viewer) -> Lesson:
    """One lesson, and where it is."""
    return _entry(service, _known(service, lesson_id))


@router.get("/{lesson_id}/reviews")
def list_reviews(lesson_id: str, service: Here, _: Viewer) -> list[LessonReview]:
    """All decisions about a lesson, in their order. The last one of a gate holds."""
    return list(_entry(service, _known(service, lesson_id)).reviews)


@router.post("/{lesson_id}/reviews")
def review_lesson(lesson_id: str, asked: NewReview, service: Here, principal: Operator) -> Lesson:
    """Open or close the gate that the lesson has come to, or the one that is named. The sensor goes on from there."""
    found, lessons = _known(service, lesson_id), service.lessons
    if asked.decision == "rejected" and not (asked.note or "").strip():
        raise Problem(400, "A rejection has a reason: add a note.", code="no_reason", field="note")
    try:
        decide(
            service.studio.instance, lessons.lake, lessons.ledger, lesson_id, is_approved=asked.decision == "approved",
            by=principal.name, note=asked.note, gate=asked.gate,
        )  # fmt: skip
    except BadLesson as error:
        raise Problem(409, str(error), code="nothing_to_review") from error
    return _entry(service, found)


@router.post("/{lesson_id}/retry", responses=_RETRY_ANSWERS)
def retry_lesson(lesson_id: str, service: Here, _: Retrier, asked: LessonRetry | None = None) -> Lesson:
    """Try a lesson again, at the stage that is named or at the first one that is missing. The sensor starts the run."""
    _known(service, lesson_id)
    stage, lessons = asked.stage if asked else None, service.lessons
    if stage is not None and stage not in LESSON_GRAPH.names:
        message = f"{stage[:60]} is no stage of lessons: {', '.join(LESSON_GRAPH.names)}."
        raise Problem(400, message, code="bad_stage", field="stage")
    try:
        retry(service.studio.instance, lessons.lake, lessons.ledger, lesson_id, stage)
    except BadLesson as error:
        raise Problem(409, str(error), code="cannot_retry") from error
    return _entry(service, _known(service, lesson_id))


@router.post("/{lesson_id}/cancel")
def cancel_lesson(lesson_id: str, service: Here, _: Operator) -> Lesson:
    """Stop dubbing a lesson. A published one stays."""
    found, lessons = _known(service, lesson_id), service.lessons
    if _entry(service, found).state == "published":
        raise Problem(409, "The lesson is published already.", code="already_finished")
    cancel(service.studio.instance, lessons.lake, lessons.ledger, lesson_id)
    return _entry(service, _known(service, lesson_id))


@router.get("/{lesson_id}/video", response_class=FileResponse)
def video(lesson_id: str, service: Here, _: Viewer, which: Which = "dubbed") -> Response:
    """The dubbed video, or the one that was given. Answers Range requests."""
    _known(service, lesson_id)
    try:
        path = service.lessons.video(lesson_id, which)
    except StorageError as error:
        raise Problem(404, f"The video of {lesson_id} was removed.") from error
    if path is None:
        raise Problem(404, f"{lesson_id} has no {which} video yet.")
    return FileResponse(path, media_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream")


@router.get("/{lesson_id}/subtitles/{kind}.{suffix}", response_class=FileResponse)
def subtitles(
    lesson_id: str, kind: Literal["source", "target", "bilingual"], suffix: Literal["srt", "vtt"], service: Here,
    _: Viewer,
) -> Response:  # fmt: skip
    """Subtitles in one language, or in both."""
    _known(service, lesson_id)
    try:
        path = service.lessons.subtitles(lesson_id, kind, suffix)
    except StorageError as error:
        raise Problem(404, f"The subtitles of {lesson_id} were removed.") from error
    if path is None:
        raise Problem(404, f"{lesson_id} has no subtitles yet.")
    return FileResponse(path, media_type=_MEDIA_TYPES[suffix])


async def _add_file(service: Service, new: NewLesson, request: Request, file_name: str) -> LedgerLesson:
    """Receive the body beside the others, then look at it."""
    suffix = Path(file_name).suffix.lower()
    if suffix not in FORMATS:
        raise Problem(400, f"The video is no file of {', '.join(FORMATS)}.", code="bad_lesson", field="file_name")
    received = service.lessons.files.work("uploads", f"{uuid4().hex}{suffix}")
    try:
        with received.open("wb") as file:
            async for part in request.stream():
                await run_in_threadpool(file.write, part)
        return await run_in_threadpool(service.lessons.add_file, new, received)
    except (BadLesson, NotAudio, Undecodable) as error:
        message = str(error).replace(str(received), file_name).replace(received.name, file_name)
        raise Problem(400, message, code="bad_lesson", field="file_name") from error
    finally:
        received.unlink(missing_ok=True)


def _add_episode(service: Service, new: NewLesson) -> LedgerLesson:
    if str(new.episode_id) not in Catalogue(service.lake).entries([str(new.episode_id)]):
        raise Problem(404, f"There is no episode {new.episode_id}.")
    try:
        return service.lessons.add_episode(new)
    except PodlakeError as error:
        raise Problem(400, str(error), code="bad_lesson") from error


def _entry(service: Service, found: LedgerLesson) -> Lesson:
    (entry,) = service.lessons.entries(service.studio.instance, [found])
    return entry


def _known(service: Service, lesson_id: str) -> LedgerLesson:
    found = service.lessons.ledger.lesson(lesson_id)
    if found is None:
        raise Problem(404, f"There is no lesson {lesson_id[:120]}.")
    return found


def _language(text: str) -> str:
    known = normalise_language(text)
    if known is None:
        raise Problem(400, f"{text!r} names no language: use a tag such as en or es.", code="bad_language")
    return known
