"""The process that `firered_worker` runs in: started, asked, watched, ended."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from speech.errors import EngineCrashed, EngineUnavailable
from speech.types import Recording, Span

LOAD_TIMEOUT_S = 900
"""Four gigabytes from a slow disk."""
ANSWER_TIMEOUT_S = 1800
"""A batch of two minutes on a slow CPU takes a third of it."""


class Process:
    """A model in a process of its own; after a crash, the next question starts it again."""

    def __init__(self, folder: Path, package: str, device: str) -> None:
        self._folder = folder
        self._arguments = (str(folder), package, device)
        self._running: subprocess.Popen[str] | None = None
        self._stderr: IO[str] | None = None

    @property
    def pid(self) -> int | None:
        """None while there is no process."""
        return self._running.pid if self._running else None

    def start(self) -> None:
        """Start it and load the model. Raises `EngineUnavailable` with what the process says."""
        self._stderr = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 – lives as long as the process
        self._running = subprocess.Popen(
            [sys.executable, "-m", "speech.engines.firered_worker", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            encoding="utf-8",
        )
        answer = self._answer(self._running, LOAD_TIMEOUT_S)
        if answer is None or "unavailable" in answer:
            reason = answer["unavailable"] if answer else self._last_words(self._running)
            self.close()
            raise EngineUnavailable(
                f"FireRedASR could not be loaded from {self._folder}: {reason}. "
                "A damaged download, or too little memory: the model takes 5 GB while it loads."
            )

    def ask(self, recording: Recording, chunks: Sequence[Span]) -> dict[str, Any]:
        """The worker's answer for some chunks of a recording. Raises `EngineCrashed` where it dies over them."""
        if self._running is None:
            self.start()
        process = self._running
        assert process is not None
        assert process.stdin is not None
        waveform = str(recording.waveform_path.absolute())
        request = {"waveform": waveform, "chunks": [(chunk.start_ms, chunk.end_ms) for chunk in chunks]}
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            answer = self._answer(process, ANSWER_TIMEOUT_S)
        except BrokenPipeError:
            answer = None
        if answer is None:
            last_words = self._last_words(process)
            self.close()
            raise EngineCrashed(f"FireRedASR's process died over {recording.episode_id}: {last_words}")
        return answer

    def close(self) -> None:
        """End it: its memory is free when this returns."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            for pipe in (self._running.stdin, self._running.stdout, self._stderr):
                with suppress(BrokenPipeError):  # a question that was never read
                    if pipe is not None:
                        pipe.close()
            self._running = self._stderr = None

    @staticmethod
    def _answer(process: subprocess.Popen[str], timeout_s: float) -> dict[str, Any] | None:
        """The next line; None where the process has died, or was ended because it did not answer in time."""
        assert process.stdout is not None
        watchdog = threading.Timer(timeout_s, process.kill)
        watchdog.start()
        try:
            line = process.stdout.readline()
        finally:
            watchdog.cancel()
        return json.loads(line) if line.endswith("\n") else None

    def _last_words(self, process: subprocess.Popen[str]) -> str:
        """How it ended, and the last line that it wrote to stderr."""
        assert self._stderr is not None
        code = process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read()[-4000:].strip().splitlines()
        ended = f"signal {-code}" if code < 0 else f"exit status {code}"
        return f"{ended}; {lines[-1]}" if lines else ended
