"""`/listen/{id}`: a page that plays an episode or a podcast live; and its script, which other pages use too."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from gateway.auth import Principal, Role, require

router = APIRouter(include_in_schema=False)
Viewer = Annotated[Principal, require(Role.VIEWER)]

_FOLDER = Path(__file__).parents[1] / "static"
_MEDIA_TYPES = {"js": "text/javascript", "css": "text/css"}
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; media-src blob:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""`blob:` is where MediaSource plays from."""


@router.get("/listen/{key}")
def page(key: str, _: Viewer) -> Response:  # noqa: ARG001 - the script reads it from the address
    return FileResponse(_FOLDER / "listen.html", headers={"Content-Security-Policy": _CSP})


@router.get("/static/listen.js")
@router.get("/static/listen.css")
@router.get("/static/listen-page.js")
@router.get("/static/listen-page.css")
def file(request: Request, _: Viewer) -> Response:
    name = request.url.path.rpartition("/")[2]
    return FileResponse(_FOLDER / name, media_type=_MEDIA_TYPES[name.rpartition(".")[2]])
