"""The messages between an engine's host process and its clients: pickled, over a Unix socket that only the user can open."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from threading import Lock
from typing import Any

from speech.engines.protocols import EngineChoice
from speech.types import Line, Recording

Message = dict[str, Any]


class HungUp(Exception):
    """The process at the other end has closed the connection, or has exited."""


class Connection:
    """One end of a connection. Several threads may send."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._incoming = connected.makefile("rb")
        self._sending = Lock()

    def tell(self, message: Message) -> None:
        """Send a message. Raises `HungUp`."""
        data = pickle.dumps(message)
        try:
            with self._sending:
                self._socket.sendall(data)
        except OSError as error:
            raise HungUp from error

    def receive(self) -> Message:
        """Wait for the next message. Raises `HungUp`."""
        try:
            return pickle.load(self._incoming)  # noqa: S301 - the folder of the socket belongs to the user
        except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:  # ended, timed out, or closed here
            raise HungUp from error

    def has_hung_up(self) -> bool:
        """Whether the other end is closed and there is no message left."""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def limit_wait(self, seconds: float) -> None:
        """Let `receive` raise `HungUp` if there is no answer in time."""
        self._socket.settimeout(seconds)

    def close(self) -> None:
        """May be called twice."""
        self._incoming.close()
        self._socket.close()


def packed_choice(choice: EngineChoice) -> list[Any]:
    """A local model as an absolute path: the processes may have different current folders."""
    model = choice.model
    if model and Path(model).expanduser().exists():
        model = str(Path(model).expanduser().absolute())
    return [choice.name, model, dict(choice.options)]


def packed(work: Recording | Line) -> Message:
    """What an engine is to work on, with paths and without samples."""
    path = "path" if isinstance(work, Line) else "waveform_path"
    values = {one.name: getattr(work, one.name) for one in fields(work) if one.name != "report"}
    return {**values, path: str(values[path].absolute())}


def unpacked(values: Message, report: Callable[[int], None]) -> Recording | Line:
    """The inverse of `packed`."""
    if "path" in values:
        return Line(**{**values, "path": Path(values["path"])}, report=report)
    return Recording(**{**values, "waveform_path": Path(values["waveform_path"])}, report=report)
