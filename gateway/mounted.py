"""Requires a role for an application that is mounted, whose routes have no `require`."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.auth import Role, allowed, principal_of


@dataclass
class Guarded:
    """The application, for principals of the role and the scope."""

    app: ASGIApp
    role: Role
    scope: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        allowed(principal_of(HTTPConnection(scope)), self.role, self.scope)
        await self.app(scope, receive, send)
