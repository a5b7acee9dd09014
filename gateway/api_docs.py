"""`/docs`: the API in Swagger UI, from files of an installed package; `/openapi.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
_START = """SwaggerUIBundle({url: "/docs/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis]});
"""


@router.get("/openapi.json")
def openapi(request: Request, _: Viewer) -> Response:
    return JSONResponse(request.app.openapi())


@router.get("/docs")
def docs(_: Viewer) -> Response:
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _CSP})


@router.get("/docs/openapi.json")
def openapi_for_page(request: Request, _: Viewer) -> Response:
    """The packaged Swagger UI reads OpenAPI 3.0."""
    return JSONResponse({**_as_3_0(request.app.openapi()), "openapi": "3.0.3"})


@router.get("/docs/{name}")
def file(name: str, _: Viewer) -> Response:
    if name == "start.js":
        return Response(_START, media_type="text/javascript")
    if name not in _FILES:
        raise Problem(404, "There is no such file.")
    import swagger_ui_bundle

    return FileResponse(Path(swagger_ui_bundle.swagger_ui_path) / name, media_type=_FILES[name],
                        headers={"Cache-Control": "private, max-age=86400"})  # fmt: skip


def _as_3_0(value: Any) -> Any:
    """Schemas in the words of OpenAPI 3.0, which has no type `null`, no tuples and no constants."""
    if isinstance(value, list):
        return [_as_3_0(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: _as_3_0(one) for name, one in value.items()}
    if isinstance(found.get("anyOf"), list) and {"type": "null"} in found["anyOf"]:
        kinds = [kind for kind in found.pop("anyOf") if kind != {"type": "null"}]
        found |= {"nullable": True, **(kinds[0] if len(kinds) == 1 and "$ref" not in kinds[0] else {"anyOf": kinds})}
    if isinstance(found.get("prefixItems"), list):
        found["items"] = {"anyOf": found.pop("prefixItems")}
    if "const" in found and "type" in found:
        found["enum"] = [found.pop("const")]
    return found
