"""The API's routes of videos that are made on request: upload, request, follow, download, cancel. Users see their own."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from dagster_project.videos import OPEN
from gateway.auth import Principal, Role, require
from gateway.dashboard import FOLDER
from gateway.errors import Problem
from gateway.service import Here, Service
from gateway.videos import PATH
from partitions.languages import normalise_language
from podlake.api import NewVideo, UploadedFile, Video, VideoDevice, VideoList
from resources.studio.video_ledger import VideoRequest
from speech.errors import BadReference
from speech.talking_head.reference import check_recording

router = APIRouter(prefix=PATH, tags=["videos"])
pages = APIRouter(include_in_schema=False)
Requester = Annotated[Principal, require(Role.OPERATOR, "submit")]
Viewer = Annotated[Principal, require(Role.VIEWER)]
_PROBLEM: dict[str, object] = {"content": {"application/problem+json": {}}}
_ANSWERS: dict[int | str, dict[str, object]] = {
    400: {
        **_PROBLEM,
        "description": "The text, the title, the language or an upload is against a rule; `code` says which.",
    },
    409: {**_PROBLEM, "description": "`no_device`: a talking head was asked for, and there is no device."},
    429: {**_PROBLEM, "description": "`rate_limit_exceeded` or `daily_limit_exceeded`, with Retry-After."},
}
_TAG = re.compile(r"([A-Za-z]{2,3})([-_][\w-]{1,9})?")
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; media-src 'self' blob:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


@router.put("/uploads", status_code=201)
async def upload(
    request: Request, service: Here, _: Requester, name: Annotated[str, Query(min_length=3, max_length=300)]
) -> UploadedFile:
    """Store the body, a video or a recording, under the hash of its bytes. `name` ends with .mp4, .wav or such."""
    files = service.videos.files
    part = files.receiving(uuid4().hex)
    try:
        with part.open("wb") as file:
            async for block in request.stream():
                await run_in_threadpool(file.write, block)
        await run_in_threadpool(check_recording, part, PurePosixPath(name).name)
        kept = await run_in_threadpool(files.keep_upload, part, PurePosixPath(name).suffix)
    except BadReference as error:
        raise Problem(415, str(error), code="bad_upload") from error
    finally:
        part.unlink(missing_ok=True)
    return UploadedFile(kept.name, kept.size_bytes)


@router.post("", status_code=202, responses=_ANSWERS)
def request_video(asked: NewVideo, service: Here, principal: Requester, response: Response) -> Video:
    """Request a video. The answer links to its status."""
    language = _language(asked.language)
    if language is None:
        raise Problem(400, "This names no language: use a tag such as en or zh.", code="bad_language", field="language")
    for field, name in (("video", asked.video), ("audio", asked.audio)):
        if name is not None and not service.videos.files.has_upload(name):
            raise Problem(400, f"There is no upload {name[:80]}. Upload the file again.", code="no_upload", field=field)
    answer = service.videos.admit(_user_id(principal), asked, language)
    request = service.videos.ledger.request(answer.video_id) if answer.video_id else None
    if request is None:
        wait_s = answer.retry_after_s or (15 if answer.status == 429 else None)
        headers = {"Retry-After": str(wait_s)} if wait_s else None
        raise Problem(answer.status, answer.message, headers=headers, code=answer.code)
    (found,) = service.videos.videos([request])
    response.headers["Location"] = found.links.status
    return found


@router.get("")
def list_videos(
    service: Here, principal: Viewer, everyone: bool = False, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> VideoList:
    """The user's own videos, the newest first; for administrators also those of `everyone`."""
    if everyone and principal.role < Role.ADMIN:
        raise Problem(403, "Only administrators see the videos of others.")
    requests = service.videos.ledger.requests(None if everyone else _user_id(principal), most=limit)
    return VideoList(tuple(service.videos.videos(requests)))


@router.get("/devices")
def devices(service: Here, _: Viewer) -> list[VideoDevice]:
    """The devices for talking heads: who has them, which are set aside and why, memory and use."""
    return service.videos.devices()


@router.get("/{video_id}")
def video(video_id: str, service: Here, principal: Viewer) -> Video:
    """One video: state, position, device, timings and links."""
    (found,) = service.videos.videos([_own(service, principal, video_id)])
    return found


@router.post("/{video_id}/cancel")
def cancel(video_id: str, service: Here, principal: Requester) -> Video:
    """Cancel a video that is not finished. One that is cancelled already stays so."""
    request = _own(service, principal, video_id)
    (before,) = service.videos.videos([request])
    if before.state not in (*OPEN, "cancelled"):
        raise Problem(409, f"The video is {before.state} already.", code="already_finished")
    service.videos.cancel(video_id)
    (found,) = service.videos.videos([service.videos.ledger.request(video_id) or request])
    return found


@router.get("/{video_id}/file", response_class=FileResponse)
def file(video_id: str, service: Here, principal: Viewer, download: bool = False) -> Response:
    """The finished video. Answers Range requests. With `download`, browsers save it under its title."""
    request = _own(service, principal, video_id)
    (found,) = service.videos.videos([request])
    made = service.videos.made(video_id) if found.state == "completed" else None
    if made is None:
        raise Problem(409, f"The video is {found.state}, and has no file.", code="not_finished")
    name = f"{request.title}.mp4" if download else None
    return FileResponse(_local(service, made.path), media_type="video/mp4", filename=name)


@router.get("/{video_id}/speech", response_class=FileResponse)
def speech(video_id: str, service: Here, principal: Viewer) -> Response:
    """The speech of the video, as soon as it is said. Answers Range requests."""
    _own(service, principal, video_id)
    said = service.videos.said(video_id)
    if said is None:
        raise Problem(409, "The speech is not said yet.", code="not_finished")
    return FileResponse(_local(service, said.path), media_type="audio/wav")


@pages.get("/videos")
def page(_: Viewer) -> Response:
    return FileResponse(FOLDER / "videos.html", headers={"Content-Security-Policy": _CSP})


def _local(service: Service, path: str) -> Path:
    if not service.videos.files.exists(path):
        raise Problem(404, "The file was removed.", code="removed")
    return service.videos.files.local(path)


def _own(service: Service, principal: Principal, video_id: str) -> VideoRequest:
    """The request, if it is the principal's. Others are not told whether it exists."""
    request = service.videos.ledger.request(video_id)
    if request is None or (principal.role < Role.ADMIN and request.user_id != _user_id(principal)):
        raise Problem(404, f"You have no video {video_id[:120]}.")
    return request


def _language(text: str) -> str | None:
    found = _TAG.fullmatch(text)
    return normalise_language(found[1].lower()) if found else None


def _user_id(principal: Principal) -> str:
    if len(principal.user_id) > 200:
        raise Problem(400, "The name of the user is longer than 200 characters.")
    return principal.user_id
