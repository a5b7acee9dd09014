"""A typed client of the API of `podlake serve`.

with Client("https://podlake.example.org", key="plk_…") as podlake:
    (one,) = podlake.submit_episodes([NewEpisode("https://example.org/1.mp3", language="en")])
    podlake.episode(one.id).state
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import httpx
from pydantic import TypeAdapter

from podlake.api import (
    BulkResult,
    EpisodeEntry,
    EpisodeList,
    EpisodeStatus,
    FeedEntry,
    FeedList,
    Forgotten,
    LakeEvent,
    Lesson,
    LessonRetry,
    NewEpisode,
    NewFeed,
    NewPodcast,
    NewVideo,
    NewWebhook,
    Podcast,
    PodcastLimits,
    PodcastList,
    PodcastNotification,
    PodcastOverview,
    PodcastProblem,
    RetryRequest,
    RetryResult,
    SearchHits,
    Statistics,
    Submitted,
    UploadedFile,
    Video,
    VideoDevice,
    VideoList,
    WebhookEntry,
)

Answer = TypeVar("Answer")
_NOTIFICATION = TypeAdapter(PodcastNotification)
_RECONNECT_S = (1.0, 30.0)
"""Wait before another connection: at first, and at most."""


class ApiError(Exception):
    """The service refuses or fails. The message is its `detail`."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status}: {problem.get('detail', '')}")
        self.status, self.problem = status, problem


class Client:
    """Calls the API with a key, or with a user's name and password. Raises `ApiError` and `httpx.HTTPError`."""

    def __init__(
        self, url: str, *, key: str | None = None, user: tuple[str, str] | None = None, timeout_s: float = 60.0
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=f"{url.rstrip('/')}/api/v1/", headers=headers, auth=user, timeout=timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def submit_episodes(self, episodes: Sequence[NewEpisode], *, idempotency_key: str | None = None) -> list[Submitted]:
        """Add audio by URL, up to 1000 at once."""
        return self._post("episodes", list[NewEpisode], episodes, list[Submitted], idempotency_key)

    def submit_feeds(self, feeds: Sequence[NewFeed], *, idempotency_key: str | None = None) -> list[Submitted]:
        """Subscribe to feeds, up to 1000 at once."""
        return self._post("feeds", list[NewFeed], feeds, list[Submitted], idempotency_key)

    def submit_bulk(
        self, lines: Iterable[Mapping[str, object]] | Path, *, idempotency_key: str | None = None,
        timeout_s: float = 600.0,
    ) -> BulkResult:  # fmt: skip
        """Add a list of any length: a file of JSON lines, or their records."""
        headers = {"Content-Type": "application/x-ndjson", **_key(idempotency_key)}
        if isinstance(lines, Path):
            with lines.open("rb") as stream:
                found = self._http.post("bulk", content=stream, headers=headers, timeout=timeout_s)
        else:
            content = (json.dumps(line).encode() + b"\n" for line in lines)
            found = self._http.post("bulk", content=content, headers=headers, timeout=timeout_s)
        return _read(found, BulkResult)

    def episode(self, episode_id: str) -> EpisodeStatus:
        """An episode with all its stages."""
        return _read(self._http.get(f"episodes/{episode_id}"), EpisodeStatus)

    def episodes(
        self, *, feed: str | None = None, language: str | None = None,
        state: Literal["done", "failed", "waiting", "removed"] | None = None, since: datetime | date | None = None,
        until: datetime | date | None = None, page: int = 1000,
    ) -> Iterator[EpisodeEntry]:  # fmt: skip
        """All episodes of the choice, newest first; pages are fetched as they are needed."""
        chosen = _given(feed=feed, language=language, state=state, since=since, until=until, limit=page)
        cursor: str | None = None
        while True:
            found = _read(self._http.get("episodes", params={**chosen, **_given(cursor=cursor)}), EpisodeList)
            yield from found.episodes
            cursor = found.next_cursor
            if cursor is None:
                return

    def feeds(self) -> Iterator[FeedEntry]:
        """All feeds."""
        cursor: str | None = None
        while True:
            found = _read(self._http.get("feeds", params=_given(cursor=cursor)), FeedList)
            yield from found.feeds
            cursor = found.next_cursor
            if cursor is None:
                return

    def transcript(self, episode_id: str, form: Literal["json", "vtt", "srt", "txt"] = "json") -> str:
        """The transcript as the text of a file."""
        return _checked(self._http.get(f"episodes/{episode_id}/transcript", params={"format": form})).text

    def audio(self, episode_id: str, *, first: int = 0, last: int | None = None) -> bytes:
        """The audio, or its bytes from `first` to `last`."""
        headers = {"Range": f"bytes={first}-{'' if last is None else last}"} if first or last is not None else {}
        return _checked(self._http.get(f"episodes/{episode_id}/audio", headers=headers)).content

    def search(
        self, q: str, *, feed: str | None = None, speaker: str | None = None, language: str | None = None,
        since: date | None = None, until: date | None = None, limit: int = 20,
    ) -> SearchHits:  # fmt: skip
        """Turns that contain all words."""
        chosen = _given(q=q, feed=feed, speaker=speaker, language=language, since=since, until=until, limit=limit)
        return _read(self._http.get("search", params=chosen), SearchHits)

    def statistics(self) -> Statistics:
        """The state of the whole lake."""
        return _read(self._http.get("statistics"), Statistics)

    def retry(self, asked: RetryRequest = RetryRequest()) -> RetryResult:  # noqa: B008 - frozen
        """Repeat failures."""
        return self._post("retry", RetryRequest, asked, RetryResult)

    def forget_episode(self, episode_id: str) -> Forgotten:
        """Remove every byte of an episode."""
        return _read(self._http.delete(f"episodes/{episode_id}"), Forgotten)

    def forget_feed(self, feed_id: str) -> Forgotten:
        """Remove every byte of a feed."""
        return _read(self._http.delete(f"feeds/{feed_id}"), Forgotten)

    def add_webhook(self, asked: NewWebhook) -> WebhookEntry:
        """Tell an address of events. The answer has the secret."""
        return self._post("webhooks", NewWebhook, asked, WebhookEntry)

    def webhooks(self) -> list[WebhookEntry]:
        return _read(self._http.get("webhooks"), list[WebhookEntry])

    def remove_webhook(self, webhook_id: str) -> None:
        _checked(self._http.delete(f"webhooks/{webhook_id}"))

    def events(
        self, *, kinds: Sequence[str] = (), stages: Sequence[str] = (), feeds: Sequence[str] = (),
        after: str | None = None,
    ) -> Iterator[LakeEvent]:  # fmt: skip
        """Landings and failures from now on, or after the event with this id, until the connection ends."""
        params = {"kind": list(kinds), "stage": list(stages), "feed": list(feeds)}
        headers = {"Last-Event-ID": after} if after else {}
        with self._http.stream("GET", "events", params=params, headers=headers) as answer:
            if answer.is_error:
                answer.read()
                _checked(answer)
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield TypeAdapter(LakeEvent).validate_json(line.removeprefix("data: "))

    def podcast_notifications(self, *, after: int | None = None) -> Iterator[PodcastNotification]:
        """Finished podcasts as they are told, each once: those after the last acknowledged one, or after `after`.

        Each is acknowledged when the next one is asked for. When the connection ends, another one is made. Needs the
        package `websockets`.
        """
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.sync.client import connect

        url = str(self._http.base_url.copy_with(scheme={"http": "ws", "https": "wss"}[self._http.base_url.scheme]))
        last_id, wait_s = after, _RECONNECT_S[0]
        while True:
            query = "" if last_id is None else f"?after={last_id}"
            try:
                with connect(f"{url}notifications{query}", additional_headers=self._authorization()) as socket:
                    wait_s = _RECONNECT_S[0]
                    for message in socket:
                        told = _NOTIFICATION.validate_json(message)
                        if last_id is None or told.id > last_id:
                            last_id = told.id
                            yield told
                        socket.send(json.dumps({"type": "ack", "id": told.id}))
            except InvalidStatus as error:
                if error.response.status_code < 500:
                    raise ApiError(error.response.status_code, json.loads(error.response.body or b"{}")) from error
            except (WebSocketException, EOFError, OSError):
                pass  # the connection broke, perhaps while it was made
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _RECONNECT_S[1])

    def _authorization(self) -> dict[str, str]:
        request = self._http.build_request("GET", "notifications")
        authenticated = next(self._http.auth.sync_auth_flow(request)) if self._http.auth else request
        found = authenticated.headers.get("Authorization")
        return {"Authorization": found} if found else {}

    def request_podcast(self, asked: NewPodcast, *, idempotency_key: str | None = None) -> Podcast:
        """Request a podcast. `ApiError.problem["code"]` says why it is refused."""
        return self._post("podcasts", NewPodcast, asked, Podcast, idempotency_key)

    def check_podcast(self, asked: NewPodcast) -> list[PodcastProblem]:
        """Why a request would be refused, without making it."""
        return self._post("podcasts/check", NewPodcast, asked, list[PodcastProblem])

    def podcast(self, podcast_id: str) -> Podcast:
        """One podcast with its script and turns."""
        return _read(self._http.get(f"podcasts/{podcast_id}"), Podcast)

    def podcasts(self, *, everyone: bool = False, user: str | None = None, page: int = 200) -> Iterator[Podcast]:
        """Your podcasts, the newest first; for administrators also those of others."""
        cursor: str | None = None
        while True:
            chosen = _given(user=user, limit=page, cursor=cursor, everyone=everyone or None)
            found = _read(self._http.get("podcasts", params=chosen), PodcastList)
            yield from found.podcasts
            cursor = found.next_cursor
            if cursor is None:
                return

    def podcast_limits(self) -> PodcastLimits:
        """Who you are, what you may request, and with which voices."""
        return _read(self._http.get("podcasts/limits"), PodcastLimits)

    def podcast_overview(self) -> PodcastOverview:
        """The podcasts of the last seven days, for administrators."""
        return _read(self._http.get("podcasts/overview"), PodcastOverview)

    def upload_video_file(self, path: Path) -> UploadedFile:
        """Store a video or a recording for a request."""
        with path.open("rb") as file:
            return _read(self._http.put("videos/uploads", params={"name": path.name}, content=file), UploadedFile)

    def request_video(self, asked: NewVideo) -> Video:
        """Request a video. `ApiError.problem["code"]` says why it is refused."""
        return self._post("videos", NewVideo, asked, Video)

    def video(self, video_id: str) -> Video:
        """One video: state, position, device, timings and links."""
        return _read(self._http.get(f"videos/{video_id}"), Video)

    def videos(self, *, everyone: bool = False, most: int = 200) -> tuple[Video, ...]:
        """Your videos, the newest first; for administrators also those of others."""
        chosen = _given(limit=most, everyone=everyone or None)
        return _read(self._http.get("videos", params=chosen), VideoList).videos

    def video_devices(self) -> list[VideoDevice]:
        """The devices for talking heads."""
        return _read(self._http.get("videos/devices"), list[VideoDevice])

    def cancel_video(self, video_id: str) -> Video:
        """Cancel a video that is not finished."""
        return _read(self._http.post(f"videos/{video_id}/cancel"), Video)

    def video_file(self, video_id: str, *, first: int = 0, last: int | None = None) -> bytes:
        """The finished video, or its bytes from `first` to `last`."""
        headers = {"Range": f"bytes={first}-{'' if last is None else last}"} if first or last is not None else {}
        return _checked(self._http.get(f"videos/{video_id}/file", headers=headers)).content

    def lesson(self, lesson_id: str) -> Lesson:
        """One lesson that is dubbed, and where it is."""
        return _read(self._http.get(f"lessons/{lesson_id}"), Lesson)

    def retry_lesson(self, lesson_id: str, asked: LessonRetry = LessonRetry()) -> Lesson:  # noqa: B008 - frozen
        """Try a lesson again. `ApiError.problem["code"]` says why it is refused."""
        return self._post(f"lessons/{lesson_id}/retry", LessonRetry, asked, Lesson)

    def cancel_podcast(self, podcast_id: str) -> Podcast:
        """Cancel a podcast that is not finished."""
        return _read(self._http.post(f"podcasts/{podcast_id}/cancel"), Podcast)

    def podcast_audio(
        self, podcast_id: str, form: Literal["mp3", "opus"] = "mp3", *, first: int = 0, last: int | None = None
    ) -> bytes:
        """The finished audio, or its bytes from `first` to `last`."""
        headers = {"Range": f"bytes={first}-{'' if last is None else last}"} if first or last is not None else {}
        return _checked(
            self._http.get(f"podcasts/{podcast_id}/audio", params={"format": form}, headers=headers)
        ).content

    def _post(self, path: str, kind: Any, value: object, answer: type[Answer], key: str | None = None) -> Answer:
        content = TypeAdapter(kind).dump_json(value)
        headers = {"Content-Type": "application/json", **_key(key)}
        return _read(self._http.post(path, content=content, headers=headers), answer)


def _read(answer: httpx.Response, kind: type[Answer]) -> Answer:
    return TypeAdapter(kind).validate_json(_checked(answer).content)


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        problem = answer.json()
    except ValueError:
        problem = {"detail": answer.text[:500]}
    raise ApiError(answer.status_code, problem if isinstance(problem, dict) else {"detail": str(problem)})


def _given(**values: object) -> dict[str, str]:
    return {
        name: value.isoformat() if isinstance(value, date) else str(value)
        for name, value in values.items()
        if value is not None
    }


def _key(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key} if key else {}
