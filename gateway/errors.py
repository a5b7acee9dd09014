"""Errors as RFC 9457 says: `application/problem+json` with title, status and detail."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from speech.errors import PodlakeError, UpstreamMissing

if TYPE_CHECKING:
    from fastapi import FastAPI

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger("podlake")


class Problem(HTTPException):
    """An error for the client. `detail` says what happened and what to do; `more` are further members."""

    def __init__(self, status: int, detail: str, *, headers: dict[str, str] | None = None, **more: object) -> None:
        super().__init__(status, detail, headers)
        self.more = more


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None, **more: object) -> Response:
    """The response."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    body = json.dumps(jsonable_encoder(content), ensure_ascii=False).encode()
    return Response(body, status, headers, media_type=MEDIA_TYPE)


def handle_errors(app: FastAPI) -> None:
    """Answer every error of the application as a problem."""

    async def refused(connection: Request | WebSocket, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        response = problem(
            error.status_code, str(error.detail), headers=_plain(error.headers), **getattr(error, "more", {})
        )
        if isinstance(connection, WebSocket):
            await connection.send_denial_response(response)
        return response

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = [{"where": [str(part) for part in one["loc"]], "message": one["msg"]} for one in error.errors()]
        what = "; ".join(f"{'.'.join(one['where'])}: {one['message']}" for one in found[:5])
        return problem(422, f"The request is not valid. {what}", errors=found)

    async def missing(_: Request, error: Exception) -> Response:
        return problem(404, str(error))

    async def known(_: Request, error: Exception) -> Response:
        return problem(409, str(error), error_class=getattr(error, "error_class", "bug"))

    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(500, "The service failed. Its log has the reason.")

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(UpstreamMissing, missing)
    app.add_exception_handler(PodlakeError, known)
    app.add_exception_handler(Exception, unexpected)


def _plain(headers: Any) -> dict[str, str] | None:
    return dict(headers) if headers else None
