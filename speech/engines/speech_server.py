"""What the synthesizers behind HTTP share: one request at a time for each server, errors as types, audio of any format."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from speech.engines.hosts import folder
from speech.engines.line_synthesizer import Sound
from speech.errors import (
    BadOutput,
    EngineUnavailable,
    HttpRefused,
    HttpServerError,
    NetworkError,
    NotFound,
    RateLimited,
)
from speech.file_locks import wait_for_lock

if TYPE_CHECKING:
    import httpx

CONNECT_S = 10.0
LARGEST_ANSWER_BYTES = 200 << 20
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class SpeechServer:
    """A server that makes speech. Requests of all processes of this machine wait for each other."""

    url: str
    api_key: str = ""
    timeout_s: float = 300.0
    _clients: list[httpx.Client] = field(default_factory=list)
    """The connection, once there is one."""

    @classmethod
    def at(cls, url: str | None, *, engine: str, api_key: str = "", timeout_s: float = 300.0) -> SpeechServer:
        """Raises `EngineUnavailable` unless the URL is one of HTTP."""
        if not url or urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise EngineUnavailable(
                f"The voice {engine} needs the address of its server: PODLAKE_VOICES=S1={engine}:http://127.0.0.1:8000."
            )
        return cls(url.rstrip("/"), api_key, timeout_s)

    @contextmanager
    def leased(self) -> Iterator[None]:
        """The server for this block alone. A process that exits releases it."""
        name = hashlib.sha256(self.url.encode()).hexdigest()[:12]
        with (folder() / f"server-{name}.lock").open("w") as lock:
            wait_for_lock(lock)
            yield

    def request(self, method: str, path: str, **content: Any) -> httpx.Response:
        """An answer of status 200–299. Raises a `PodlakeError` that says what the server answered."""
        import httpx

        if not self._clients:
            headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
            timeout = httpx.Timeout(self.timeout_s, connect=CONNECT_S)
            self._clients.append(httpx.Client(timeout=timeout, headers=headers, trust_env=False))
        try:
            response = self._clients[0].request(method, self.url + path, **content)
        except httpx.HTTPError as error:
            raise NetworkError(
                f"The speech server {self.url} gave no complete answer ({type(error).__name__}: {error}). Is it running?"
            ) from error
        raise_for(response, f"{self.url}{path}")
        return response

    def close(self) -> None:
        while self._clients:
            self._clients.pop().close()


def sound_of(content: bytes, source: str) -> Sound:
    """The audio of an answer, whatever its container, as mono int16 samples. Raises `BadOutput`."""
    import av
    from av.audio.resampler import AudioResampler

    if len(content) > LARGEST_ANSWER_BYTES:
        raise BadOutput(f"{source} answered with {len(content) >> 20} MB, which is no line of a script.")
    try:
        with av.open(io.BytesIO(content), "r") as container:
            rate_hz = container.streams.audio[0].rate
            resampler = AudioResampler(format="s16", layout="mono", rate=rate_hz)
            frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
            frames += resampler.resample(None)
    except (av.FFmpegError, IndexError, ValueError) as error:
        start = content[:40].decode(errors="replace")
        raise BadOutput(f"{source} answered with something that is no audio ({start!r}): {error}") from error
    samples = [frame.to_ndarray().reshape(-1) for frame in frames]
    return Sound(np.concatenate(samples) if samples else np.zeros(0, np.int16), rate_hz)


def raise_for(response: httpx.Response, source: str) -> None:
    """Raise the `PodlakeError` of an answer that is not of status 200–299."""
    status = response.status_code
    if status < 300:
        return
    message = f"{source} answered {status}: {_reason(response)}"
    if status in (404, 410):
        raise NotFound(message)
    if status == 429 or (status == 503 and "Retry-After" in response.headers):
        wait = response.headers.get("Retry-After", "")
        raise RateLimited(message, float(wait) if wait.isdigit() else None)
    if status == 408:
        raise NetworkError(message)
    raise (HttpServerError if status >= 500 else HttpRefused)(message)


def _reason(response: httpx.Response) -> str:
    """What the server says is wrong: FastAPI has it in `detail`, others in `message` or `error`."""
    text = response.text
    try:
        answer = response.json()
        found = next((answer[name] for name in ("detail", "message", "error") if answer.get(name)), text)
        text = found if isinstance(found, str) else json.dumps(found)
    except (ValueError, AttributeError):
        pass
    return " ".join(text.split())[:_SHOWN_CHARACTERS] or "no reason"
