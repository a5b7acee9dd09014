"""`/docs`: the API in Swagger UI, from files of an installed package; `/openapi.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response

from gateway.auth import Principal, Role, require
from gateway.errors import Problem

router = APIRouter(include_in_schema=False)
Viewer = Annotated[Principal, require(Role.VIEWER)]

_CSP = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'"
_FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon-32x32.png": "image/png"}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>API · podlake</title><link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="/docs/favicon-32x32.png"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
"""
_START = """SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis]});
"""


@router.get("/openapi.json")
def openapi(request: Request, _: Viewer) -> Response:
    return JSONResponse(request.app.openapi())


@router.get("/docs")
def docs(_: Viewer) -> Response:
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _CSP})


@router.get("/docs/{name}")
def file(name: str, _: Viewer) -> Response:
    if name == "start.js":
        return Response(_START, media_type="text/javascript")
    if name not in _FILES:
        raise Problem(404, "There is no such file.")
    import swagger_ui_bundle

    return FileResponse(Path(swagger_ui_bundle.swagger_ui_path) / name, media_type=_FILES[name],
                        headers={"Cache-Control": "private, max-age=86400"})  # fmt: skip
