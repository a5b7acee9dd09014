"""What the API of `podlake serve` answers, as types. The server and `podlake.client` share them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal


@dataclass(frozen=True)
class NewEpisode:
    """Audio to process, by its URL."""

    url: str
    title: str | None = None
    language: str | None = None
    guid: str | None = None
    date: str | None = None
    """When it was published: 2026-01-31T08:00:00Z."""


@dataclass(frozen=True)
class NewFeed:
    """A feed to subscribe to."""

    url: str
    title: str | None = None
    language: str | None = None
    priority: int = 0
    """Feeds of a higher priority are processed first."""


@dataclass(frozen=True)
class Submitted:
    """What came of an episode or a feed that was submitted."""

    url: str
    id: str | None
    """The episode's or the feed's; None: it was refused."""
    outcome: Literal["added", "present", "forgotten", "refused"]
    reason: str | None = None


@dataclass(frozen=True)
class BulkResult:
    """What came of a list."""

    audio: int
    feeds: int
    duplicates: int
    forgotten: int
    bad: int
    problems: tuple[str, ...]
    """The first bad lines, and why."""


@dataclass(frozen=True)
class ListeningGrant:
    """A token with which one listener hears an episode or a podcast live."""

    token: str
    path: str
    """Of the WebSocket; `?from=` is the time in ms at which to begin."""
    expires_at: datetime


@dataclass(frozen=True)
class EpisodeEntry:
    """An episode in a list."""

    episode_id: str
    feed_id: str
    title: str | None
    published_at: datetime | None
    language: str | None
    duration_ms: int | None
    state: str
    """`done`, `failed: audio`, `next: diarization`, or `removed`."""


@dataclass(frozen=True)
class EpisodeList:
    """A page of episodes, newest first."""

    episodes: tuple[EpisodeEntry, ...]
    next_cursor: str | None
    """For the next page; None: this is the last."""


@dataclass(frozen=True)
class FeedEntry:
    """A feed in a list."""

    feed_id: str
    title: str | None
    language: str | None
    url: str | None
    n_episodes: int
    last_polled_at: datetime | None


@dataclass(frozen=True)
class FeedList:
    """A page of feeds, by id."""

    feeds: tuple[FeedEntry, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class StageStatus:
    """Where an episode stands at a stage, and what its last try did."""

    stage: str
    state: Literal["landed", "failed", "waiting"]
    finished_at: datetime | None = None
    tries: int = 0
    run_id: str | None = None
    engine: str | None = None
    model: str | None = None
    audio_ms: int | None = None
    engine_ms: int | None = None
    rtfx: float | None = None
    worker: str | None = None
    error_class: str | None = None
    message: str | None = None
    retryable: bool | None = None
    next_retry_at: datetime | None = None


@dataclass(frozen=True)
class EpisodeStatus:
    """An episode with all its stages."""

    episode_id: str
    feed_id: str
    title: str | None
    published_at: datetime | None
    language: str | None
    audio_url: str
    state: str
    stages: tuple[StageStatus, ...]


@dataclass(frozen=True)
class SearchHit:
    """A turn that was found."""

    episode_id: str
    title: str
    feed_id: str
    turn_idx: int
    speaker: str | None
    start_ms: int
    snippet: str
    marks: tuple[tuple[int, int], ...]
    """Where the searched words are in the snippet."""
    score: float


@dataclass(frozen=True)
class SearchHits:
    """The best hits, and how many turns match."""

    total: int
    hits: tuple[SearchHit, ...]


@dataclass(frozen=True)
class StageCount:
    """Episodes at a stage. `landed_24h` and `audio_hours_24h` are of the last 24 hours."""

    stage: str
    landed: int
    failed: int
    waiting: int
    landed_24h: int
    audio_hours_24h: float


@dataclass(frozen=True)
class LanguageHours:
    """Hours of transcribed audio in a language."""

    language: str | None
    episodes: int
    audio_hours: float


@dataclass(frozen=True)
class FailureCount:
    """Failures of a class at a stage."""

    stage: str
    error_class: str
    count: int
    retryable: bool


@dataclass(frozen=True)
class WorkerCount:
    """What a worker has done in the last 24 hours. The worker None is this machine's runs."""

    worker: str | None
    landed: int
    audio_hours: float
    engine_hours: float


@dataclass(frozen=True)
class Statistics:
    """The state of the whole lake."""

    at: datetime
    feeds: int
    episodes: int
    done: int
    queue: int
    """Episodes that are neither done nor failed."""
    stages: tuple[StageCount, ...]
    languages: tuple[LanguageHours, ...]
    failures: tuple[FailureCount, ...]
    workers: tuple[WorkerCount, ...]


@dataclass(frozen=True)
class RetryRequest:
    """Which failures to repeat. Empty: all."""

    stages: tuple[str, ...] = ()
    error_classes: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    episodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RetryResult:
    """How many keys failed at each stage, and the backfill that repeats them."""

    failed: dict[str, int]
    backfill_id: str | None
    """None: nothing is ready, or all of it is in work."""


@dataclass(frozen=True)
class Forgotten:
    """What was removed."""

    feeds: int
    episodes: int
    rows: int
    files: int


@dataclass(frozen=True)
class LakeEvent:
    """A landing of a stage, or a try that failed."""

    id: str
    kind: Literal["landed", "failed"]
    stage: str
    key: str
    feed_id: str
    at: datetime
    error_class: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class NewWebhook:
    """An address to tell of events. Empty `kinds` and `stages`: of all."""

    url: str
    kinds: tuple[Literal["landed", "failed"], ...] = ()
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class WebhookEntry:
    """A webhook. The secret is shown only when it is added."""

    webhook_id: str
    url: str
    kinds: tuple[str, ...]
    stages: tuple[str, ...]
    added_at: datetime
    waiting: int
    last_error: str | None
    secret: str | None = None


@dataclass(frozen=True)
class SearchRequest:
    """What to search for: words and "phrases", and filters."""

    q: str
    feed: str | None = None
    speaker: str | None = None
    language: str | None = None
    since: date | None = None
    until: date | None = None
    limit: int = 20


PodcastState = Literal["pending", "processing", "completed", "failed", "cancelled"]


@dataclass(frozen=True)
class NewPodcast:
    """A podcast to make from a script: `[S1] Hello. [S2] Hi!`."""

    script: str
    title: str
    language: str = "en"
    seed: int = 0
    """Another seed gives other samples, where a voice can do that; 0: the voice's own."""


@dataclass(frozen=True)
class PodcastTurn:
    """A turn of a podcast's script."""

    speaker: str
    text: str
    is_said: bool
    """Whether its line exists."""
    start_ms: int | None = None
    """Its place in the finished audio."""
    end_ms: int | None = None


@dataclass(frozen=True)
class Podcast:
    """A requested podcast, and what became of it."""

    podcast_id: str
    user: str
    title: str
    language: str
    state: PodcastState
    requested_at: datetime
    position: int | None = None
    """Place among the pending podcasts of all users, from 1."""
    n_turns: int = 0
    lines_made: int = 0
    """Turns whose lines exist. What runs on other machines say is counted when all lines have landed."""
    attempt: int = 0
    stage: str | None = None
    """The stage that is under way, or has failed."""
    error: str | None = None
    retry_at: datetime | None = None
    duration_ms: int | None = None
    """Of the finished audio."""
    script: str | None = None
    """Only in the answer about one podcast."""
    turns: tuple[PodcastTurn, ...] = ()
    """Only in the answer about one podcast."""


VideoState = Literal["pending", "processing", "completed", "failed", "cancelled"]


@dataclass(frozen=True)
class NewVideo:
    """A video to make of a text."""

    text: str
    title: str = ""
    """Empty: the first words of the text."""
    language: str = "en"
    kind: Literal["auto", "talking_head", "audiogram"] = "auto"
    """auto: a talking head if there are devices, else an audiogram."""
    shape: Literal["square", "vertical", "wide"] = "square"
    """Of an audiogram."""
    video: str | None = None
    """Upload: the person who is to speak."""
    audio: str | None = None
    """Upload: the voice; None: that of the video."""


@dataclass(frozen=True)
class UploadedFile:
    """A stored upload."""

    name: str
    """What a request calls it."""
    size_bytes: int


@dataclass(frozen=True)
class VideoLinks:
    """Where to go on; None: not there yet."""

    status: str
    file: str | None
    speech: str | None


@dataclass(frozen=True)
class VideoTimings:
    """Seconds; None: not known yet."""

    waited_s: float | None
    """For a device."""
    speech_s: float | None
    """To say the text."""
    video_s: float | None
    """To film it, or to draw the audiogram."""
    total_s: float | None
    """From the request to the end of the last run, or until now."""


@dataclass(frozen=True)
class Video:
    """A requested video, and what became of it."""

    video_id: str
    user: str
    title: str
    language: str
    kind: Literal["talking_head", "audiogram"]
    state: VideoState
    requested_at: datetime
    text: str
    links: VideoLinks
    timings: VideoTimings
    kind_reason: str | None = None
    """Why it is an audiogram although the request left that open."""
    position: int | None = None
    """Place among the pending videos of all users, from 1."""
    device: str | None = None
    attempt: int = 0
    stage: str | None = None
    """The stage that is under way, or has failed."""
    error: str | None = None
    retry_at: datetime | None = None
    waits_for: str | None = None
    """Devices that are set aside, and why."""
    duration_ms: int | None = None
    width: int | None = None
    height: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True)
class VideoList:
    """Videos, the newest first."""

    videos: tuple[Video, ...]


@dataclass(frozen=True)
class VideoDevice:
    """A device for talking heads."""

    device: str
    video_id: str | None
    """The request that has it."""
    leased_at: datetime | None
    set_aside_at: datetime | None
    until: datetime | None
    """When it is looked at again; None: when a person brings it back."""
    reason: str | None
    """Why it is set aside."""
    memory_used_bytes: int | None
    """By nvidia-smi; None where there is none on this machine."""
    memory_total_bytes: int | None
    utilization: float | None


@dataclass(frozen=True)
class PodcastList:
    """A page of podcasts, the newest first."""

    podcasts: tuple[Podcast, ...]
    next_cursor: str | None
    """For the next page; None: this is the last."""


@dataclass(frozen=True)
class PodcastVoice:
    """The voice of a speaker."""

    speaker: str
    voice: str
    language: str | None
    """None: for all languages that no other voice of the speaker is for."""


@dataclass(frozen=True)
class PodcastLimits:
    """Who asks, what they may request, and with which voices."""

    user: str
    is_admin: bool
    at_once: int
    open: int
    """Their pending and processing podcasts."""
    per_day: int
    today: int
    """Their requests of this day of UTC."""
    script_characters: int
    """A script has fewer."""
    title_characters: int
    """A title has at most as many."""
    voices: tuple[PodcastVoice, ...]


@dataclass(frozen=True)
class PodcastProblem:
    """Why a script would be refused."""

    field: Literal["script", "title", "language", "seed"]
    code: str
    message: str


@dataclass(frozen=True)
class PodcastUser:
    """A user's podcasts of the last days, by state."""

    user: str
    states: dict[PodcastState, int]


@dataclass(frozen=True)
class PodcastOverview:
    """The podcasts of all users since a moment."""

    since: datetime
    states: dict[PodcastState, int]
    users: tuple[PodcastUser, ...]
    mails: dict[str, int]
    """E-mails by state. `sending` for long: the process was killed while the mail server took it."""


@dataclass(frozen=True)
class PodcastNotification:
    """A podcast that is completed or has failed. The id grows; a client leaves out ids that it has seen."""

    id: int
    podcast_id: str
    title: str
    state: Literal["completed", "failed"]
    at: datetime
    error: str | None = None


LessonState = Literal[
    "pending", "processing", "content_review", "voiceover_review", "rejected", "published", "failed", "cancelled"
]
LessonGate = Literal["content_review", "voiceover_review"]


@dataclass(frozen=True)
class NewReview:
    """What a person decides at a gate of a lesson."""

    decision: Literal["approved", "rejected"]
    note: str | None = None
    """A rejection needs a reason."""
    gate: LessonGate | None = None
    """None: the gate that the lesson has come to."""


@dataclass(frozen=True)
class LessonReview:
    """A decision about a lesson."""

    gate: LessonGate
    decision: Literal["approved", "rejected"]
    decided_by: str
    decided_at: datetime
    note: str | None


@dataclass(frozen=True)
class Lesson:
    """A lesson that is dubbed, and where it is."""

    lesson_id: str
    title: str
    course: str | None
    source_language: str
    target_language: str
    state: LessonState
    """`content_review` and `voiceover_review`: it waits for a person."""
    added_by: str
    added_at: datetime
    stage: str | None
    """The asset that is next, under way, or has failed; at a gate the one to look at."""
    error: str | None
    attempt: int
    has_source: bool
    """Whether `/video?which=source` plays."""
    has_dub: bool
    """Whether `/video?which=dubbed` plays."""
    location: str | None
    """Where it is published."""
    reviews: tuple[LessonReview, ...]


@dataclass(frozen=True)
class LessonList:
    """Lessons, the newest first."""

    lessons: tuple[Lesson, ...]


@dataclass(frozen=True)
class Course:
    """A course. It is available when all its lessons are published."""

    course: str
    n_lessons: int
    n_published: int
    is_available: bool
