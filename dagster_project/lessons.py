"""Lessons that are dubbed: where each one is, and which runs are due. The ledger has the lessons, Dagster the runs.

A lesson goes through phases, which the gates divide: its file is probed, a person approves the content, it is dubbed, a
person approves the dub, it is published. Each phase is one run of its stages. No run of a phase is requested before its
gate has been decided, and a rejected lesson goes no further. A run that fails is followed by another one, twice at
most, unless the error is permanent; it goes on at the first stage that has not landed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import dagster as dg

from assets.stages import LESSON_GRAPH, STAGES
from dagster_project.attempts import (
    MAX_RETRIES_TAG,
    attempt_tags,
    end_runs,
    is_due,
    runs_of,
    state_of_runs,
)
from dagster_project.in_process import materialize
from partitions.definitions import LESSONS, add_keys
from pipeline.lake_state import newest_commits
from pipeline.records import land_failure
from pipeline.run_keys import key_tags
from pipeline.run_process import fail_orphaned_runs
from pipeline.stage import Failure
from resources.lake.commits import Commit, inputs_version
from resources.lake.lake import Lake
from resources.studio.lessons import Gate, Lesson, LessonLedger, Review
from speech.errors import BadLesson, LessonCancelled

log = logging.getLogger("podlake")

LESSON_TAG = "podlake/lesson"
PHASE_TAG = "podlake/phase"
RUN_LIMIT = timedelta(hours=12)
SENSOR_SECONDS = 10

GATES: tuple[Gate, ...] = get_args(Gate)
SUBJECTS: dict[Gate, str] = {"content_review": "lesson_video", "voiceover_review": "dubbed_video"}
"""Gate → what a person looks at."""

State = Literal[
    "pending", "processing", "content_review", "voiceover_review", "rejected", "published", "failed", "cancelled"
]
"""`content_review` and `voiceover_review`: the lesson waits for a person."""
OPEN: frozenset[State] = frozenset({"pending", "processing"})


def _phases() -> tuple[tuple[str, ...], ...]:
    """The stages of each phase: those after no gate, after the first, after the second."""
    n_gates = {
        name: sum(gate in {name, *LESSON_GRAPH.all_inputs(name)} for gate in GATES) for name in LESSON_GRAPH.names
    }
    return tuple(tuple(name for name in LESSON_GRAPH.names if n_gates[name] == n) for n in range(len(GATES) + 1))


PHASES = tuple(phase for phase in _phases() if phase)


@dataclass(frozen=True)
class Status:
    """Where a lesson is."""

    lesson: Lesson
    state: State
    stage: str | None = None
    """The stage that is next, under way, or has failed."""
    attempt: int = 0
    error: str | None = None
    retry_at: datetime | None = None
    run_id: str | None = None
    review: Review | None = None
    """The decision that opened or closed the last gate it came to."""
    todo: tuple[str, ...] = ()
    """The stages of the phase that have to run."""
    phase: str = ""
    """Names the phase, the decision at its gate and the restart: attempts are counted for it."""


def statuses(instance: dg.DagsterInstance, lake: Lake, ledger: LessonLedger, lessons: Sequence[Lesson]) -> list[Status]:
    """The status of each lesson, in their order. It is derived: decisions, Dagster's runs, and what has landed."""
    keys = [one.lesson_id for one in lessons]
    commits, reviews = newest_commits(lake, LESSON_GRAPH.names, keys), ledger.reviews_of(keys)
    runs, landed_reviews = runs_of(instance, LESSON_TAG, keys), _landed_reviews(lake, sorted(reviews))
    return [
        _status(lake, commits, landed_reviews, one, reviews.get(one.lesson_id, []), runs.get(one.lesson_id, []))
        for one in lessons
    ]


def status(instance: dg.DagsterInstance, lake: Lake, ledger: LessonLedger, lesson_id: str) -> Status:
    """Raises `BadLesson` if there is no such lesson."""
    lesson = ledger.lesson(lesson_id)
    if lesson is None:
        raise BadLesson(f"There is no lesson {lesson_id}. `podlake lesson list` shows them.")
    return statuses(instance, lake, ledger, [lesson])[0]


def due(instance: dg.DagsterInstance, lake: Lake, ledger: LessonLedger, now: datetime | None = None) -> list[Status]:
    """The lessons whose next run is due now, the earliest first. Whoever starts it claims it first."""
    now = now or datetime.now(UTC)
    waiting = [one for one in reversed(ledger.lessons(most=None)) if not one.cancelled_at]
    return [
        one for one in statuses(instance, lake, ledger, waiting) if is_due(one.state, one.run_id, one.retry_at, now)
    ]


def claimed(ledger: LessonLedger, one: Status) -> bool:
    """Claim the lesson's next attempt. False: another process has done so."""
    return ledger.claim(one.lesson.lesson_id, one.phase, one.attempt + 1)


def run_tags(status: Status) -> dict[str, str]:
    """The tags of the run that does the next attempt. Dagster itself does not repeat it."""
    tags = attempt_tags(LESSON_TAG, status.lesson.lesson_id, status.attempt + 1, RUN_LIMIT)
    return {**tags, PHASE_TAG: status.phase}


def run_due(instance: dg.DagsterInstance, lake: Lake, ledger: LessonLedger) -> list[str]:
    """Do what is due in this process, one lesson after the other, until each waits for a person. Returns their keys.

    It looks again before each run: the one before may have taken hours.
    """
    fail_orphaned_runs(instance)
    done, of_others = list[str](), set[tuple[str, str, int]]()
    while True:
        ready = [one for one in due(instance, lake, ledger) if _attempt(one) not in of_others]
        if not ready:
            return list(dict.fromkeys(done))
        one = ready[0]
        lesson_id = one.lesson.lesson_id
        if not claimed(ledger, one):
            of_others.add(_attempt(one))
            continue
        add_keys(instance, LESSONS, [lesson_id])
        log.info("%s: %s", lesson_id, " → ".join(one.todo))
        materialize(instance, one.todo, run_tags(one))
        done.append(lesson_id)


def _attempt(one: Status) -> tuple[str, str, int]:
    return one.lesson.lesson_id, one.phase, one.attempt


def decide(
    instance: dg.DagsterInstance, lake: Lake, ledger: LessonLedger, lesson_id: str, *,
    is_approved: bool, by: str, note: str | None, gate: Gate | None = None,
) -> Review:  # fmt: skip
    """Open or close the gate that the lesson has come to, or the one that is named. It replaces an earlier decision.

    Raises `BadLesson` where the lesson has not come to the gate.
    """
    found = status(instance, lake, ledger, lesson_id)
    at = gate or (found.state if found.state in GATES else found.review.gate if found.review else None)
    landed = lake.current(SUBJECTS[at], [lesson_id]).get(lesson_id) if at else None
    if at is None or landed is None:
        raise BadLesson(f"{lesson_id} is {found.state}: there is nothing to review yet.")
    return ledger.decide(
        lesson_id, at, is_approved=is_approved, by=by, note=note, subject_version=landed.data_version
    )  # fmt: skip


def land_decision(instance: dg.DagsterInstance, lesson_id: str, gate: Gate) -> None:
    """Land the decision in a run in this process, so that Dagster shows it at once."""
    add_keys(instance, LESSONS, [lesson_id])
    materialize(instance, gate, {**key_tags([lesson_id]), MAX_RETRIES_TAG: "0"})


def retry(
    instance: dg.DagsterInstance, lake: Lake, ledger: LessonLedger, lesson_id: str, stage: str | None = None
) -> Status:  # fmt: skip
    """Begin to count the attempts anew, at this stage or at the first one that is missing.

    Raises `BadLesson` if there is no such lesson, or if it is processed or cancelled.
    """
    found = status(instance, lake, ledger, lesson_id)
    if found.state == "processing":
        raise BadLesson(f"{lesson_id} is processed at the moment, at {found.stage}. Try again when the run has ended.")
    if found.state == "cancelled":
        raise BadLesson(f"{lesson_id} was cancelled. Add the video again.")
    ledger.restart(lesson_id, stage)
    return status(instance, lake, ledger, lesson_id)


def cancel(instance: dg.DagsterInstance, lake: Lake, ledger: LessonLedger, lesson_id: str) -> Status:
    """Stop dubbing the lesson. A published one stays. Raises `BadLesson` if there is no such lesson.

    The cancellation is a failure of the last stage too: the view `courses` does not count the lesson any more.
    """
    found = status(instance, lake, ledger, lesson_id)
    if found.state != "published":
        ledger.cancel(lesson_id)
        end_runs(instance, runs_of(instance, LESSON_TAG, [lesson_id]).get(lesson_id, []), "The lesson was cancelled.")
        cancelled = Failure(lesson_id, LessonCancelled(f"{lesson_id} is cancelled, so that it is not published."))
        land_failure(lake, STAGES[LESSON_GRAPH.names[-1]], cancelled, run_id="")
    return status(instance, lake, ledger, lesson_id)


@dg.sensor(
    minimum_interval_seconds=SENSOR_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    asset_selection=dg.AssetSelection.assets(*LESSON_GRAPH.names),
)
def requested_lessons(
    context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake], lesson_ledger: dg.ResourceParam[LessonLedger]
) -> dg.SensorResult | dg.SkipReason:
    """Makes partitions of lessons, and runs that dub them as far as the gates are open."""
    ready = [one for one in due(context.instance, lake, lesson_ledger) if claimed(lesson_ledger, one)]
    if not ready:
        return dg.SkipReason("No lesson is due.")
    add_keys(context.instance, LESSONS, [one.lesson.lesson_id for one in ready])
    return dg.SensorResult(
        [
            dg.RunRequest(
                f"{one.lesson.lesson_id}:{one.phase}:{one.attempt + 1}",
                asset_selection=[dg.AssetKey(name) for name in one.todo],
                tags=run_tags(one),
            )
            for one in ready
        ]
    )


def _status(
    lake: Lake,
    commits: Mapping[str, Mapping[str, Commit]],
    landed_reviews: Mapping[str, Mapping[str, int]],
    lesson: Lesson,
    decisions: Sequence[Review],
    all_runs: Sequence[dg.RunRecord],
) -> Status:
    key = lesson.lesson_id
    landed = {name: commits[name][key] for name in LESSON_GRAPH.names if key in commits.get(name, {})}
    reviews = {one.gate: one for one in decisions}
    last: Review | None = None
    for number, stages in enumerate(PHASES):
        gate = next((one for one in GATES if one in stages), None)
        review = reviews.get(gate) if gate else None
        if gate is not None:
            subject = landed[SUBJECTS[gate]].data_version
            review = review if review and review.subject_version == subject else None
            if review is None:
                return Status(lesson, "cancelled" if lesson.cancelled_at else gate, SUBJECTS[gate], review=last)
            last = review
        since = _since(review, decisions) if review else 0
        phase = f"{number}.{since}.{lesson.restarts}"
        wanted = stages if review is None or review.is_approved else stages[:1]
        runs = [run for run in all_runs if run.dagster_run.tags.get(PHASE_TAG) == phase]
        review_no = landed_reviews[gate].get(key) if gate else None
        todo = _todo(lesson, wanted, landed, review, review_no, since, is_restart=bool(lesson.restarts and not runs))
        if todo:
            return _of_runs(lake, Status(lesson, "pending", todo[0], review=last, todo=todo, phase=phase), runs)
        if review is not None and not review.is_approved:
            return Status(lesson, "cancelled" if lesson.cancelled_at else "rejected", gate, review=review)
    return Status(lesson, "published", review=last)


def _since(review: Review, decisions: Sequence[Review]) -> int:
    """The number of the decision that opened the gate: further approvals of the same begin no new run."""
    since = review.review_no
    for one in reversed(decisions):
        if one.gate == review.gate and review.is_approved:
            if (one.is_approved, one.subject_version) != (True, review.subject_version):
                break
            since = one.review_no
    return since


def _todo(
    lesson: Lesson, stages: Sequence[str], landed: dict[str, Commit], review: Review | None, landed_review: int | None,
    since: int, *,
    is_restart: bool,
) -> tuple[str, ...]:  # fmt: skip
    """The first stage that has not landed from the inputs as they are now, and all stages after it.

    `landed_review` is the number of the decision that the gate has landed.
    """
    for index, name in enumerate(stages):
        inputs = STAGES[name].inputs
        is_current = name in landed and all(one in landed for one in inputs) and (
            landed[name].inputs_version == inputs_version({one: landed[one].data_version for one in inputs})
        )  # fmt: skip
        if is_current and review is not None and name == review.gate:
            is_current = since <= (landed_review or 0) <= review.review_no
        if not is_current or (is_restart and name == lesson.restart_from):
            return tuple(stages[index:])
    return ()


def _landed_reviews(lake: Lake, lesson_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Gate → lesson → the number of the decision that it has landed."""
    landed = {gate: lake.read_many(STAGES[gate].tables[0], lesson_ids) for gate in GATES}
    return {gate: {key: rows["review_no"][0].as_py() for key, rows in found.items()} for gate, found in landed.items()}


def _of_runs(lake: Lake, found: Status, runs: Sequence[dg.RunRecord]) -> Status:
    """What the runs of the phase say: pending, under way, failed."""
    lesson = found.lesson
    of_runs = state_of_runs(lake, found.todo, lesson.lesson_id, runs, is_cancelled=lesson.cancelled_at is not None)
    return replace(
        found, state=of_runs.state, stage=of_runs.stage or found.stage, attempt=of_runs.attempt, error=of_runs.error,
        retry_at=of_runs.retry_at, run_id=of_runs.run_id,
    )  # fmt: skip
