"""The messages between an engine's host process and its clients: lines of JSON over a Unix socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from speech import errors
from speech.engines.protocols import EngineChoice, EngineResult, EngineSpec
from speech.errors import PodlakeError
from speech.types import Diarization, Recording, Segment, Transcript, Word

Json = dict[str, Any]

_ERRORS = {
    cls.error_class: cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, PodlakeError)
}


class HungUp(Exception):
    """The process at the other end has closed the connection, or has exited."""


class Connection:
    """One end of a connection. Several threads may send."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._lines = connected.makefile("r", encoding="utf-8", newline="\n")
        self._sending = Lock()

    def tell(self, message: Json) -> None:
        """Send a message. Raises `HungUp`."""
        line = json.dumps(message) + "\n"
        try:
            with self._sending:
                self._socket.sendall(line.encode())
        except OSError as error:
            raise HungUp from error

    def receive(self) -> Json:
        """Wait for the next message. Raises `HungUp`."""
        try:
            line = self._lines.readline()
        except (OSError, ValueError) as error:  # a timeout, a reset, or closed by another thread
            raise HungUp from error
        if not line.endswith("\n"):
            raise HungUp
        return json.loads(line)

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
        self._lines.close()
        self._socket.close()


def packed_choice(choice: EngineChoice) -> list[Any]:
    """A local model as an absolute path: the processes may have different current folders."""
    model = choice.model
    if model and Path(model).expanduser().exists():
        model = str(Path(model).expanduser().absolute())
    return [choice.name, model, dict(choice.options)]


def packed_spec(spec: EngineSpec) -> Json:
    languages = None if spec.languages is None else sorted(spec.languages)
    return {**asdict(spec), "settings": dict(spec.settings), "languages": languages}


def spec_of(packed: Json) -> EngineSpec:
    languages = packed["languages"]
    return EngineSpec(**{**packed, "languages": None if languages is None else frozenset(languages)})


def packed_recording(recording: Recording) -> Json:
    """The path of its waveform, not the samples."""
    return {
        "episode_id": recording.episode_id,
        "audio_sha256": recording.audio_sha256,
        "waveform_path": str(recording.waveform_path.absolute()),
        "language": recording.language,
    }


def recording_of(packed: Json, report: Callable[[int], None]) -> Recording:
    return Recording(**{**packed, "waveform_path": Path(packed["waveform_path"])}, report=report)


def packed_result(result: EngineResult | PodlakeError) -> Json:
    if isinstance(result, PodlakeError):
        return {"is": "error", "error_class": result.error_class, "message": str(result)}
    if isinstance(result, Transcript):
        return {"is": "transcript", **asdict(result)}
    embeddings = {speaker: vector.tolist() for speaker, vector in result.embeddings.items()}
    return {"is": "diarization", **asdict(result), "embeddings": embeddings}


def result_of(packed: Json) -> EngineResult | PodlakeError:
    fields = dict(packed)
    return _RESULTS[fields.pop("is")](fields)


def _error(fields: Json) -> PodlakeError:
    return _ERRORS[fields["error_class"]](fields["message"])


def _transcript(fields: Json) -> Transcript:
    return Transcript(**{**fields, "words": tuple(Word(**word) for word in fields["words"])})


def _diarization(fields: Json) -> Diarization:
    segments = tuple(Segment(**segment) for segment in fields["segments"])
    embeddings = {speaker: np.array(vector, np.float32) for speaker, vector in fields["embeddings"].items()}
    return Diarization(**{**fields, "segments": segments, "embeddings": embeddings})


_RESULTS: dict[str, Callable[[Json], EngineResult | PodlakeError]] = {
    "error": _error,
    "transcript": _transcript,
    "diarization": _diarization,
}
