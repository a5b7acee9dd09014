"""A host process: keeps the engines of one device warm, for clients that come and go.

    python -m speech.engines.host_process LISTENING_SOCKET DEVICE

It sends `{"hello": pid, "code": version}` to each client. After `load` it loads the engine unless it is warm, and
sends `{"ready": spec}` or `{"unavailable": why}`; the engine belongs to the client until one of them hangs up. After
`begin` it runs the engine on a stream of recordings: it sends `{"next": number}` when the engine asks for a
recording, and receives one or the end of the stream; it sends `{"at": number, "ms": …}` during the work,
`{"done": number, "result": …, "use": …}` for each result, and `{"over": true}` at the end.

An unexpected error closes the engine; on a GPU, whose state is then unknown, it ends the process. The process exits
after an idle time, when its code has changed, and when a client that has exited leaves work that does not stop.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Condition, Lock, Thread
from typing import Any

from speech.engines import registry
from speech.engines.hosts import code_version
from speech.engines.protocols import ON_CPU, EngineChoice, Slot
from speech.engines.wire import Connection, HungUp, Message, unpacked
from speech.errors import EngineUnavailable
from speech.signals import reset_signals
from speech.types import Line, Recording

ENGINES_AT_ONCE = 4
"""Warm engines of a process at most. One more closes the one that has been idle longest."""
ABANDONED_S = 5.0
"""So long after its client has exited, work that has not stopped ends the process."""
PROGRESS_EVERY_S = 0.5
_TICK_S = 0.5
_NO_MEMORY = ("out of memory", "Failed to allocate memory", "ALLOC_FAILED")

_WORK: dict[Slot, str] = {"diarizer": "diarize", "transcriber": "transcribe", "synthesizer": "synthesize"}
"""The method of an engine that does its work."""


@dataclass(eq=False)
class _Warm:
    """A loaded engine. Its lock is held by the client that uses it."""

    slot: Slot
    engine: Any
    loaded_s: float
    """How long that took; 0 for the clients after the first."""
    lock: Lock = field(default_factory=Lock)
    used_at: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class _Use:
    """A client that has asked for an engine, and the recordings that the engine works on."""

    connection: Connection
    slot: str
    name: str
    at_work: dict[int, _Work] = field(default_factory=dict)
    hung_up_at: float | None = None


@dataclass
class _Work:
    """A recording that the engine has taken."""

    number: int
    recording: Recording | Line
    audio_ms: int
    started_at: float
    done_ms: int = 0
    told_at: float = 0.0


class HostProcess:
    def __init__(self, listener: socket.socket, device: str) -> None:
        self._listener = listener
        self._device = device
        self._code = code_version()
        self._engines: dict[str, _Warm] = {}
        self._loading = Lock()
        self._uses: list[_Use] = []
        self._changed = Condition()
        self._idle_since = time.monotonic()
        self._idle_s = 60.0
        self._is_outdated = False

    def serve(self, connection: Connection) -> None:
        """Answer one client until it hangs up."""
        with suppress(HungUp), closing(connection):
            connection.tell({"hello": os.getpid(), "code": self._code})
            while True:
                message = connection.receive()
                if "load" in message:
                    self._serve_engine(connection, message)
                    return
                connection.tell(self._answer(message))
                if "stop" in message:
                    os._exit(0)

    def exit_when_unused(self) -> None:
        """Runs in a thread; ends the process."""
        while True:
            with self._changed:
                self._changed.wait(_TICK_S)
                now = time.monotonic()
                for use in self._uses:
                    use.hung_up_at = use.hung_up_at or (now if use.connection.has_hung_up() else None)
                left = [use.hung_up_at for use in self._uses]
            is_idle = not left and (self._is_outdated or now - self._idle_since >= self._idle_s)
            if is_idle or (left and all(at is not None and now - at >= ABANDONED_S for at in left)):
                os._exit(0)

    def _answer(self, message: Message) -> Message:
        if "release" in message:
            return {"released": self._close_idle(keep=0)}
        if "outdated" in message and not self._is_outdated:
            self._is_outdated = True
            os.unlink(self._listener.getsockname())  # noqa: PTH108 - new clients start another process
        return {"status": self._status()}

    def _status(self) -> Message:
        now = time.monotonic()
        return {
            "pid": os.getpid(),
            "device": self._device,
            "python": sys.executable,
            "engines": [
                {
                    "slot": warm.slot,
                    "name": warm.engine.spec.name,
                    "model": warm.engine.spec.model,
                    "fingerprint": warm.engine.spec.fingerprint,
                    "is_busy": warm.lock.locked(),
                }
                for warm in list(self._engines.values())
            ],
            "at_work": [
                {
                    "episode": work.recording.episode_id,
                    "slot": use.slot,
                    "engine": use.name,
                    "done_ms": work.done_ms,
                    "audio_ms": work.audio_ms,
                    "elapsed_s": round(now - work.started_at, 1),
                }
                for use in list(self._uses)
                for work in list(use.at_work.values())
            ],
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "exits_in_s": None if self._uses else round(max(0.0, self._idle_s - (now - self._idle_since))),
        }

    def _serve_engine(self, connection: Connection, message: Message) -> None:
        slot, (name, model, options) = message["slot"], message["load"]
        self._idle_s = message["idle_s"]
        with self._using(_Use(connection, slot, name)) as use:
            try:
                with self._acquired(use, slot, EngineChoice(name, model, options)) as warm:
                    connection.tell({"ready": warm.engine.spec, "loaded_s": warm.loaded_s})
                    warm.loaded_s = 0.0
                    while connection.receive():
                        self._stream(use, warm)
            except HungUp:
                raise
            except Exception as error:  # noqa: BLE001 - the client raises it
                traceback.print_exc()
                why = str(error) if isinstance(error, EngineUnavailable) else f"{type(error).__name__}: {error}"
                connection.tell({"unavailable": why, "no_memory": _is_short_of_memory(error)})

    @contextmanager
    def _acquired(self, use: _Use, slot: Slot, choice: EngineChoice) -> Iterator[_Warm]:
        warm = self._acquire(use, slot, choice)
        try:
            yield warm
        finally:
            use.at_work.clear()
            warm.used_at = time.monotonic()
            warm.lock.release()

    @contextmanager
    def _using(self, use: _Use) -> Iterator[_Use]:
        with self._changed:
            self._uses.append(use)
        try:
            yield use
        finally:
            with self._changed:
                self._uses.remove(use)
                self._idle_since = time.monotonic()
                self._changed.notify_all()

    def _acquire(self, use: _Use, slot: Slot, choice: EngineChoice) -> _Warm:
        """The engine, loaded, for this client alone. Raises `EngineUnavailable`, and `HungUp` if it has stopped waiting."""
        key = json.dumps([slot, choice.name, choice.model, dict(choice.options)], sort_keys=True)
        while True:
            with self._loading:
                warm = self._engines.get(key) or self._load(key, slot, choice)
            while not warm.lock.acquire(timeout=_TICK_S):
                if use.connection.has_hung_up():
                    raise HungUp
            if self._engines.get(key) is warm:
                if registry.describe(slot, choice).fingerprint == warm.engine.spec.fingerprint:
                    return warm
                self._close(warm)  # its weights have been replaced
            warm.lock.release()

    def _load(self, key: str, slot: Slot, choice: EngineChoice) -> _Warm:
        self._close_idle(keep=ENGINES_AT_ONCE - 1)
        started = time.monotonic()
        try:
            engine = registry.load(slot, choice, self._device)
        except Exception as error:
            if not (_is_short_of_memory(error) and self._close_idle(keep=0)):
                raise
            engine = registry.load(slot, choice, self._device)  # the memory may suffice now
        self._engines[key] = _Warm(slot, engine, time.monotonic() - started)
        return self._engines[key]

    def _close_idle(self, keep: int) -> int:
        """Close engines that no client uses, the longest idle first, until `keep` are left. Returns their number."""
        closed = 0
        for warm in sorted(self._engines.values(), key=lambda warm: warm.used_at):
            if len(self._engines) > keep and warm.lock.acquire(blocking=False):
                self._close(warm)
                warm.lock.release()
                closed += 1
        return closed

    def _close(self, warm: _Warm) -> None:
        self._engines = {key: one for key, one in self._engines.items() if one is not warm}
        warm.engine.close()

    def _stream(self, use: _Use, warm: _Warm) -> None:
        try:
            for recording, result in getattr(warm.engine, _WORK[warm.slot])(self._asked_for(use)):
                number = use.at_work.pop(id(recording)).number  # an engine gives back the recording that it was given
                use.connection.tell({"done": number, "result": result, "use": warm.engine.device_use()})
            use.connection.tell({"over": True})
        except (EngineUnavailable, HungUp):
            raise
        except Exception as error:
            traceback.print_exc()
            sys.stderr.flush()
            self._close(warm)
            with suppress(HungUp):
                use.connection.tell({"broken": f"{type(error).__name__}: {error}"})
            if self._device != ON_CPU.name:
                os._exit(1)
            raise HungUp from error

    def _asked_for(self, use: _Use) -> Iterator[Any]:
        number = 0
        while True:
            use.connection.tell({"next": number})
            packed = use.connection.receive()["recording"]
            if packed is None:
                return
            recording = unpacked(packed, partial(_report, use, number))
            use.at_work[id(recording)] = _Work(number, recording, recording.duration_ms, time.monotonic())
            yield recording
            number += 1


def _is_short_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(text in f"{error} {error.__cause__}" for text in _NO_MEMORY)


def _report(use: _Use, number: int, done_ms: int) -> None:
    """Tell the client, at times. Raises `HungUp` if it has exited: the engine then stops."""
    work = next((work for work in list(use.at_work.values()) if work.number == number), None)
    if work is None:
        return
    work.done_ms = max(work.done_ms, done_ms)
    now = time.monotonic()
    if now - work.told_at >= PROGRESS_EVERY_S:
        work.told_at = now
        use.connection.tell({"at": number, "ms": work.done_ms})


def main(listening: str, device: str) -> None:
    faulthandler.enable()
    reset_signals()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(listening)) as listener:
        host = HostProcess(listener, device)
        Thread(target=host.exit_when_unused, name="exit-when-unused", daemon=True).start()
        while True:
            client, _ = listener.accept()
            Thread(target=host.serve, args=(Connection(client),), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
