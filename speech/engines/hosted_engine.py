"""An engine in a host process, as its client sees it: a `Diarizer`, a `Transcriber` or a `Synthesizer`.

The host process (`host_process`) asks for a recording when its engine does, so that batches and read-ahead are the
engine's own. Only paths, progress and results cross the socket.

If the process exits, its unfinished recordings are suspects: a new process tries each alone, and a recording that
makes the process exit again fails with `EngineCrashed`. The other recordings are not affected.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import islice
from typing import Any

from speech.engines import hosts
from speech.engines.protocols import ON_CPU, DeviceUse, EngineChoice, EngineResult, EngineSpec, Slot
from speech.engines.wire import Connection, HungUp, packed, packed_choice
from speech.errors import EngineCrashed, EngineUnavailable, OutOfMemory, PodlakeError
from speech.types import Line, Recording

log = logging.getLogger("podlake")

EXITS_IN_A_ROW = 4
"""After so many exits without a result in between, the rest of the stream fails."""
_LOADS = 2
"""A process that exits during a load may have been ended for another client's work."""

Work = Recording | Line
Outcome = tuple[Work, EngineResult | PodlakeError]


class HostedEngine:
    """It begins to load when it is made, and is waited for when the first recording is there.

    Until it is closed, no other client uses this engine of the host process.
    """

    def __init__(
        self, slot: Slot, choice: EngineChoice, spec: EngineSpec, device: str, *, idle_s: float, threads: int
    ) -> None:
        self.spec = spec
        self.loaded_s: float | None = None
        """How long the host process took to load the engine; 0 if it was warm."""
        self.waited_s = 0.0
        """How long a stream with a recording has waited for the engine."""
        name, model, options = packed_choice(choice)
        python = options.pop("python", sys.executable)
        self._place = hosts.Place(python, device, threads)
        self._request = {"load": [name, model, options], "slot": slot, "idle_s": idle_s}
        self._use = ON_CPU
        self._connection: Connection | None = None
        self._is_ready = False
        self._open()

    def diarize(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Any]]:
        """Each recording exactly once, in any order. Raises `EngineUnavailable`."""
        return self._stream(recordings)

    def transcribe(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Any]]:
        """Each recording exactly once, in any order. Raises `EngineUnavailable`."""
        return self._stream(recordings)

    def synthesize(self, lines: Iterable[Line]) -> Iterator[tuple[Line, Any]]:
        """Each line exactly once, in any order. Raises `EngineUnavailable`."""
        return self._stream(lines)

    def device_use(self) -> DeviceUse:
        """As the engine said with its last result."""
        return self._use

    def wait_until_ready(self) -> None:
        """Raises `EngineUnavailable`."""
        self._ready()

    def close(self) -> None:
        """Leave the engine to other clients."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._is_ready = None, False

    def _stream(self, recordings: Iterable[Work]) -> Iterator[tuple[Any, Any]]:
        exits = 0
        coming: Iterator[Work] = iter(recordings)
        suspects: deque[Work] = deque()
        first: deque[Work] = deque(islice(coming, 1))  # made while the engine loads
        while exits < EXITS_IN_A_ROW:
            held: dict[int, Work] = {}
            alone = bool(suspects)
            try:
                own = _taken(suspects, ()) if alone else _taken(first, coming)
                with closing(self._call(islice(own, 1) if alone else own, held)) as outcomes:
                    for outcome in outcomes:
                        exits = 0
                        yield outcome
                if not alone:
                    return
            except _Exited as exited:
                exits += 1
                log.warning("the process of the engine %s %s", self.spec.name, exited)
                if len(held) > 1:
                    suspects += held.values()
                else:
                    for suspect in list(held.values()):
                        yield suspect, self._crashed(suspect, str(exited))
        for one in (*suspects, *first, *coming):
            yield one, self._crashed(one, f"exited {exits} times in a row before this recording was tried")

    def _call(self, coming: Iterator[Work], held: dict[int, Work]) -> Generator[Outcome]:
        """One stream of the engine. `held` is what it was given and has not answered. Raises `_Exited`."""
        over = False
        try:
            connection = self._ready()
            connection.tell({"begin": True})
            while not over:
                message = connection.receive()
                if "next" in message:
                    if (recording := next(coming, None)) is not None:
                        held[message["next"]] = recording
                    connection.tell({"recording": recording and packed(recording)})
                elif "at" in message:
                    held[message["at"]].report(message["ms"])
                elif "done" in message:
                    self._use = message["use"]
                    yield held.pop(message["done"]), self._result(message["result"])
                elif "broken" in message:
                    raise _Exited(f"broke on it: {message['broken']}")
                elif "unavailable" in message:
                    raise EngineUnavailable(message["unavailable"])
                over = "over" in message
        except HungUp:
            raise _Exited(f"exited while it worked on it: {self._place.last_error()}") from None
        finally:
            if not over:  # it exited, or the caller stopped the stream
                self.close()

    def _result(self, result: EngineResult | PodlakeError) -> EngineResult | PodlakeError:
        """After an error for lack of memory, other engines give theirs back, for the next try."""
        if isinstance(result, OutOfMemory):
            hosts.release(self._place.device)
        return result

    def _open(self) -> Connection:
        """Ask for the engine. Raises `EngineUnavailable`."""
        self._connection = connection = self._place.connect()
        with suppress(HungUp):  # `_ready` finds it
            connection.tell(self._request)
        return connection

    def _ready(self) -> Connection:
        """Wait until the engine is loaded and no other client uses it. Raises `EngineUnavailable`."""
        waiting = time.monotonic()
        try:
            return self._loaded()
        finally:
            self.waited_s += time.monotonic() - waiting

    def _loaded(self) -> Connection:
        for _ in range(_LOADS):
            connection = self._connection or self._open()
            if self._is_ready and not connection.has_hung_up():
                return connection
            try:
                message = connection.receive()
                if "ready" in message:
                    # A local model as the user named it: the host process has its absolute path.
                    self.spec = replace(message["ready"], model=self.spec.model)
                    self.loaded_s, self._is_ready = message["loaded_s"], True
                    return connection
                self.close()
                if not (message["no_memory"] and hosts.release(self._place.device)):
                    raise EngineUnavailable(message["unavailable"])
            except HungUp:
                self.close()
        raise EngineUnavailable(
            f"The engine's process under {self._place.python} exited while it loaded: {self._place.last_error()}"
        )

    def _crashed(self, recording: Recording | Line, how: str) -> EngineCrashed:
        return EngineCrashed(f"{recording.episode_id}: the process of the engine {self.spec.name} {how}")


def _taken(waiting: deque[Work], coming: Iterable[Work]) -> Iterator[Work]:
    """Removed when they are asked for, so that those that were never asked for stay."""
    while waiting:
        yield waiting.popleft()
    for one in coming:  # `yield from` would close `coming` with this generator  # noqa: UP028
        yield one


class _Exited(Exception):
    """The process exited without an answer, or its engine broke: how, and its last error."""
