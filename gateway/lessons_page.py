"""`/lessons`: the page on which people add lessons, watch them, and open or close their gates."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from gateway.auth import Principal, Role, require
from gateway.dashboard import FOLDER
from gateway.studio_pages import CSP

router = APIRouter()
Viewer = Annotated[Principal, require(Role.VIEWER)]


@router.get("/lessons", include_in_schema=False)
def lessons(_: Viewer) -> Response:
    return FileResponse(FOLDER / "lessons.html", headers={"Content-Security-Policy": CSP})
