"""`/`: the dashboard, a page that follows the pipeline; and `/api/v1/dashboard`, the numbers that it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response

from gateway.auth import Principal, Role, require
from gateway.errors import Problem
from gateway.service import Here
from gateway.snapshot import Snapshot

router = APIRouter()
Viewer = Annotated[Principal, require(Role.VIEWER)]

FOLDER = Path(__file__).with_name("static")
_FILES = {
    "dashboard.js": "text/javascript", "dashboard.css": "text/css",
    "studio.js": "text/javascript", "studio_all.js": "text/javascript", "studio_parts.js": "text/javascript",
    "studio.css": "text/css", "videos.js": "text/javascript", "lessons.js": "text/javascript",
}  # fmt: skip
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


@router.get("/", include_in_schema=False)
def page(_: Viewer) -> Response:
    return FileResponse(FOLDER / "dashboard.html", headers={"Content-Security-Policy": _CSP})


@router.get("/corpus", include_in_schema=False)
@router.get("/dagster", include_in_schema=False)
def mounted(request: Request, _: Viewer) -> Response:
    """The address of a mounted application, which people type without the slash at its end."""
    return RedirectResponse(f"{request.url.path}/")


@router.get("/static/{name}", include_in_schema=False)
def file(name: str, _: Viewer) -> Response:
    if name not in _FILES:
        raise Problem(404, "There is no such file.")
    return FileResponse(FOLDER / name, media_type=_FILES[name])


@router.get("/api/v1/dashboard", tags=["statistics"])
async def dashboard(service: Here, _: Viewer) -> Snapshot:
    """The whole pipeline at one moment, at most ten seconds ago."""
    return await service.snapshot()
