"""The pages of the studio, and the folder `podcasts` with its feed for podcast apps."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from dagster_project.build_resources import podcast_feed
from gateway.auth import Principal, Role, require
from gateway.dashboard import FOLDER
from gateway.errors import Problem
from gateway.service import Here
from resources.studio.feed import FILE, feed_document

router = APIRouter()
Viewer = Annotated[Principal, require(Role.VIEWER)]
Administrator = Annotated[Principal, require(Role.ADMIN)]
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "media-src 'self' blob:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_MEDIA_TYPES = {
    "xml": "application/rss+xml", "mp3": "audio/mpeg", "opus": "audio/ogg", "vtt": "text/vtt",
    "json": "application/json", "chapters.json": "application/json+chapters", "webm": "audio/webm",
}  # fmt: skip
_FILE = re.compile(r"\d{4}/\d{2}/[a-z0-9-]{1,120}\.(mp3|opus|vtt|json|chapters\.json|webm)")


@router.get("/studio", include_in_schema=False)
def studio(_: Viewer) -> Response:
    return FileResponse(FOLDER / "studio.html", headers={"Content-Security-Policy": CSP})


@router.get("/studio/all", include_in_schema=False)
def everybodys(_: Administrator) -> Response:
    return FileResponse(FOLDER / "studio_all.html", headers={"Content-Security-Policy": CSP})


@router.head("/podcasts/{path:path}", include_in_schema=False)
@router.get("/podcasts/{path:path}", tags=["podcasts"], response_class=FileResponse)
def podcast_file(path: str, service: Here, _: Viewer) -> Response:
    """`feed.xml`, and the files that it names. Podcast apps log in with name and password. Answers Range requests."""
    if path != FILE and not _FILE.fullmatch(path):
        raise Problem(404, "There is no such file.")
    kind = _MEDIA_TYPES[path.rpartition("/")[2].partition(".")[2]]
    try:
        local = service.studio.files.local(path)
        if local.is_file():
            return FileResponse(local, media_type=kind, headers={"Cache-Control": "private, no-cache"})
    except FileNotFoundError:
        pass
    if path == FILE:  # no podcast is finished
        return Response(feed_document([], podcast_feed(service.settings)), media_type=kind)
    raise Problem(404, "There is no such file.")
