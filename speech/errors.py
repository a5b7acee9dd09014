"""Every way an episode can fail, as a type, and one table that says what is done about each.

An error is raised where it is known. The batch contract handles it: the class decides whether and when the work is
tried again; the message says what happened, to what, and what to do.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Policy:
    """What is done about a class of errors."""

    retryable: bool
    """Whether the same work can succeed later without a change."""
    tries_in_step: int = 1
    """Tries inside one run, with exponential backoff and jitter between them."""
    first_wait_s: float = 0.0
    """Wait before the second try inside a run; doubles from there."""
    max_attempts: int = 1
    """Runs that fail on the episode before it is set aside for a person."""
    next_try_after_h: float = 0.0
    """Hours until automation tries again; doubles with every attempt."""

    def next_retry_at(self, attempts: int, now: datetime) -> datetime | None:
        """When to retry after so many attempts; None: not automatically."""
        if not self.retryable or attempts >= self.max_attempts:
            return None
        return now + timedelta(hours=self.next_try_after_h * 2 ** (attempts - 1))


class PodlakeError(Exception):
    """Base of the errors that belong to one feed or one episode."""

    error_class = "bug"
    retry_after_s: float | None = None
    """What the server asked for (Retry-After), if it did."""


class NotFound(PodlakeError):
    """The server has no such document (404, 410)."""

    error_class = "http_not_found"


class Gone(NotFound):
    """The server says that the document is gone for good (410)."""


class HttpRefused(PodlakeError):
    """The server refuses: any other 4xx."""

    error_class = "http_4xx"


class AddressRefused(HttpRefused):
    """podlake does not connect to the host: its address is not a public one."""

    error_class = "address_refused"


class HttpServerError(PodlakeError):
    """The server failed: 5xx."""

    error_class = "http_5xx"


class RateLimited(PodlakeError):
    """429, or 503 with Retry-After."""

    error_class = "http_429"

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class HostPaused(RateLimited):
    """The host was not asked, because it has asked for a pause. It counts as no attempt."""


class NetworkError(PodlakeError):
    """The connection could not be made, timed out (also 408), or broke before the end."""

    error_class = "network"


class TooLarge(PodlakeError):
    """More bytes than the configured limit."""

    error_class = "too_large"


class NotAFeed(PodlakeError):
    """The document is no podcast feed."""

    error_class = "not_a_feed"


class BadTranscript(PodlakeError):
    """The publisher's transcript or chapters are not in a format that podlake reads."""

    error_class = "bad_transcript"


class NotAudio(PodlakeError):
    """The bytes hold no audio stream: an HTML page, an empty file, a video without sound."""

    error_class = "not_audio"


class Undecodable(PodlakeError):
    """The bytes are audio, but too much of it cannot be decoded to be called the episode."""

    error_class = "decode"


class LanguageWithoutEngine(PodlakeError):
    """No transcriber is configured for the episode's language."""

    error_class = "lang_unsupported"


class OutOfMemory(PodlakeError):
    """The device's memory did not suffice, even for the smallest batch."""

    error_class = "oom"


class BadOutput(PodlakeError):
    """The engine gave NaN, nothing where there is speech, or rows that would make later stages wrong."""

    error_class = "bad_output"


class EngineCrashed(PodlakeError):
    """The engine's process exited while it worked."""

    error_class = "engine_crash"


class VoiceUnavailable(PodlakeError):
    """The voice of a speaker cannot be loaded: not installed, no file, no server named."""

    error_class = "voice_unavailable"


class BadScript(PodlakeError):
    """There is no such script, or it is against a rule."""

    error_class = "bad_script"


class BadLesson(PodlakeError):
    """There is no such lesson, or it cannot be dubbed: its format, its limits, no speech."""

    error_class = "bad_lesson"


class NotReviewed(PodlakeError):
    """A person has not opened the gate of a lesson, or has closed it."""

    error_class = "not_reviewed"


class LineTooLong(PodlakeError):
    """A translated line does not fit into its time, also shortened and as fast as it may be."""

    error_class = "line_too_long"


class PublishRefused(PodlakeError):
    """The service refuses the video for good: no money, or the processing was aborted."""

    error_class = "publish_refused"


class PodcastCancelled(PodlakeError):
    """The user does not want the podcast any more."""

    error_class = "cancelled"


class LessonCancelled(PodlakeError):
    """The user does not want the lesson any more."""

    error_class = "lesson_cancelled"


class BadReference(PodlakeError):
    """The recording or video of a person cannot be used: too little speech, no picture."""

    error_class = "bad_reference"


class VideoCancelled(PodlakeError):
    """The user does not want the video any more."""

    error_class = "video_cancelled"


class DeviceBusy(PodlakeError):
    """A device for talking heads is busy with what podlake has not asked for, or none is left."""

    error_class = "device_busy"


class HeadServiceFailed(PodlakeError):
    """A server for talking heads answers with an error, or has lost the task."""

    error_class = "head_service"


class DeviceTimeout(PodlakeError):
    """A device for talking heads has not finished a video in time."""

    error_class = "device_timeout"


class LeaseLost(PodlakeError):
    """The device of a request has been given to another attempt, because this one did not renew its lease."""

    error_class = "lease_lost"


class UpstreamMissing(PodlakeError):
    """A table that this stage reads has no rows for the episode, or rows made from other bytes."""

    error_class = "upstream_missing"


class StorageError(PodlakeError):
    """The lake or the audio store could not be read or written: disk full, permission, object store."""

    error_class = "storage"


class AudioRemoved(StorageError):
    """The audio is no longer kept: retention, or a user, has removed the file. The planner fetches it again."""

    error_class = "audio_removed"


class DiskShort(StorageError):
    """Free disk space is below the limit, so nothing is downloaded. It counts as no attempt."""


class KeepsCrashing(PodlakeError):
    """A run ended while it worked on the episode."""

    error_class = "keeps_crashing"


class GpuServerUnavailable(PodlakeError):
    """The GPU server that a service runs on could not be made ready."""

    error_class = "gpu_server"


class EngineUnavailable(Exception):
    """What is configured cannot load: not installed, no weights, the wrong class of model.

    Not a `PodlakeError`: it belongs to no episode, and fails the step as a whole.
    """


class EngineFailed(Exception):
    """An unexpected error of an engine, and the episode that it worked on.

    Not a `PodlakeError`: the engine starts again for the other episodes of the batch.
    """

    def __init__(self, episode_id: str, cause: Exception) -> None:
        super().__init__(f"{episode_id}: {cause}")
        self.episode_id = episode_id
        self.cause = cause


_SOON = Policy(retryable=True, tries_in_step=3, first_wait_s=1.0, max_attempts=6, next_try_after_h=1.0)

POLICIES: dict[str, Policy] = {
    NotFound.error_class: Policy(retryable=False),
    HttpRefused.error_class: Policy(retryable=False),
    AddressRefused.error_class: Policy(retryable=False),
    HttpServerError.error_class: _SOON,
    RateLimited.error_class: _SOON,
    NetworkError.error_class: _SOON,
    TooLarge.error_class: Policy(retryable=False),
    NotAFeed.error_class: Policy(retryable=False),
    BadTranscript.error_class: Policy(retryable=False),
    NotAudio.error_class: Policy(retryable=False),
    Undecodable.error_class: Policy(retryable=False),
    LanguageWithoutEngine.error_class: Policy(retryable=False),
    OutOfMemory.error_class: Policy(  # idle engines have given their memory back by the next try
        retryable=True, tries_in_step=3, first_wait_s=2.0, max_attempts=3, next_try_after_h=6.0
    ),
    BadOutput.error_class: Policy(retryable=True, tries_in_step=1, max_attempts=2, next_try_after_h=24.0),
    EngineCrashed.error_class: Policy(retryable=True, tries_in_step=2, max_attempts=3, next_try_after_h=1.0),
    VoiceUnavailable.error_class: Policy(retryable=False),
    BadScript.error_class: Policy(retryable=False),
    BadLesson.error_class: Policy(retryable=False),
    NotReviewed.error_class: Policy(retryable=False),
    LineTooLong.error_class: Policy(retryable=False),
    PublishRefused.error_class: Policy(retryable=False),
    PodcastCancelled.error_class: Policy(retryable=False),
    LessonCancelled.error_class: Policy(retryable=False),
    BadReference.error_class: Policy(retryable=False),
    VideoCancelled.error_class: Policy(retryable=False),
    DeviceBusy.error_class: Policy(retryable=True, tries_in_step=1, max_attempts=1_000, next_try_after_h=1.0),
    HeadServiceFailed.error_class: Policy(retryable=True, tries_in_step=1, max_attempts=3, next_try_after_h=1.0),
    DeviceTimeout.error_class: Policy(retryable=True, tries_in_step=1, max_attempts=3, next_try_after_h=1.0),
    LeaseLost.error_class: Policy(retryable=True, tries_in_step=1, max_attempts=3, next_try_after_h=1.0),
    UpstreamMissing.error_class: Policy(retryable=True, tries_in_step=1, max_attempts=6, next_try_after_h=1.0),
    AudioRemoved.error_class: Policy(retryable=False),
    StorageError.error_class: Policy(
        retryable=True, tries_in_step=2, first_wait_s=1.0, max_attempts=6, next_try_after_h=1.0
    ),
    KeepsCrashing.error_class: Policy(retryable=True, max_attempts=3),
    GpuServerUnavailable.error_class: Policy(retryable=True, max_attempts=6, next_try_after_h=0.5),
    PodlakeError.error_class: Policy(retryable=True, tries_in_step=1, max_attempts=3, next_try_after_h=1.0),
}
"""Class of error → what is done about it. `bug` is every unexpected exception: three runs may fail on it."""

LONGEST_WAIT_S = 60.0
"""A server that asks for a longer wait is left to a later run."""


def policy_of(error_class: str) -> Policy:
    return POLICIES.get(error_class, POLICIES[PodlakeError.error_class])


def retry_wait_s(error: Exception, attempt: int) -> float | None:
    """Seconds until the next try in this run, with exponential backoff and jitter; None: no further try."""
    policy = policy_of(error.error_class if isinstance(error, PodlakeError) else PodlakeError.error_class)
    if not policy.retryable or attempt >= policy.tries_in_step:
        return None
    asked_s = error.retry_after_s if isinstance(error, PodlakeError) else None
    backoff_s = policy.first_wait_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
    wait_s = max(asked_s or 0.0, backoff_s)
    return wait_s if wait_s <= LONGEST_WAIT_S else None
