"""Finds, starts, lists and stops the host processes of engines.

A host process (`host_process`) keeps engines warm on one device, under one interpreter, for all processes of a user.
The first client starts it. It belongs to no client: it survives them, and exits after an idle time.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from speech.engines.wire import Connection, HungUp, Message
from speech.errors import EngineUnavailable
from speech.file_locks import wait_for_lock

MODULE = "speech.engines.host_process"
ANSWERS_WITHIN_S = 10.0
"""A host process that answers no question for longer is skipped in lists."""

_ROOT = Path(__file__).resolve().parents[2]
_SHORT = 70
"""A socket's path has 104 bytes at most on macOS."""
_STARTS = 3
_LAST_ERROR_BYTES = 8_000
_ENVIRONMENT = ("CUDA_", "HF_", "LD_LIBRARY", "OMP_", "PYTHONPATH")
"""Variables on which the engines of a process depend."""
_children: dict[Path, subprocess.Popen[bytes]] = {}
"""The host processes that this process has started, by socket: it reads their exit status."""


def folder() -> Path:
    """The folder of the user's sockets, locks and logs. Raises `EngineUnavailable` if another user has made it."""
    path = Path(tempfile.gettempdir()) / f"podlake-{os.getuid()}"
    if len(os.fsencode(path)) > _SHORT:
        path = Path("/tmp") / f"podlake-{os.getuid()}-{_digest(str(path))}"  # noqa: S108 - the owner is checked
    path.mkdir(mode=0o700, exist_ok=True)
    if path.lstat().st_uid != os.getuid() or path.is_symlink():
        raise EngineUnavailable(f"{path} belongs to another user. Remove it, or set TMPDIR to a folder of yours.")
    return path


@dataclass(frozen=True)
class Place:
    """Names a host process: its interpreter and its device."""

    python: str
    device: str
    threads: int = field(compare=False)
    """Threads of each engine's computation."""

    @property
    def path(self) -> Path:
        """Of the socket. The log and the lock lie beside it."""
        chosen = {name: value for name, value in os.environ.items() if name.startswith(_ENVIRONMENT)}
        return folder() / f"{_digest(self.python, self.device, str(_ROOT), str(sorted(chosen.items())))}.sock"

    def connect(self) -> Connection:
        """Connect to the host process, and start it unless it runs. Raises `EngineUnavailable`."""
        for _ in range(_STARTS):
            connection = _connected(self.path) or self._start()
            try:
                hello = connection.receive()
                if hello["code"] == code_version():
                    return connection
                connection.tell({"outdated": True})  # it exits when its other clients have finished
                connection.receive()
            except HungUp:  # it was about to exit
                pass
            connection.close()
        raise EngineUnavailable(
            f"The engine's process under {self.python} exited while it started: {self.last_error()}"
        )

    def last_error(self) -> str:
        """How the process exited, if this process started it, and the last line of its log."""
        log = self.path.with_suffix(".log")
        lines = log.read_bytes()[-_LAST_ERROR_BYTES:].decode(errors="replace").splitlines() if log.exists() else []
        said = [line.strip() for line in lines if line.strip()]
        said = [line for line in said if line.startswith("Fatal Python error")] or said  # a dump of the stacks follows
        return "; ".join([_how_it_ended(self.path), *said[-1:]]) + (f" ({log})" if said else "")

    def _start(self) -> Connection:
        """Start the process with a socket that already listens, so that no client has to wait for it."""
        path = self.path
        with path.with_suffix(".lock").open("w") as lock:
            wait_for_lock(lock)
            if connection := _connected(path):  # another client was faster
                return connection
            path.unlink(missing_ok=True)
            with closing(socket.socket(socket.AF_UNIX)) as listener:
                listener.bind(str(path))
                listener.listen(64)
                self._start_with(listener, path.with_suffix(".log"))
                connection = _connected(path)
        assert connection
        return connection

    def _start_with(self, listener: socket.socket, log: Path) -> None:
        command = [self.python, "-m", MODULE, str(listener.fileno()), self.device]
        number = str(self.threads)
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), number)
        environment = {**limits, "OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONPATH": _import_path()}
        try:
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=log.parent,
                    pass_fds=[listener.fileno()], start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            raise EngineUnavailable(
                f"The interpreter {self.python} cannot be started ({error.strerror}). It is to run the engine in an "
                "environment of its own: see PODLAKE_NEMO_PYTHON and PODLAKE_FIRERED_PYTHON, or `make nemo`."
            ) from error
        _children[self.path] = process


def running() -> Iterator[tuple[Connection, Message]]:
    """Each host process of this user: a connection, closed afterwards, and its status."""
    for path in sorted(folder().glob("*.sock")):
        if connection := _connected(path):
            with closing(connection), suppress(HungUp):
                connection.limit_wait(ANSWERS_WITHIN_S)
                connection.receive()
                connection.tell({"status": True})
                yield connection, connection.receive()["status"]


def statuses() -> list[Message]:
    """What the host processes of this user do now."""
    return [status for _, status in running()]


def release(device: str) -> int:
    """Close all engines on the device that are not at work. Returns their number."""
    released = 0
    for connection, status in running():
        if status["device"] == device:
            with suppress(HungUp):
                connection.tell({"release": True})
                released += connection.receive()["released"]
    return released


def stop() -> list[Message]:
    """End all host processes of this user, also at work. Returns what they did."""
    stopped = []
    for connection, status in running():
        stopped.append(status)
        with suppress(HungUp):
            connection.tell({"stop": True})
            connection.receive()
    return stopped


def code_version() -> str:
    """Changes with every change of the engines' code on the disk: a warm process of older code is replaced."""
    files = sorted((_ROOT / "speech").rglob("*.py"))
    return _digest(*(f"{path} {path.stat().st_mtime_ns}" for path in files))


def _connected(path: Path) -> Connection | None:
    client = socket.socket(socket.AF_UNIX)
    try:
        client.connect(str(path))
    except (ConnectionRefusedError, FileNotFoundError):
        client.close()
        return None
    return Connection(client)


def _how_it_ended(path: Path) -> str:
    with suppress(KeyError, subprocess.TimeoutExpired):
        code = _children[path].wait(ANSWERS_WITHIN_S)
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return "it exited"


def _import_path() -> str:
    """The folder where another interpreter finds this package, but not the other packages of this interpreter."""
    inherited = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    own = [] if _ROOT.name == "site-packages" else [_ROOT]
    return os.pathsep.join(str(path.absolute()) for path in [*own, *map(Path, inherited)])


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
