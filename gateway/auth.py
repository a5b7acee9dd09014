"""Who makes a request and what they may do: roles, the principal, and `require`, which guards every route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

from fastapi import Depends
from starlette.requests import HTTPConnection

from gateway.errors import Problem

Method = Literal["none", "basic", "session", "oidc", "key"]
"""How the principal was authenticated. `none`: the service runs without authentication, on loopback."""


class Role(IntEnum):
    """A role may do everything that a lower one may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @classmethod
    def named(cls, name: str) -> Role:
        return cls[name.upper()]


@dataclass(frozen=True)
class Principal:
    """A user or a program that is authenticated."""

    name: str
    role: Role
    method: Method
    scopes: frozenset[str] = frozenset()
    """What an API key is limited to; empty: everything that the role may do."""
    address: str | None = None
    """The e-mail address that an OIDC proxy names."""

    @property
    def user_id(self) -> str:
        """Whose podcasts these are. A key and a user of the same name are two."""
        return f"{self.method}:{self.name}" if self.method in ("key", "oidc") else self.name

    @property
    def is_ambient(self) -> bool:
        """Whether a browser sends the credentials by itself, also from pages of others."""
        return self.method != "key"

    def may(self, role: Role, scope: str) -> bool:
        return self.role >= role and (not self.scopes or scope in self.scopes)


def principal_of(connection: HTTPConnection) -> Principal:
    """The principal that the middleware found. Raises `Problem` 401."""
    principal: Principal | None = connection.scope.get("podlake.principal")
    if principal is None:
        raise unauthenticated()
    return principal


def require(role: Role, scope: str = "read") -> Any:
    """The dependency that guards a route.

    A route has it as a parameter: `principal: Annotated[Principal, require(Role.OPERATOR, "submit")]`. Requests without a principal get 401, principals of a lower role or of other scopes 403.
    """
    return Depends(check(role, scope))


def check(role: Role, scope: str = "read") -> Callable[[HTTPConnection], Principal]:
    """The function behind `require`, for applications that are mounted."""

    async def guard(connection: HTTPConnection) -> Principal:
        return allowed(principal_of(connection), role, scope)

    guard.podlake_guard = (role, scope)  # type: ignore[attr-defined]
    return guard  # type: ignore[return-value]


def allowed(principal: Principal, role: Role, scope: str) -> Principal:
    """The principal, if it may. Raises `Problem` 403."""
    if principal.role < role:
        raise Problem(
            403, f"This needs the role {role.name.lower()}; {principal.name} is {principal.role.name.lower()}."
        )
    if not principal.may(role, scope):
        raise Problem(
            403, f"This needs the scope {scope}; the key {principal.name} has {', '.join(sorted(principal.scopes))}."
        )
    return principal


def unauthenticated() -> Problem:
    return Problem(
        401,
        "Log in at /login, or send an API key as `Authorization: Bearer …` (podlake keys add).",
        headers={"WWW-Authenticate": 'Basic realm="podlake", charset="UTF-8", Bearer realm="podlake"'},
    )
