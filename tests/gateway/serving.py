"""A real server of the gateway on loopback, for tests: in a thread of this process."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr

from dagster_project.settings import Settings
from gateway.app import create_app
from gateway.service import Service
from gateway.settings import ServeSettings
from gateway.sockets import OPTIONS
from podlake.client import Client

ADMIN = ("ana", "correct horse")
OPERATOR = ("olga", "battery staple")
VIEWER = ("vic", "look only")


@dataclass(frozen=True)
class Served:
    """A running service."""

    service: Service
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, user: tuple[str, str] | None = None, *, key: str | None = None, **options: Any) -> httpx.Client:
        """A client with Basic authentication, with a key, or with nothing."""
        headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {key}"} if key else {})}
        return httpx.Client(base_url=self.url, auth=user, headers=headers, timeout=60, **options)

    def api(self, user: tuple[str, str]) -> Client:
        """The typed client, with Basic authentication."""
        return Client(self.url, user=user)


@contextmanager
def served(
    home: Path, *, has_users: bool = True, dagster: bool = False, port: int = 0, **serve: Any
) -> Iterator[Served]:
    """A service of the lake in `home`, with an administrator, an operator and a viewer. `serve` are its settings."""
    settings = Settings(home=str(home), database_url=f"sqlite:///{home}/service.db")
    users = {"ADMIN_USERNAME": ADMIN[0], "ADMIN_PASSWORD": SecretStr(ADMIN[1])} if has_users else {}
    service = Service.of(settings, ServeSettings(_env_file=None, dagster=dagster, **users, **serve))
    if has_users:
        service.accounts.set_user(OPERATOR[0], "operator", OPERATOR[1])
        service.accounts.set_user(VIEWER[0], "viewer", VIEWER[1])
    with socket.create_server(("127.0.0.1", port)) as listening:
        config = uvicorn.Config(create_app(service), log_level="warning", proxy_headers=False, server_header=False,
                                timeout_graceful_shutdown=1, **OPTIONS)  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        until_s = time.monotonic() + 120
        while not server.started and thread.is_alive() and time.monotonic() < until_s:
            time.sleep(0.02)
        assert server.started
        try:
            yield Served(service, listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


def basic(user: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(user).encode()).decode()
