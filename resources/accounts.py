"""Users and API keys of the service, in the database. Passwords are stored as scrypt hashes, keys as SHA-256."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import sqlalchemy as sa

from resources.database import open_database, writing
from speech.errors import PodlakeError

RoleName = Literal["viewer", "operator", "admin"]
ROLES: tuple[RoleName, ...] = ("viewer", "operator", "admin")
SCOPES = ("read", "submit", "retry", "forget", "work", "metrics", "ui")
"""What a key may be limited to. `work` is for workers, `metrics` for Prometheus."""
KEY_PREFIX = "plk_"
_NAME = re.compile(r"[\w.@+-]{1,64}")
_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(\.[\w-]{1,63})*", re.ASCII)
_N, _R, _P = 1 << 14, 8, 1
_HASH = re.compile(r"scrypt\$(\d+)\$(\d+)\$(\d+)\$([\w+/=]+)\$([\w+/=]+)")

SCHEMA = sa.MetaData()
_USERS = sa.Table(
    "podlake_users",
    SCHEMA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("password_hash", sa.String(256), nullable=False),
    sa.Column("added_at", sa.Float, nullable=False),
)
_KEYS = sa.Table(
    "podlake_api_keys",
    SCHEMA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("scopes", sa.String(256), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("added_at", sa.Float, nullable=False),
    sa.Column("last_used_at", sa.Float),
    sa.Column("revoked_at", sa.Float),
)
_ADDRESSES = sa.Table(
    "podlake_addresses",
    SCHEMA,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("address", sa.String(254), nullable=False),
)
_SESSIONS = sa.Table(
    "podlake_sessions",
    SCHEMA,
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("user_name", sa.String(64), nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)


class AccountRefused(PodlakeError, ValueError):
    """A user or a key that cannot be added or changed; the message says why."""


@dataclass(frozen=True)
class User:
    """Somebody who logs in with a password."""

    name: str
    role: RoleName
    password_hash: str
    added_at: datetime


@dataclass(frozen=True)
class ApiKey:
    """A key of a program. The key itself is not stored."""

    name: str
    role: RoleName
    scopes: tuple[str, ...]
    """Empty: everything that the role may do."""
    added_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True)
class Accounts:
    """The users and keys of a database."""

    database: sa.Engine

    @classmethod
    def at(cls, url: str) -> Accounts:
        return cls(open_database(url, SCHEMA))

    def add_key(self, name: str, role: RoleName, scopes: Iterable[str] = ()) -> str:
        """Add a key and return it: it cannot be shown again. Raises `AccountRefused`."""
        _check(name, role)
        chosen = tuple(dict.fromkeys(scopes))
        if unknown := [scope for scope in chosen if scope not in SCOPES]:
            raise AccountRefused(f"There is no scope {unknown[0]}. The scopes are {', '.join(SCOPES)}.")
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        row = {"name": name, "role": role, "scopes": ",".join(chosen), "hash": key_hash(key), "added_at": _now()}
        try:
            with writing(self.database) as connection:
                connection.execute(_KEYS.insert().values(**row))
        except sa.exc.IntegrityError as error:
            raise AccountRefused(f"There is a key {name} already. Choose another name.") from error
        return key

    def all_keys(self) -> list[ApiKey]:
        with self.database.connect() as connection:
            return [_key(row) for row in connection.execute(sa.select(_KEYS).order_by(_KEYS.c.name))]

    def revoke_key(self, name: str) -> None:
        """Refuse the key from now on. Raises `AccountRefused`."""
        with writing(self.database) as connection:
            where = (_KEYS.c.name == name) & _KEYS.c.revoked_at.is_(None)
            if not connection.execute(_KEYS.update().where(where).values(revoked_at=_now())).rowcount:
                raise AccountRefused(f"There is no valid key {name}. `podlake keys list` shows the keys.")

    def key_of(self, key: str) -> ApiKey | None:
        """The entry of a key that is valid."""
        with self.database.connect() as connection:
            row = connection.execute(sa.select(_KEYS).where(_KEYS.c.hash == key_hash(key))).first()
        return _key(row) if row is not None and row.revoked_at is None else None

    def note_use(self, name: str) -> None:
        """Record that the key is used now."""
        with writing(self.database) as connection:
            connection.execute(_KEYS.update().where(_KEYS.c.name == name).values(last_used_at=_now()))

    def set_user(self, name: str, role: RoleName, password: str) -> None:
        """Add a user, or give them another role and password. Raises `AccountRefused`."""
        _check(name, role)
        row = {"name": name, "role": role, "password_hash": password_hash(password), "added_at": _now()}
        with writing(self.database) as connection:
            connection.execute(_SESSIONS.delete().where(_SESSIONS.c.user_name == name))
            connection.execute(_USERS.delete().where(_USERS.c.name == name))
            connection.execute(_USERS.insert().values(**row))

    def remove_user(self, name: str) -> None:
        """Raises `AccountRefused`."""
        with writing(self.database) as connection:
            connection.execute(_SESSIONS.delete().where(_SESSIONS.c.user_name == name))
            connection.execute(_ADDRESSES.delete().where(_ADDRESSES.c.name == name))
            if not connection.execute(_USERS.delete().where(_USERS.c.name == name)).rowcount:
                raise AccountRefused(f"There is no user {name}. `podlake users list` shows the users.")

    def users(self) -> list[User]:
        with self.database.connect() as connection:
            return [_user(row) for row in connection.execute(sa.select(_USERS).order_by(_USERS.c.name))]

    def user(self, name: str) -> User | None:
        with self.database.connect() as connection:
            row = connection.execute(sa.select(_USERS).where(_USERS.c.name == name)).first()
        return None if row is None else _user(row)

    def set_address(self, name: str, address: str) -> None:
        """Where notifications of this user are sent. Raises `AccountRefused`."""
        if not is_address(address):
            raise AccountRefused(f"{address[:80]!r} is no e-mail address.")
        with suppress(sa.exc.IntegrityError), writing(self.database) as connection:  # another process does the same
            connection.execute(_ADDRESSES.delete().where(_ADDRESSES.c.name == name))
            connection.execute(_ADDRESSES.insert().values(name=name, address=address))

    def address(self, name: str) -> str | None:
        """The user's e-mail address; the name itself, if it is one."""
        with self.database.connect() as connection:
            found = connection.execute(sa.select(_ADDRESSES.c.address).where(_ADDRESSES.c.name == name)).scalar()
        return found or (name if is_address(name) else None)

    def begin_session(self, user_name: str, hours: float) -> str:
        """A login, as a secret token. Sessions that have expired are removed."""
        token = secrets.token_urlsafe(32)
        row = {"hash": key_hash(token), "user_name": user_name, "expires_at": _now() + 3600 * hours}
        with writing(self.database) as connection:
            connection.execute(_SESSIONS.delete().where(_SESSIONS.c.expires_at < _now()))
            connection.execute(_SESSIONS.insert().values(**row))
        return token

    def session_user(self, token: str) -> str | None:
        """The name of the user of a session that has not ended."""
        where = (_SESSIONS.c.hash == key_hash(token)) & (_SESSIONS.c.expires_at > _now())
        with self.database.connect() as connection:
            return connection.execute(sa.select(_SESSIONS.c.user_name).where(where)).scalar()

    def end_session(self, token: str) -> None:
        with writing(self.database) as connection:
            connection.execute(_SESSIONS.delete().where(_SESSIONS.c.hash == key_hash(token)))


def password_hash(password: str) -> str:
    """`scrypt$N$r$p$salt$hash`. Raises `AccountRefused` for an empty password."""
    if not password.strip():
        raise AccountRefused("The password is empty.")
    salt = secrets.token_bytes(16)
    found = _scrypt(password, salt, _N, _R, _P)
    return f"scrypt${_N}${_R}${_P}${base64.b64encode(salt).decode()}${base64.b64encode(found).decode()}"


def is_address(text: str) -> bool:
    """Whether it is an e-mail address in ASCII."""
    return len(text) <= 254 and _ADDRESS.fullmatch(text) is not None


def is_password_hash(text: str) -> bool:
    return _HASH.fullmatch(text) is not None


def password_matches(password: str, stored: str) -> bool:
    """Takes the same time whether the password is right or not."""
    found = _HASH.fullmatch(stored)
    if not found:
        return False
    n, r, p = (int(found[index]) for index in (1, 2, 3))
    salt, wanted = base64.b64decode(found[4]), base64.b64decode(found[5])
    return hmac.compare_digest(_scrypt(password, salt, n, r, p), wanted)


def key_hash(key: str) -> str:
    """A key has 256 random bits, so that a fast hash suffices."""
    return hashlib.sha256(key.encode()).hexdigest()


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


def _check(name: str, role: str) -> None:
    if not _NAME.fullmatch(name):
        raise AccountRefused(f"{name[:80]!r} is no name: use 1 to 64 letters, digits and . _ @ + -")
    if role not in ROLES:
        raise AccountRefused(f"There is no role {role}. The roles are {', '.join(ROLES)}.")


def _now() -> float:
    return datetime.now(UTC).timestamp()


def _time(value: float | None) -> datetime | None:
    return None if value is None else datetime.fromtimestamp(value, UTC)


def _key(row: sa.Row[tuple[object, ...]]) -> ApiKey:
    scopes = tuple(scope for scope in row.scopes.split(",") if scope)
    added_at = datetime.fromtimestamp(row.added_at, UTC)
    return ApiKey(row.name, row.role, scopes, added_at, _time(row.last_used_at), _time(row.revoked_at))


def _user(row: sa.Row[tuple[object, ...]]) -> User:
    return User(row.name, row.role, row.password_hash, datetime.fromtimestamp(row.added_at, UTC))
