"""Runs an engine in a process of its own, under an interpreter of its own: the owner's side.

The option `python` of an engine names the interpreter, because some packages cannot share an environment. The worker
(`subprocess_worker`) asks for a recording when its engine does, so that the engine decides on batches and read-ahead.
The path of a waveform crosses the pipe, not its samples.

If the process exits, its unfinished recordings are suspects: a new process tries each alone, and a recording that
makes the process exit again fails with `EngineCrashed`. The other recordings are not affected.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

from speech.engines.protocols import ON_CPU, DeviceUse, EngineChoice, EngineResult, EngineSpec, Slot
from speech.errors import EngineCrashed, EngineUnavailable, PodlakeError
from speech.processes import Process
from speech.types import Recording

log = logging.getLogger("podlake")

WORKER = "speech.engines.subprocess_worker"
EXITS_IN_A_ROW = 4
"""After so many exits without a result in between, the rest of the stream fails."""

Outcome = tuple[Recording, EngineResult | PodlakeError]


def load(slot: Slot, choice: EngineChoice, device: str) -> SubprocessEngine:
    """A warm engine under the interpreter `choice.options["python"]`. Raises `EngineUnavailable`, as the engine there."""
    return SubprocessEngine(slot, choice, device)


class SubprocessEngine:
    """A `Diarizer` or a `Transcriber`, whichever it was loaded as."""

    spec: EngineSpec

    def __init__(self, slot: Slot, choice: EngineChoice, device: str) -> None:
        options = dict(choice.options)
        self._python = options.pop("python")
        self._arguments = (slot, json.dumps([choice.name, choice.model, options]), device)
        self._use = ON_CPU
        self._process: Process | None = None
        self._start()

    @property
    def pid(self) -> int | None:
        """The engine's process; None while there is none."""
        return self._process.pid if self._process else None

    def diarize(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Any]]:
        """Each recording exactly once, in any order."""
        return self._stream(recordings)

    def transcribe(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Any]]:
        """Each recording exactly once, in any order."""
        return self._stream(recordings)

    def device_use(self) -> DeviceUse:
        """As of the last result."""
        return self._use

    def close(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None

    def _stream(self, recordings: Iterable[Recording]) -> Iterator[Outcome]:
        coming, suspects, exits = iter(recordings), deque[Recording](), 0
        while exits < EXITS_IN_A_ROW:
            held: dict[int, Recording] = {}
            alone = bool(suspects)
            try:
                with closing(self._call(_first_of(suspects) if alone else coming, held)) as outcomes:
                    for outcome in outcomes:
                        exits = 0
                        yield outcome
                if not alone:
                    return
            except _Exited as exited:
                exits += 1
                log.warning("the process of the engine %s exited while it worked: %s", self.spec.name, exited)
                if len(held) > 1:
                    suspects += held.values()
                else:
                    yield from (
                        (one, self._crashed(one, f"exited while it worked on it: {exited}")) for one in held.values()
                    )
        for one in (*suspects, *coming):
            yield one, self._crashed(one, f"exited {exits} times in a row before this recording was tried")

    def _call(self, coming: Iterator[Recording], held: dict[int, Recording]) -> Generator[Outcome]:
        """One stream of the worker's engine. `held` are the recordings that it has and that have no result yet. Raises `_Exited`."""
        process = self._process or self._start()
        over = False
        try:
            process.tell({"begin": True})
            while not over:
                message = self._receive(process)
                if "next" in message:
                    recording = next(coming, None)
                    if recording is not None:
                        held[message["next"]] = recording
                    process.tell({"recording": recording and _packed(recording)})
                elif "done" in message:
                    self._use = message["use"]
                    yield held.pop(message["done"]), message["result"]
                over = "over" in message
        finally:
            if not over:  # it exited, or the caller stopped the stream
                self.close()

    def _receive(self, process: Process) -> dict[str, Any]:
        message: dict[str, Any] | None = process.receive()
        if message is None:
            raise _Exited(process.last_error())
        if "unavailable" in message:
            raise EngineUnavailable(message["unavailable"])
        return message

    def _start(self) -> Process:
        """A new process with its engine loaded. Raises `EngineUnavailable`."""
        try:
            self._process = process = Process(WORKER, self._arguments, python=self._python)
        except OSError as error:
            raise EngineUnavailable(
                f"The interpreter {self._python} cannot be started ({error.strerror}). It is to run the engine in an "
                "environment of its own: see PODLAKE_NEMO_PYTHON and PODLAKE_FIRERED_PYTHON, or `make nemo`."
            ) from error
        try:
            self.spec = self._receive(process)["ready"]
        except _Exited as exited:
            self.close()
            raise EngineUnavailable(
                f"The engine's process under {self._python} exited while it loaded: {exited}"
            ) from None
        except EngineUnavailable:
            self.close()
            raise
        return process

    def _crashed(self, recording: Recording, how: str) -> EngineCrashed:
        return EngineCrashed(f"{recording.episode_id}: the process of the engine {self.spec.name} {how}")


def _packed(recording: Recording) -> dict[str, Any]:
    return {**asdict(recording), "waveform_path": str(recording.waveform_path.absolute())}


def _first_of(suspects: deque[Recording]) -> Iterator[Recording]:
    """The first suspect, removed from the queue when the engine asks for it."""
    yield suspects.popleft()


class _Exited(Exception):
    """The process exited without an answer: its status and last error."""
