"""The ledger of requested videos: what was asked for, by whom, and which attempts have been claimed.

The state of a video is not stored here. It derives from Dagster's runs and from what has landed
(`dagster_project.videos`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

import sqlalchemy as sa

from partitions.keys import episode_key
from resources.database import open_database, writing, writing_alone
from resources.studio.claims import claim
from resources.studio.request_limits import exceeded
from speech.errors import VideoCancelled
from speech.plain_text import is_line, is_text
from speech.talking_head.fish_speech import LANGUAGES

FEED_ID = "video"
"""Keys of videos begin with it."""
LONGEST_TEXT = 5_000
"""Characters: about six minutes of speech."""
SHORTEST_TEXT = 2
LONGEST_TITLE = 200

Kind = Literal["talking_head", "audiogram"]
Wanted = Literal["auto", "talking_head", "audiogram"]

SCHEMA = sa.MetaData()
REQUESTS = sa.Table(
    "video_requests", SCHEMA,
    sa.Column("video_id", sa.String(120), primary_key=True),
    sa.Column("user_id", sa.String(200), nullable=False, index=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("language", sa.String(12), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("kind_reason", sa.Text),
    sa.Column("shape", sa.String(20), nullable=False),
    sa.Column("video_upload", sa.String(120)),
    sa.Column("audio_upload", sa.String(120)),
    sa.Column("admitted_at", sa.Float, nullable=False, index=True),
    sa.Column("cancelled_at", sa.Float),
)  # fmt: skip
CLAIMS = sa.Table(
    "video_attempts", SCHEMA,
    sa.Column("video_id", sa.String(120), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("claimed_at", sa.Float, nullable=False),
)  # fmt: skip


@dataclass(frozen=True)
class VideoLimits:
    """What a user may request."""

    at_once: int = 2
    """Pending or processing requests."""
    per_day: int = 20
    """Requests in a day of UTC, whatever became of them."""


@dataclass(frozen=True)
class AskedVideo:
    """What a user asks for. Uploads are names in the store of uploads."""

    user_id: str
    text: str
    title: str = ""
    language: str = "en"
    wanted: Wanted = "auto"
    shape: str = "square"
    """Of an audiogram."""
    video_upload: str | None = None
    audio_upload: str | None = None


@dataclass(frozen=True)
class VideoRequest:
    """An admitted request."""

    video_id: str
    user_id: str
    title: str
    language: str
    text: str
    kind: Kind
    kind_reason: str | None
    """Why it is an audiogram although the user left that open."""
    shape: str
    video_upload: str | None
    audio_upload: str | None
    admitted_at: datetime
    cancelled_at: datetime | None


@dataclass(frozen=True)
class VideoAnswer:
    """The answer to a request, as HTTP has it: 202 is admitted, the others say why not."""

    status: int
    code: str
    message: str
    video_id: str | None = None
    retry_after_s: int | None = None


class AudiogramRefused(ValueError):
    """No audiogram can be made of a text on this machine: no voice, no font. `code` says which to programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


CheckAudiogram = Callable[[AskedVideo], None]
"""Raises `AudiogramRefused` for what this machine can make no audiogram of."""


class VideoLedger:
    """The requests, in the database that several processes use at once."""

    def __init__(self, url: str | Callable[[], str]) -> None:
        self._url = url
        """A SQLAlchemy URL, or what finds it when the database is needed."""

    @cached_property
    def _engine(self) -> sa.Engine:
        return open_database(self._url if isinstance(self._url, str) else self._url(), SCHEMA)

    def admit(
        self,
        asked: AskedVideo,
        limits: VideoLimits,
        open_of: Callable[[Sequence[VideoRequest]], Collection[str]],
        *,
        has_devices: bool,
        check_audiogram: CheckAudiogram = lambda _: None,
        now: datetime | None = None,
    ) -> VideoAnswer:
        """Admit the request, or say why not. `open_of` tells which of a user's videos are pending or processing.

        Requests of a user are decided one after the other.
        """
        now = now or datetime.now(UTC)
        refused = _refused(asked, has_devices=has_devices)
        if refused is None and _kind(asked, has_devices=has_devices)[0] == "audiogram":
            refused = _refused_audiogram(asked, check_audiogram)
        if refused:
            return refused
        with writing_alone(self._engine, f"videos {asked.user_id}") as connection:
            over = exceeded(
                connection, REQUESTS, asked.user_id, now, name="video", at_once=limits.at_once, per_day=limits.per_day,
                n_open=lambda recent: len(open_of(_requests(connection, recent))),
            )  # fmt: skip
            if over:
                return VideoAnswer(429, over.code, over.message, retry_after_s=over.retry_after_s)
            return VideoAnswer(
                202, "admitted", "The video is queued.", _insert(connection, asked, now, has_devices=has_devices)
            )

    def cancel(self, video_id: str, now: datetime | None = None) -> bool:
        """Note that the video is not wanted any more. Returns whether there is such a request."""
        at = (now or datetime.now(UTC)).timestamp()
        with writing(self._engine) as connection:
            found = connection.execute(
                REQUESTS.update()
                .where(REQUESTS.c.video_id == video_id)
                .values(cancelled_at=sa.func.coalesce(REQUESTS.c.cancelled_at, at))
            )
            return bool(found.rowcount)

    def request(self, video_id: str) -> VideoRequest | None:
        with self._engine.connect() as connection:
            found = _requests(connection, sa.select(REQUESTS).where(REQUESTS.c.video_id == video_id))
        return found[0] if found else None

    def check_wanted(self, video_id: str) -> None:
        """Raise `VideoCancelled` if the user has cancelled the request."""
        request = self.request(video_id)
        if request is not None and request.cancelled_at is not None:
            raise VideoCancelled(f"{video_id} is cancelled.")

    def requests(
        self, user_id: str | None = None, *, since: datetime | None = None, most: int | None = 1_000
    ) -> list[VideoRequest]:
        """The newest requests, the newest first; of one user, or of all. With `most=None`, no number limits them."""
        query = sa.select(REQUESTS).order_by(REQUESTS.c.admitted_at.desc(), REQUESTS.c.video_id).limit(most)
        query = query if user_id is None else query.where(REQUESTS.c.user_id == user_id)
        query = query if since is None else query.where(REQUESTS.c.admitted_at >= since.timestamp())
        with self._engine.connect() as connection:
            return _requests(connection, query)

    def claim(self, video_id: str, attempt: int, now: datetime | None = None) -> bool:
        """Claim an attempt, so that only one process starts its run. A claim without a run expires after two minutes."""
        attempted = {"video_id": video_id, "attempt": attempt}
        return claim(self._engine, CLAIMS, attempted, now or datetime.now(UTC))


def _refused(asked: AskedVideo, *, has_devices: bool) -> VideoAnswer | None:
    """The first rule that the request breaks."""
    text, kind = asked.text.strip(), _kind(asked, has_devices=has_devices)[0]
    needs_device = kind == "talking_head"
    rules = (
        (
            not SHORTEST_TEXT <= len(text) <= LONGEST_TEXT, 400, "bad_text",
            f"A text has {SHORTEST_TEXT} to {LONGEST_TEXT:,} characters; this one has {len(text):,}.",
        ),
        (not is_text(text), 400, "bad_text", "The text has control characters. Save it as plain text in UTF-8."),
        (
            len(asked.title) > LONGEST_TITLE or (asked.title.strip() != "" and not is_line(asked.title)), 400, "bad_title",
            f"A title is one line of at most {LONGEST_TITLE} characters.",
        ),
        (
            needs_device and not has_devices, 409, "no_device",
            "No device for talking heads is set (PODLAKE_HEAD_DEVICES). Ask for an audiogram.",
        ),
        (
            needs_device and asked.video_upload is None, 400, "no_video",
            "A talking head needs a video of the person. Upload one first.",
        ),
        (
            needs_device and asked.language not in LANGUAGES, 400, "language_unsupported",
            f"Voices are cloned in {', '.join(sorted(LANGUAGES))}. Ask for an audiogram.",
        ),
    )  # fmt: skip
    return next((VideoAnswer(status, code, message) for is_broken, status, code, message in rules if is_broken), None)


def _refused_audiogram(asked: AskedVideo, check: CheckAudiogram) -> VideoAnswer | None:
    try:
        check(asked)
    except AudiogramRefused as error:
        return VideoAnswer(400, error.code, str(error))
    return None


def _kind(asked: AskedVideo, *, has_devices: bool) -> tuple[Kind, str | None]:
    """What is made, and why it is that although the user left it open."""
    if asked.wanted != "auto":
        return asked.wanted, None
    if has_devices:
        return "talking_head", None
    return "audiogram", "No device for talking heads is set (PODLAKE_HEAD_DEVICES), and the request left the kind open."


def _insert(connection: sa.Connection, asked: AskedVideo, now: datetime, *, has_devices: bool) -> str:
    """Write the request, and return its key: `video-20261127-1a2b3c4d`."""
    number = connection.execute(sa.select(sa.func.count()).select_from(REQUESTS)).scalar()
    guid = hashlib.sha256(f"{asked!r} {number} {now.timestamp()}".encode()).hexdigest()
    taken = connection.execute(sa.select(REQUESTS.c.video_id).where(REQUESTS.c.admitted_at > now.timestamp() - 90_000))
    video_id = episode_key(FEED_ID, guid, now, set(taken.scalars()))
    kind, reason = _kind(asked, has_devices=has_devices)
    text = asked.text.strip()
    connection.execute(
        REQUESTS.insert().values(
            video_id=video_id, user_id=asked.user_id, title=asked.title.strip() or _first_words(text),
            language=asked.language, text=text, kind=kind, kind_reason=reason, shape=asked.shape,
            video_upload=asked.video_upload, audio_upload=asked.audio_upload, admitted_at=now.timestamp(),
        )
    )  # fmt: skip
    return video_id


def _first_words(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:60].rpartition(' ')[0] or line[:60]} …"


def _requests(connection: sa.Connection, query: sa.Select[Any]) -> list[VideoRequest]:
    return [
        VideoRequest(
            row.video_id, row.user_id, row.title, row.language, row.text, row.kind, row.kind_reason, row.shape,
            row.video_upload, row.audio_upload, datetime.fromtimestamp(row.admitted_at, UTC),
            None if row.cancelled_at is None else datetime.fromtimestamp(row.cancelled_at, UTC),
        )
        for row in connection.execute(query)
    ]  # fmt: skip
