"""Firefox without a screen, driven over its Marionette protocol: JSON messages with their length before them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_PREFERENCES = {
    "media.autoplay.default": 0, "media.autoplay.blocking_policy": 0, "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False, "app.update.enabled": False, "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False, "toolkit.telemetry.enabled": False,
}  # fmt: skip


class Firefox:
    """A session with one window."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._n = 0
        self._received()  # it says what it is

    def call(self, command: str, **parameters: object) -> Any:
        self._n += 1
        message = json.dumps([0, self._n, command, parameters]).encode()
        self._connection.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._received()
        assert error is None, error
        return result

    def open(self, url: str) -> None:
        self.call("WebDriver:Navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of an expression."""
        return self.call("WebDriver:ExecuteScript", script=f"return {script};", args=[], sandbox=None)["value"]

    def wait(self, script: str, timeout_s: float = 60) -> Any:
        """Until the expression is true."""
        until_s = time.monotonic() + timeout_s
        while not (value := self.run(script)):
            assert time.monotonic() < until_s, f"{script} is still {value!r}"
            time.sleep(0.05)
        return value

    def _received(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            length += self._some(1)
        content = b""
        while len(content) < int(length[:-1]):
            content += self._some(int(length[:-1]) - len(content))
        return json.loads(content)

    def _some(self, count: int) -> bytes:
        content = self._connection.recv(count)
        assert content, "Firefox has exited."
        return content


@contextmanager
def firefox(profile: Path) -> Iterator[Firefox]:
    """A Firefox with an empty profile. Skips where none is installed."""
    path = shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        pytest.skip("needs Firefox: apt-get install firefox-esr")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    preferences = {**_PREFERENCES, "marionette.port": port}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in preferences.items()]
    (profile / "user.js").write_text("\n".join(lines))
    started = subprocess.Popen(
        [path, "--headless", "--marionette", "--no-remote", "--profile", str(profile)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"HOME": str(profile), "MOZ_HEADLESS": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    try:
        with _connected(port, started) as connection:
            session = Firefox(connection)
            session.call("WebDriver:NewSession", capabilities={})
            yield session
    finally:
        started.terminate()
        started.wait(30)


def _connected(port: int, started: subprocess.Popen[bytes]) -> socket.socket:
    until_s = time.monotonic() + 120
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=120)
        except OSError:
            assert started.poll() is None, "Firefox has exited."
            assert time.monotonic() < until_s, "Firefox did not start."
            time.sleep(0.1)
        else:
            return connection
