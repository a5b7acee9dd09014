"""The login form, and the routes that begin and end a session."""

from __future__ import annotations

import asyncio
from html import escape
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from gateway.auth import Principal, Role, require
from gateway.authentication import COOKIE, Authenticator, session_token
from gateway.errors import Problem
from gateway.service import Here

router = APIRouter(include_in_schema=False)

_CSP = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in · podlake</title><style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: Canvas; color: CanvasText }
main { width: min(22rem, calc(100vw - 3rem)) }
h1 { font-size: 1.4rem; margin: 0 0 1.2rem }
label { display: block; margin: 0 0 1rem; font-size: .9rem }
input { display: block; box-sizing: border-box; width: 100%; margin-top: .3rem; padding: .6rem .7rem; font: inherit;
  border: 1px solid GrayText; border-radius: .4rem; background: Field; color: FieldText }
button { width: 100%; padding: .7rem; font: inherit; font-weight: 600; border: 0; border-radius: .4rem;
  background: #1d4ed8; color: #fff; cursor: pointer }
input:focus-visible, button:focus-visible { outline: 3px solid #60a5fa; outline-offset: 1px }
p { font-size: .9rem } .error { color: #b91c1c } @media (prefers-color-scheme: dark) { .error { color: #fca5a5 } }
</style></head><body><main>
<h1>podlake</h1>$message
<form method="post" action="/login"><input type="hidden" name="next" value="$next">
<label>Name<input name="username" autocomplete="username" autocapitalize="none" required autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required></label>
<button>Log in</button></form>
</main></body></html>
"""


def login_page(status: int, *, next_path: str = "/", message: str = "") -> Response:
    """The form; it leads to `next_path`."""
    shown = f'<p class="error" role="alert">{escape(message)}</p>' if message else ""
    page = _PAGE.replace("$message", shown).replace("$next", escape(own_path(next_path)))
    return HTMLResponse(page, status, {"Content-Security-Policy": _CSP})


def own_path(path: str) -> str:
    """The path if it leads nowhere else, or `/`."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if is_own else "/"


@router.post("/login")
async def log_in(request: Request, service: Here) -> Response:
    """Begin a session."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise Problem(415, "Send the login form.")
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    name, password, next_path = (form.get(field, [""])[0] for field in ("username", "password", "next"))
    authenticator: Authenticator = request.app.state.authenticator
    try:
        principal = await authenticator.login(name, password, authenticator.client(request.scope))
    except Problem as error:
        return login_page(error.status_code, next_path=next_path, message=str(error.detail))
    if principal is None:
        return login_page(401, next_path=next_path, message="The name or the password is wrong.")
    hours = service.serve.session_hours
    token = await asyncio.to_thread(service.accounts.begin_session, principal.name, hours)
    response = RedirectResponse(own_path(next_path), 303)
    response.set_cookie(
        COOKIE, token, max_age=int(3600 * hours), httponly=True, samesite="strict",
        secure=authenticator.is_https(request.scope),
    )  # fmt: skip
    return response


@router.get("/login")
async def login_form(_: Annotated[Principal, require(Role.VIEWER, "ui")]) -> Response:
    """Somebody who is logged in needs no form. Others get it with every page, by `gateway.guard`."""
    return RedirectResponse("/", 303)


@router.post("/logout")
async def log_out(request: Request, service: Here, _: Annotated[Principal, require(Role.VIEWER, "ui")]) -> Response:
    """End the session."""
    if token := session_token(request.headers):
        request.app.state.authenticator.forget(token)
        await asyncio.to_thread(service.accounts.end_session, token)
    response = RedirectResponse("/", 303)
    response.delete_cookie(COOKIE)
    return response
