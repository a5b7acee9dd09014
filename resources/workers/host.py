"""Runs engines on workers: a run queues its recordings as jobs and lands the results that come back."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from threading import Thread

from resources.engines.routing import Audio, Done
from resources.engines.run_ahead import PATIENCE_S
from resources.workers.jobs import MOST_TRIES, FinishedJob, JobQueue, Work
from resources.workers.outcomes import done_from_json
from speech.engines.protocols import EngineChoice, EngineSpec, Slot
from speech.errors import BadOutput, EngineCrashed, EngineUnavailable

log = logging.getLogger("podlake")

POLL_S = 0.5
KEEP_ALIVE_S = 20.0
SEEN_WITHIN = timedelta(minutes=2)
"""A worker that was seen in this time is connected."""
WAIT_S = 3600.0
"""The step fails if no worker is connected for so long."""
READ_AHEAD = 512
"""Jobs of a run that wait for a worker or are at one."""
LOCAL_OPTIONS = frozenset({"python"})
"""Options that name things of this machine. A worker has its own."""


@dataclass(frozen=True)
class WorkerHost:
    """Waits for workers. It needs no GPU and loads no engine."""

    database_url: str
    poll_s: float = POLL_S

    def preload(self, slot: Slot, choice: EngineChoice, spec: EngineSpec) -> None:
        """Nothing: workers keep the engines of their last jobs."""

    def run(self, slot: Slot, choice: EngineChoice, spec: EngineSpec, audio: Iterable[Audio]) -> Generator[Done]:
        """Each episode exactly once, in any order. Raises `EngineUnavailable`.

        An outcome is removed from the queue after it has landed, so that a run that is killed before finds it again.
        """
        portable = {name: value for name, value in choice.options.items() if name not in LOCAL_OPTIONS}
        asked = EngineChoice(choice.name, choice.model, portable)
        with closing(_Submission(JobQueue.at(self.database_url), slot, asked, spec, audio)) as submission:
            while not submission.is_over:
                finished = submission.finished()
                for job, one in finished:
                    yield _done(job, slot, one, spec)
                    submission.queue.remove([job.job_id])
                    submission.keep_alive(is_answered=True)  # the landings of many results take long
                submission.keep_alive(is_answered=bool(finished))
                if not finished:
                    time.sleep(self.poll_s)


class _Submission:
    """The jobs of one batch. A thread queues them as their audio becomes available."""

    def __init__(
        self, queue: JobQueue, slot: Slot, choice: EngineChoice, spec: EngineSpec, audio: Iterable[Audio]
    ) -> None:
        self.queue = queue
        self._id = secrets.token_hex(8)
        self._slot, self._choice, self._spec = slot, choice, spec
        self._waiting: dict[str, Audio] = {}
        self._is_queued, self._is_closed = False, False
        self._error: Exception | None = None
        self._kept_alive_at = self._connected_at = time.monotonic()
        self._thread = Thread(target=self._queue_all, args=(audio,), name="jobs", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether every job has been answered. Raises the error that ended the audio."""
        is_queued = self._is_queued  # read first: it is set after the error
        if self._error is not None:
            raise self._error
        return is_queued and not self._waiting

    def finished(self) -> list[tuple[FinishedJob, Audio]]:
        """The jobs that are over since the last call."""
        found, missing = self.queue.finished(list(self._waiting))
        for job_id in missing:  # another run had the same work, and has ended
            self._submit(self._waiting.pop(job_id))
        return [(job, self._waiting.pop(job.job_id)) for job in found]

    def keep_alive(self, *, is_answered: bool) -> None:
        """Tell the queue that the run waits. Raises `EngineUnavailable` if no worker was connected for long."""
        now = time.monotonic()
        if is_answered:
            self._connected_at = now
        if now - self._kept_alive_at < KEEP_ALIVE_S:
            return
        self._kept_alive_at = now
        self.queue.keep_alive(list(self._waiting))
        if self.queue.workers(SEEN_WITHIN):
            self._connected_at = now
            return
        alone_s = now - self._connected_at
        log.warning("%d jobs wait, and no worker is connected: podlake worker --server URL", len(self._waiting))
        if alone_s > WAIT_S:
            raise EngineUnavailable(
                f"No worker has been connected for {alone_s / 60:.0f} minutes. Start one on a machine with a GPU: "
                "podlake worker --server URL. Or run engines here: PODLAKE_ENGINE_HOST=local."
            )

    def close(self) -> None:
        """End the thread. Jobs without an outcome leave the queue."""
        self._is_closed = True
        self._thread.join(PATIENCE_S)
        self.queue.withdraw(self._id)

    def _queue_all(self, audio: Iterable[Audio]) -> None:
        try:
            for one in audio:
                while len(self._waiting) >= READ_AHEAD and not self._is_closed:
                    time.sleep(POLL_S)
                if self._is_closed:
                    return
                self._submit(one)
        except Exception as error:  # noqa: BLE001 - the run raises it
            self._error = error
        self._is_queued = True

    def _submit(self, one: Audio) -> None:
        work = Work(self._slot, self._choice, self._spec.fingerprint, one.episode_id, one.audio_sha256, one.language)
        [job_id] = self.queue.submit(self._id, [work])
        self._waiting[job_id] = one


def _done(job: FinishedJob, slot: Slot, audio: Audio, spec: EngineSpec) -> Done:
    """The gateway has checked the outcome before it took it. It is checked again, as the database is shared."""
    if job.outcome is None:
        error = EngineCrashed(
            f"{audio.episode_id}: {MOST_TRIES} workers in a row went silent with this episode, the last was {job.worker}."
        )
        return Done(audio, None, error, spec)
    try:
        return done_from_json(job.outcome, slot, audio, spec, job.worker or "unknown")
    except BadOutput as error:
        return Done(audio, None, error, spec)
