"""Uploads videos to Kinescope: a resumable upload (tus), the question whether the video is ready, then its subtitles.

What was begun is kept in the ledger, so that a run that is tried again goes on with its upload and makes no second video.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speech.errors import (
    HttpRefused,
    HttpServerError,
    NetworkError,
    NotFound,
    PodlakeError,
    PublishRefused,
    RateLimited,
)

if TYPE_CHECKING:
    import httpx

PART_BYTES = 8 << 20
CONNECT_S, TIMEOUT_S = 10.0, 120.0
POLL_S = 5.0
READY_WITHIN_S = 4 * 3600.0
FAILED_PARTS = 5
"""Parts in a row that bring the upload no further, after which the run gives up, and is tried again."""
NO_MONEY = 400207
_TUS = {"Tus-Resumable": "1.0.0"}


@dataclass(frozen=True)
class Upload:
    """An upload that was begun."""

    video_id: str
    endpoint: str
    """Where its bytes go."""


@dataclass(frozen=True)
class Video:
    """What Kinescope says of a video."""

    video_id: str
    status: str
    play_link: str | None


@dataclass(frozen=True)
class Subtitle:
    """A subtitle file that a video has there."""

    subtitle_id: str
    language: str
    description: str


@dataclass(frozen=True)
class Kinescope:
    """The service, for one folder or project in it."""

    api_url: str
    uploader_url: str
    token: str
    parent_id: str
    sleep: Callable[[float], None] = time.sleep
    _clients: list[httpx.Client] = field(default_factory=list, repr=False)

    def begin(self, title: str, file: Path) -> Upload:
        """Announce an upload. Raises `PublishRefused` for good, other errors for now."""
        body = {
            "type": "video", "parent_id": self.parent_id, "title": title, "filename": file.name,
            "filesize": file.stat().st_size,
        }  # fmt: skip
        data = self._json("POST", f"{self.uploader_url}/v2/init", json=body)
        return Upload(str(data["id"]), str(data["endpoint"]))

    def send(self, upload: Upload, file: Path) -> None:
        """Send the bytes that the server does not have. A broken connection is taken up where the server stands.

        Raises `NotFound` where the server knows the upload no more.
        """
        size, failed = file.stat().st_size, 0
        offset = self._offset(upload)
        while offset < size:
            try:
                after = self._send_part(upload, file, offset)
            except (NetworkError, HttpServerError, _Conflict) as error:
                after = self._offset(upload)
                failed = 0 if after > offset else failed + 1
                if failed == FAILED_PARTS:
                    raise NetworkError(
                        f"The upload {upload.video_id} stands at {after} of {size} bytes: {error}"
                    ) from error
            offset = after

    def wait(self, video_id: str) -> Video:
        """Ask until the video is ready. Raises `PublishRefused` if it is aborted, `HttpServerError` if it has failed."""
        for _ in range(int(READY_WITHIN_S / POLL_S)):
            with suppress(NetworkError, RateLimited):
                found = self.video(video_id)
                if found.status == "done":
                    return found
                if found.status == "aborted":
                    raise PublishRefused(f"Kinescope has aborted the video {video_id}. Look at it there.")
                if found.status == "error":
                    raise VideoFailed(f"Kinescope could not process the video {video_id}. It is uploaded again.")
            self.sleep(POLL_S)
        raise HttpServerError(f"The video {video_id} is not ready after {READY_WITHIN_S / 3600:g} hours.")

    def video(self, video_id: str) -> Video:
        data = self._json("GET", f"{self.api_url}/v1/videos/{video_id}")
        return Video(video_id, str(data.get("status")), data.get("play_link"))

    def subtitles(self, video_id: str) -> list[Subtitle]:
        found = self._data("GET", f"{self.api_url}/v1/videos/{video_id}/subtitles") or []
        return [Subtitle(str(one["id"]), str(one.get("language")), str(one.get("description"))) for one in found]

    def add_subtitle(self, video_id: str, language: str, description: str, file: Path) -> Subtitle:
        """Upload a WebVTT file. It can be there although this raises: an answer can be lost."""
        data = self._json(
            "POST", f"{self.api_url}/v1/videos/{video_id}/subtitles",
            data={"language": language, "description": description},
            files={"file": (file.name, file.read_bytes(), "text/vtt")},
        )  # fmt: skip
        return Subtitle(str(data["id"]), language, description)

    def remove_subtitle(self, video_id: str, subtitle_id: str) -> None:
        """Remove one; it may be gone already."""
        with suppress(NotFound):
            self._request("DELETE", f"{self.api_url}/v1/videos/{video_id}/subtitles/{subtitle_id}")

    def close(self) -> None:
        while self._clients:
            self._clients.pop().close()

    def _offset(self, upload: Upload) -> int:
        answer = self._request("HEAD", upload.endpoint, headers=_TUS)
        return int(answer.headers["Upload-Offset"])

    def _send_part(self, upload: Upload, file: Path, offset: int) -> int:
        with file.open("rb") as stream:
            stream.seek(offset)
            content = stream.read(PART_BYTES)
        headers = {**_TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        answer = self._request("PATCH", upload.endpoint, headers=headers, content=content)
        return int(answer.headers["Upload-Offset"])

    def _json(self, method: str, url: str, **content: Any) -> dict[str, Any]:
        return dict(self._data(method, url, **content))

    def _data(self, method: str, url: str, **content: Any) -> Any:
        answer = self._request(method, url, **content)
        try:
            return answer.json()["data"]
        except (ValueError, KeyError, TypeError) as error:
            raise HttpServerError(f"{url} answered {answer.text[:200]!r}, which is no answer of Kinescope.") from error

    def _request(self, method: str, url: str, **content: Any) -> httpx.Response:
        import httpx

        if not self._clients:
            timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_S)
            headers = {"Authorization": f"Bearer {self.token}"}
            self._clients.append(httpx.Client(timeout=timeout, headers=headers, trust_env=False))
        try:
            answer = self._clients[0].request(method, url, **content)
        except httpx.HTTPError as error:
            raise NetworkError(f"Kinescope gave no complete answer ({type(error).__name__}: {error}).") from error
        if answer.status_code >= 300:
            raise _error(answer, url)
        return answer


class VideoFailed(HttpServerError):
    """The service could not process the video; another upload may succeed."""


class _Conflict(PodlakeError):
    """The server stands at another offset (409)."""


def _error(answer: httpx.Response, url: str) -> PodlakeError:
    code, message = _reason(answer)
    said = f"{url.partition('?')[0]} answered {answer.status_code}: {message}"
    if code == NO_MONEY or answer.status_code == 402:
        return PublishRefused(f"Kinescope takes no video, because there is no money on its account: {message}")
    if answer.status_code == 409:
        return _Conflict(said)
    if answer.status_code in (404, 410):
        return NotFound(said)
    if answer.status_code == 429:
        wait = answer.headers.get("Retry-After", "")
        return RateLimited(said, float(wait) if wait.isdigit() else None)
    return (HttpServerError if answer.status_code >= 500 else HttpRefused)(said)


def _reason(answer: httpx.Response) -> tuple[int | None, str]:
    try:
        error = answer.json()["error"]
        return int(error["code"]), " ".join(f"{error.get('message', '')} {error.get('detail') or ''}".split())
    except (ValueError, KeyError, TypeError):
        return None, answer.text[:200]
