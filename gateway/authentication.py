"""Finds the principal of a request: HTTP Basic, a session, an API key, or headers of a proxy trusted by its address."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.datastructures import Headers
from starlette.types import Scope

from gateway.auth import Principal, Role
from gateway.errors import Problem
from gateway.limits import Rate
from gateway.settings import Network, ServeSettings, parse_list, parse_networks
from resources.accounts import KEY_PREFIX, Accounts, is_password_hash, password_hash, password_matches

COOKIE = "podlake_session"
CACHED_S = 5.0
"""How long a principal is known without a look into the database: a revoked key works so much longer."""
USE_NOTED_S = 60.0
_MOST_CACHED = 10_000


class RefusedToStart(Exception):
    """The service would be open to others, or has an empty password."""


@dataclass
class Authenticator:
    """Finds principals. `is_open`: everybody is administrator, which is allowed on loopback only."""

    serve: ServeSettings
    accounts: Accounts
    is_open: bool
    _admin_hash: str | None = None
    _cached: dict[bytes, tuple[float, Principal]] = field(default_factory=dict)
    _verified: dict[bytes, str] = field(default_factory=dict)
    """Name and password, as a keyed hash → the stored hash that they match: comparing again takes 50 ms."""
    _noted: dict[str, float] = field(default_factory=dict)
    _salt: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _unknown: str = field(default_factory=lambda: password_hash(secrets.token_hex()))
    """Compared with the passwords of users that do not exist, which then take as long as others."""

    def __post_init__(self) -> None:
        password = self.serve.admin_password
        if self.serve.admin_username and password:
            text = password.get_secret_value()
            self._admin_hash = text if is_password_hash(text) else password_hash(text)
        self._oidc = parse_networks(self.serve.oidc_proxies)
        self._proxies = (*parse_networks(self.serve.trusted_proxies), *self._oidc)
        self._failures = Rate(self.serve.logins_per_minute)
        self._at_once = asyncio.Semaphore(2)

    async def principal(self, scope: Scope) -> Principal | None:
        """Raises `Problem` 429 after too many wrong passwords."""
        if self.is_open:
            return Principal("local", Role.ADMIN, "none")
        headers = Headers(scope=scope)
        authorization = headers.get("authorization")
        if authorization is not None:
            kind, _, credentials = authorization.partition(" ")
            if kind.lower() == "bearer":
                return await self._of_key(credentials.strip())
            if kind.lower() == "basic":
                name, password = _basic(credentials)
                return await self.login(name, password, self.client(scope), "basic")
            return None
        if token := session_token(headers):
            return await self._of_session(token)
        return self._of_proxy(scope, headers)

    async def login(self, name: str, password: str, client: str, method: str = "session") -> Principal | None:
        """The user with this password. Raises `Problem` 429 after too many wrong ones from the client."""
        if not name or not password:
            return None
        known = self._digest("basic", name, password)
        if found := self._lookup(known):
            return found
        self._refuse_after_failures(client)
        role, stored = await asyncio.to_thread(self._stored, name)
        async with self._at_once:
            is_right = stored is not None and self._verified.get(known) == stored
            if not is_right:
                self._refuse_after_failures(client)  # of requests that came at once and waited for this one's turn
                is_right = await asyncio.to_thread(password_matches, password, stored or self._unknown)
            if not is_right or role is None or stored is None:
                self._failures.count(client)
                return None
        if len(self._verified) >= _MOST_CACHED:
            self._verified.clear()
        self._verified[known] = stored
        principal = Principal(name, role, "basic" if method == "basic" else "session")
        return self._remember(known, principal) if method == "basic" else principal

    def client(self, scope: Scope) -> str:
        """The address of the client; behind a trusted proxy, the one that it names."""
        peer = _peer(scope)
        if not _is_in(peer, self._proxies):
            return peer
        chain = [part.strip() for part in ",".join(Headers(scope=scope).getlist("x-forwarded-for")).split(",")]
        return next((one for one in reversed(chain) if one and not _is_in(one, self._proxies)), peer)

    def is_https(self, scope: Scope) -> bool:
        """Whether the client uses TLS, which ends at a trusted proxy."""
        forwarded = Headers(scope=scope).get("x-forwarded-proto", "")
        return scope.get("scheme") in ("https", "wss") or (
            forwarded.lower() == "https" and _is_in(_peer(scope), self._proxies)
        )

    def _refuse_after_failures(self, client: str) -> None:
        if self._failures.is_spent(client):
            raise Problem(429, "Too many wrong passwords. Wait a minute.", headers={"Retry-After": "60"})

    def forget(self, token: str) -> None:
        self._cached.pop(self._digest("session", token), None)

    def _stored(self, name: str) -> tuple[Role | None, str | None]:
        if name == self.serve.admin_username and self._admin_hash:
            return Role.ADMIN, self._admin_hash
        user = self.accounts.user(name)
        return (Role.named(user.role), user.password_hash) if user else (None, None)

    async def _of_key(self, key: str) -> Principal | None:
        if not key.startswith(KEY_PREFIX):
            return None
        known = self._digest("key", key)
        found = self._lookup(known)
        if found is None:
            entry = await asyncio.to_thread(self.accounts.key_of, key)
            if entry is None:
                return None
            found = self._remember(known, Principal(entry.name, Role.named(entry.role), "key", frozenset(entry.scopes)))
        now = time.monotonic()
        if now - self._noted.get(found.name, -USE_NOTED_S) >= USE_NOTED_S:
            self._noted[found.name] = now
            await asyncio.to_thread(self.accounts.note_use, found.name)
        return found

    async def _of_session(self, token: str) -> Principal | None:
        known = self._digest("session", token)
        if found := self._lookup(known):
            return found
        name = await asyncio.to_thread(self.accounts.session_user, token)
        role, _ = await asyncio.to_thread(self._stored, name) if name else (None, None)
        return self._remember(known, Principal(name, role, "session")) if name and role else None

    def _of_proxy(self, scope: Scope, headers: Headers) -> Principal | None:
        names = headers.getlist(self.serve.oidc_user_header)
        if not _is_in(_peer(scope), self._oidc) or len(names) != 1 or not names[0].strip():
            return None
        groups = {part.strip() for part in ",".join(headers.getlist(self.serve.oidc_groups_header)).split(",")} | {"*"}
        chosen = ((Role.ADMIN, self.serve.oidc_admins), (Role.OPERATOR, self.serve.oidc_operators),
                  (Role.VIEWER, self.serve.oidc_viewers))  # fmt: skip
        role = next((role for role, names in chosen if groups.intersection(parse_list(names))), None)
        address = headers.get(self.serve.oidc_email_header, "").strip()
        return None if role is None else Principal(names[0].strip(), role, "oidc", address=address or None)

    def _digest(self, *parts: str) -> bytes:
        return hashlib.blake2b("\0".join(parts).encode(), key=self._salt).digest()

    def _lookup(self, known: bytes) -> Principal | None:
        until, found = self._cached.get(known, (0.0, None))
        return found if until > time.monotonic() else None

    def _remember(self, known: bytes, principal: Principal) -> Principal:
        if len(self._cached) >= _MOST_CACHED:
            self._cached.clear()
        self._cached[known] = (time.monotonic() + CACHED_S, principal)
        return principal


def is_open(serve: ServeSettings, accounts: Accounts) -> bool:
    """Whether the service needs no login. Raises `RefusedToStart` for an empty password."""
    password = serve.admin_password
    if (serve.admin_username is not None) != (password is not None):
        raise RefusedToStart("Set both ADMIN_USERNAME and ADMIN_PASSWORD, or neither.")
    if password is not None and not (serve.admin_username and password.get_secret_value().strip()):
        raise RefusedToStart("ADMIN_USERNAME or ADMIN_PASSWORD is empty: set a name and a password.")
    return not (password is not None or serve.oidc_proxies or accounts.users() or accounts.all_keys())


def check_address(host: str, serve: ServeSettings, *, is_open: bool) -> None:
    """Raises `RefusedToStart` if others could reach a service without authentication, also through a proxy."""
    if not is_open:
        return
    reason = "" if is_loopback(host) else f"{host} can be reached by others"
    if serve.trusted_proxies or not all(is_loopback(name) for name in parse_list(serve.names)):
        reason = "PODLAKE_SERVE_NAMES or PODLAKE_SERVE_TRUSTED_PROXIES says that others reach the service"
    if reason:
        raise RefusedToStart(
            f"{reason}, and the service would need no login. Set ADMIN_USERNAME and ADMIN_PASSWORD, add a user (podlake "
            "users add), or serve on 127.0.0.1 without a proxy."
        )


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def session_token(headers: Headers) -> str | None:
    try:
        cookies = SimpleCookie("; ".join(headers.getlist("cookie")))
    except CookieError:
        return None
    found = cookies.get(COOKIE)
    return found.value or None if found else None


def _basic(credentials: str) -> tuple[str, str]:
    try:
        name, _, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "", ""
    return name, password


def _peer(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])


def _is_in(address: str, networks: Iterable[Network]) -> bool:
    try:
        found: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None) or found
    return any(mapped.version == network.version and mapped in network for network in networks)
