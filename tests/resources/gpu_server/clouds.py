"""A local Keystone and Nova that answer as the real ones do, and the service on the server that they run."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from resources.gpu_server.compute import OpenStackServer
from resources.gpu_server.ledger import GpuServerLedger
from resources.gpu_server.on_demand import GpuServer
from resources.gpu_server.servers import GpuServers

USER, PASSWORD, PROJECT = "podlake", "secret", "courses"
SERVER_ID = "8f4a6f1e-4a59-4b0e-9a2c-5c1b6f7f0001"
UNSHELVING = [("SHELVED_OFFLOADED", "unshelving"), ("SHELVED_OFFLOADED", "spawning"), ("ACTIVE", None)]
SHELVING = [
    ("ACTIVE", "shelving"), ("ACTIVE", "shelving_image_pending_upload"), ("ACTIVE", "shelving_image_uploading"),
    ("SHELVED", "shelving_offloading"), ("SHELVED_OFFLOADED", None),
]  # fmt: skip
FAILED_UNSHELVING = [("SHELVED_OFFLOADED", "unshelving"), ("SHELVED_OFFLOADED", None)]
ERROR_AFTER_UNSHELVING = [("SHELVED_OFFLOADED", "spawning"), ("ERROR", None)]
FAILED_SHELVING = [("ACTIVE", "shelving"), ("ACTIVE", None)]


@dataclass
class Cloud:
    """One server, and what the API is to do wrong. A server's state moves on with each look at it."""

    name: str = "gpu-1"
    status: str = "SHELVED_OFFLOADED"
    task: str | None = None
    url: str = ""
    after_unshelve: list[list[tuple[str, str | None]]] = field(default_factory=list)
    """What the next requests to unshelve lead to; after these, success."""
    after_shelve: list[list[tuple[str, str | None]]] = field(default_factory=list)
    health: list[tuple[int, Any]] = field(default_factory=list)
    """Answers of the service after the server is ACTIVE, taken from the front; after these, it is healthy."""
    faults: list[int] = field(default_factory=list)
    """Statuses of the next answers of Nova: 401, 500, 409, …; 0: a right one."""
    is_locked: bool = False
    same_name: bool = False
    actions: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    valid: set[str] = field(default_factory=set)
    coming: list[tuple[str, str | None]] = field(default_factory=list)
    work_met: list[str] = field(default_factory=list)
    """States of the server in which work has called its service; healthy ones are not noted."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def environment(self) -> dict[str, str]:
        return {
            "OS_AUTH_URL": f"{self.url}/identity/v3", "OS_USERNAME": USER, "OS_PASSWORD": PASSWORD, "OS_PROJECT_NAME": PROJECT,
            "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default", "OS_REGION_NAME": "one",
            "OS_CLIENT_CONFIG_FILE": "/nonexistent",
        }  # fmt: skip

    @property
    def is_healthy(self) -> bool:
        return (self.status, self.task) == ("ACTIVE", None) and not self.health

    def work(self) -> None:
        """Work that uses the service now."""
        with self.lock:
            if not self.is_healthy:
                self.work_met.append(f"{self.status} {self.task}")

    def step(self) -> None:
        if self.coming:
            self.status, self.task = self.coming.pop(0)

    def act(self, action: str) -> int:
        """The status of the answer to an action."""
        self.actions.append(action)
        allowed = {
            "unshelve": ("SHELVED", "SHELVED_OFFLOADED"), "os-start": ("SHUTOFF",),
            "shelve": ("ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED"),
        }  # fmt: skip
        if self.is_locked or self.task or self.status not in allowed[action]:
            return 409
        if action == "shelve":
            self.coming = list(self.after_shelve.pop(0) if self.after_shelve else SHELVING)
            self.step()
        else:
            self.coming = list(self.after_unshelve.pop(0) if self.after_unshelve else UNSHELVING)
            if action == "os-start":
                self.coming = [("SHUTOFF", "powering-on"), ("ACTIVE", None)]
            self.step()
        return 202

    def server(self) -> dict[str, Any]:
        fault = {"fault": {"message": "No valid host was found. There are not enough hosts available.", "code": 500}}
        return {
            "id": SERVER_ID, "name": self.name, "status": self.status, "OS-EXT-STS:task_state": self.task,
            "addresses": {}, "links": [], "metadata": {}, **(fault if self.status == "ERROR" else {}),
        }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: Cloud

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        with self.cloud.lock:
            self._get(self.path.partition("?")[0].rstrip("/"))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        with self.cloud.lock:
            if self.path == "/identity/v3/auth/tokens":
                return self._token(body["auth"])
            if self._is_refused():
                return None
            (action,) = body
            status = self.cloud.act(action)
            if status == 202:
                return self._send(202, None)
            text = "is locked" if self.cloud.is_locked else f"while it is in vm_state {self.cloud.status.lower()}"
            message = f"Cannot '{action}' instance {SERVER_ID} {text}"
            return self._send(409, {"conflictingRequest": {"code": 409, "message": message}})

    def _get(self, path: str) -> None:
        cloud = self.cloud
        if path == "/health":
            if cloud.status != "ACTIVE":
                return self._send(502, {"error": "no route to host"})
            status, body = cloud.health.pop(0) if cloud.health else (200, {"status": "healthy", "model_loaded": True})
            return self._send(status, body)
        if path in ("/identity", "/identity/v3"):
            link = [{"rel": "self", "href": f"{cloud.url}/identity/v3/"}]
            version = {
                "id": "v3.14",
                "status": "stable",
                "updated": "2020-04-07T00:00:00Z",
                "links": link,
                "media-types": [],
            }
            return self._send(200, {"version": version} if path.endswith("v3") else {"versions": {"values": [version]}})
        if path in ("/compute", "/compute/v2.1"):
            link = [{"rel": "self", "href": f"{cloud.url}/compute/v2.1/"}]
            version = {
                "id": "v2.1", "status": "CURRENT", "version": "2.96", "min_version": "2.1", "links": link,
                "updated": "2013-07-23T11:33:21Z",
            }  # fmt: skip
            return self._send(200, {"version": version} if path.endswith("v2.1") else {"versions": [version]})
        if self._is_refused():
            return None
        if path in ("/compute/v2.1/servers", "/compute/v2.1/servers/detail"):
            found = [cloud.server()] if f"name={cloud.name}" in self.path or "name" not in self.path else []
            return self._send(200, {"servers": found * (2 if cloud.same_name else 1)})
        if path == f"/compute/v2.1/servers/{SERVER_ID}":
            answer = cloud.server()
            cloud.step()
            return self._send(200, {"server": answer})
        return self._send(404, {"itemNotFound": {"code": 404, "message": "Instance could not be found."}})

    def _token(self, asked: dict[str, Any]) -> None:
        user = asked["identity"]["password"]["user"]
        if (user["name"], user["password"]) != (USER, PASSWORD):
            message = "The request you have made requires authentication."
            return self._send(401, {"error": {"code": 401, "message": message, "title": "Unauthorized"}})
        token = f"token-{len(self.cloud.tokens)}"
        self.cloud.tokens.append(token)
        self.cloud.valid = {token}
        endpoint = {
            "id": "e", "interface": "public", "region": "one", "region_id": "one", "url": f"{self.cloud.url}/compute/v2.1",
        }  # fmt: skip
        content = {
            "methods": ["password"], "issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2099-01-01T00:00:00.000000Z",
            "project": {"id": "p", "name": PROJECT, "domain": {"id": "default", "name": "Default"}},
            "user": {"id": "u", "name": USER, "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": "r", "name": "member"}],
            "catalog": [{"id": "c", "type": "compute", "name": "nova", "endpoints": [endpoint]}],
        }  # fmt: skip
        return self._send(201, {"token": content}, {"X-Subject-Token": token})

    def _is_refused(self) -> bool:
        """Whether the request was answered with a fault."""
        status = self.cloud.faults.pop(0) if self.cloud.faults else 0
        if status == 401:
            self.cloud.valid.clear()
        if self.headers.get("X-Auth-Token") not in self.cloud.valid:
            status = 401
        if status:
            self._send(status, {"error": {"code": status, "message": f"fault {status}"}})
        return bool(status)

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def running_cloud(**state: Any) -> Iterator[Cloud]:
    cloud = Cloud(**state)
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"cloud": cloud})) as server:
        server.daemon_threads = True
        cloud.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield cloud
        finally:
            server.shutdown()
            thread.join()


def on_demand(cloud: Cloud, folder: Path, monkeypatch: pytest.MonkeyPatch) -> GpuServers:
    """The settings' GPU servers, with one in this cloud; nobody waits between two looks."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    ledger = GpuServerLedger(f"sqlite:///{folder}/service.db")
    return GpuServers([GpuServer(OpenStackServer("gpu-1"), ledger, f"{cloud.url}/health", pause=lambda _: None)])
