"""The JSON messages of a live stream: what a listener may send, and what the server says beside the audio."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from gateway.listening.recordings import Passage, Recording
from speech.webm import CLUSTER_MS, MIME, SAMPLE_RATE_HZ

MOST_CHARACTERS = 4_096
"""Of a message of a listener."""
_LONGEST_START_MS = 3_600_000

Event = Literal["pause", "resume", "started", "rebuffered"]
_REQUESTS: dict[str, Event] = {"pause_request": "pause", "resume_request": "resume"}
_REPORTS: tuple[Event, ...] = ("started", "rebuffered")


@dataclass(frozen=True, slots=True)
class Control:
    """What a listener asks for or reports."""

    event: Event
    after_ms: float = 0.0
    """Of `started`: how long its user waited for sound."""


class StreamFailed(Exception):
    """The stream cannot go on: a code for programs, and a message for people."""

    def __init__(self, code: str, message: str, *, is_retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.is_retryable = is_retryable
        """Whether the listener may connect again with the same token."""


def control_of(text: str) -> Control | None:
    """The message of a listener; None: it is none of ours."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return None
    if message["type"] in _REQUESTS:
        return Control(_REQUESTS[message["type"]])
    event, after_ms = message.get("event"), message.get("after_ms", 0)
    if message["type"] != "player_report" or event not in _REPORTS:
        return None
    if isinstance(after_ms, bool) or not isinstance(after_ms, (int, float)) or not 0 <= after_ms <= _LONGEST_START_MS:
        return None
    return Control(event, float(after_ms))


def metadata(recording: Recording, from_ms: int) -> dict[str, object]:
    """The first message. `from_ms` is the time of the first cluster."""
    return {
        "type": "stream_metadata", "codec": "opus", "container": "webm", "mime": MIME, "sampleRate": SAMPLE_RATE_HZ,
        "channels": 1, "cluster_ms": CLUSTER_MS, "from_ms": from_ms, "key": recording.key, "title": recording.title,
        "language": recording.language, "duration_ms": recording.duration_ms, "is_live": recording.is_live,
    }  # fmt: skip


def passage_message(passage: Passage) -> dict[str, object]:
    """Words that are in the audio that follows: `[text, start_ms, end_ms]` each."""
    return {
        "type": "passage", "turn_idx": passage.turn_idx, "speaker": passage.speaker, "start_ms": passage.start_ms,
        "end_ms": passage.end_ms, "words": passage.words,
    }  # fmt: skip


def stream_end(end_ms: int) -> dict[str, object]:
    return {"type": "stream_end", "end_ms": end_ms}


def error(failed: StreamFailed) -> dict[str, object]:
    return {"type": "error", "code": failed.code, "message": str(failed), "retryable": failed.is_retryable}
