"""The state of the whole lake in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
