"""Where lessons are: gates, states from real runs, retries, and the sensor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from assets.lake.sealed_tables import REQUESTED_NAMES
from assets.stages import LESSON_GRAPH, STAGES
from dagster_project.cli import main
from dagster_project.definitions import build
from dagster_project.lessons import (
    GATES,
    PHASE_TAG,
    PHASES,
    Status,
    cancel,
    claimed,
    decide,
    due,
    requested_lessons,
    retry,
    run_due,
    run_tags,
    status,
)
from dagster_project.settings import ROOT, Settings
from partitions.definitions import LESSONS, add_keys
from pipeline.records import Run, land_failure
from pipeline.stage import Failure, Landing
from resources.lake.compaction import open_before, seal
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables.lessons import CONTENT_REVIEWS
from resources.lake.tables.lessons import LESSONS as LESSON_TABLE
from resources.lake.warehouse import ask, connect
from resources.studio.lesson_files import LessonFiles
from resources.studio.lessons import LessonLedger, NewLesson
from speech.errors import BadLesson, NetworkError
from tests.instances import instance_for_test
from tests.landings import land_outcome, land_stage
from tests.lessons import publish
from tests.videos import tone, write_video

LATER = timedelta(minutes=1, seconds=5)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with instance_for_test() as instance:
        yield instance


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path / "home"), database_url=f"sqlite:///{tmp_path}/service.db")


@pytest.fixture
def lake(settings: Settings) -> Lake:
    return Lake(Home.at(settings.home))


@pytest.fixture
def ledger(tmp_path: Path) -> LessonLedger:
    return LessonLedger(f"sqlite:///{tmp_path}/service.db")


def add(ledger: LessonLedger, lake: Lake, tmp_path: Path, course: str | None = None) -> str:
    """A lesson with a video of half a second."""
    new = NewLesson("Mitosis", "en", "es", "ann", course)
    key = ledger.new_key(new)
    files = LessonFiles(lake.home, tmp_path / "cache")
    uri = files.add(key, "source.mp4", write_video(tmp_path / "a.mp4", tone(0.5)))
    return ledger.add(key, new, uri).lesson_id


def materialize(
    instance: dg.DagsterInstance, settings: Settings, stages: tuple[str, ...], key: str, *, checks: bool = False
) -> dg.ExecuteInProcessResult:
    """A run of the stages, as a user starts one in the UI; with the checks of gates, if wanted."""
    add_keys(instance, LESSONS, [key])
    selection = dg.AssetSelection.assets(*stages) - dg.AssetSelection.checks_for_assets(*stages)
    if checks:
        gates = [dg.AssetCheckKey(dg.AssetKey(name), f"{name}_is_open") for name in stages if name in GATES]
        selection = selection | dg.AssetSelection.checks(*gates)
    job = dg.define_asset_job("chosen", selection)
    definitions = dg.Definitions.merge(_built(settings.home, settings.database_url), dg.Definitions(jobs=[job]))
    return definitions.resolve_job_def("chosen").execute_in_process(
        instance=instance, partition_key=key, raise_on_error=False
    )


@cache
def _built(home: str, database_url: str) -> dg.Definitions:
    return build(Settings(home=home, database_url=database_url))


def begin(instance: dg.DagsterInstance, of: Status) -> dg.DagsterRun:
    """The run of the next attempt, as the sensor requests it; no process has started it."""
    return instance.create_run_for_job(_nothing, tags=run_tags(of))


@dg.job
def _nothing() -> None: ...


def test_gates_divide_the_graph_into_phases() -> None:
    assert [name for phase in PHASES for name in phase] == list(LESSON_GRAPH.names)
    assert PHASES[0] == ("lesson_video",)
    assert [phase[0] for phase in PHASES[1:]] == [gate for gate in GATES if gate in LESSON_GRAPH.names]


def test_nothing_runs_before_the_gate_is_open(
    instance: dg.DagsterInstance, settings: Settings, lake: Lake, ledger: LessonLedger, tmp_path: Path
) -> None:
    key = add(ledger, lake, tmp_path)
    (ready,) = due(instance, lake, ledger)
    assert (ready.state, ready.todo) == ("pending", ("lesson_video",))
    assert materialize(instance, settings, ready.todo, key).success
    (row,) = lake.rows(LESSON_TABLE, key)
    assert (row.title, row.video_codec, row.width, row.episode_id) == ("Mitosis", "h264", 160, None)
    assert row.duration_ms == pytest.approx(500, abs=60)
    waiting = status(instance, lake, ledger, key)
    assert (waiting.state, waiting.stage) == ("content_review", "lesson_video")
    assert due(instance, lake, ledger) == []

    refused = materialize(instance, settings, ("content_review",), key)
    assert not refused.success
    failure = lake.failures("content_review", [key])[key]
    assert (failure.error_class, failure.retryable) == ("not_reviewed", False)
    assert f"`podlake review approve {key} --by NAME`" in failure.message

    decide(instance, lake, ledger, key, is_approved=False, by="Ann", note="The microphone hums.")
    (ready,) = due(instance, lake, ledger)
    assert ready.todo == ("content_review",)
    blocked = materialize(instance, settings, ready.todo, key, checks=True)
    assert [one.passed for one in blocked.get_asset_check_evaluations()] == [False]
    assert not blocked.success
    rejected = status(instance, lake, ledger, key)
    assert (rejected.state, rejected.error) == ("rejected", None)
    assert rejected.review is not None
    assert rejected.review.note == "The microphone hums."
    assert due(instance, lake, ledger) == []
    event = instance.get_latest_materialization_event(dg.AssetKey("content_review"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["decision"].value == "rejected"
    assert _check(instance) == (False, "ERROR", True)

    decide(instance, lake, ledger, key, is_approved=True, by="Bob", note=None, gate="content_review")
    ready = status(instance, lake, ledger, key)
    assert (ready.state, ready.todo[0]) == ("pending", "content_review")
    result = materialize(instance, settings, ("content_review",), key, checks=True)
    assert result.success
    assert _check(instance) == (True, "ERROR", True)
    (decided,) = lake.rows(CONTENT_REVIEWS, key)
    assert (decided.is_approved, decided.decided_by, decided.review_no) == (True, "Bob", 2)


def _check(instance: dg.DagsterInstance) -> tuple[bool, str, bool | None]:
    key = dg.AssetCheckKey(dg.AssetKey("content_review"), "content_review_is_open")
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.event is not None
    evaluation = record.event.dagster_event.asset_check_evaluation_data
    return evaluation.passed, evaluation.severity.value, evaluation.blocking


def test_a_decision_holds_for_what_was_reviewed(
    instance: dg.DagsterInstance, settings: Settings, lake: Lake, ledger: LessonLedger, tmp_path: Path
) -> None:
    key = add(ledger, lake, tmp_path)
    with pytest.raises(BadLesson, match="nothing to review yet"):
        decide(instance, lake, ledger, key, is_approved=True, by="Ann", note=None)
    assert materialize(instance, settings, ("lesson_video",), key).success
    decide(instance, lake, ledger, key, is_approved=True, by="Ann", note=None)
    assert materialize(instance, settings, ("content_review",), key).success
    (row,) = lake.rows(LESSON_TABLE, key)
    land_outcome(
        lake, STAGES["lesson_video"], Landing(key, {"lessons": [{**_values(row), "title": "Meiosis"}]}),
        Run("other", "other", datetime.now(UTC), 1),
    )  # fmt: skip
    assert status(instance, lake, ledger, key).state == "content_review"
    assert due(instance, lake, ledger) == []


def test_a_lesson_that_is_sealed_while_it_waits_goes_on(
    instance: dg.DagsterInstance, settings: Settings, lake: Lake, ledger: LessonLedger, tmp_path: Path
) -> None:
    key = add(ledger, lake, tmp_path)

    def sealed() -> Status:
        list(seal(lake, open_before(lake, REQUESTED_NAMES, datetime.now(UTC))))
        assert open_before(lake, REQUESTED_NAMES, datetime.now(UTC)) == set()
        return status(instance, lake, ledger, key)

    assert materialize(instance, settings, ("lesson_video",), key).success
    assert sealed().state == "content_review"
    decide(instance, lake, ledger, key, is_approved=True, by="Ann", note=None)
    (ready,) = due(instance, lake, ledger)
    assert ready.todo[0] == "content_review"
    assert materialize(instance, settings, ("content_review",), key).success
    assert (sealed().state, sealed().todo[0]) == ("pending", "lesson_transcript")
    decide(instance, lake, ledger, key, is_approved=False, by="Bob", note="It hums.", gate="content_review")
    assert status(instance, lake, ledger, key).todo == ("content_review",)
    assert materialize(instance, settings, ("content_review",), key).success
    assert (status(instance, lake, ledger, key).state, sealed().state) == ("rejected", "rejected")
    assert [row.is_approved for row in lake.rows(CONTENT_REVIEWS, key)] == [False]


def test_a_second_approval_of_the_same_begins_no_second_run(
    instance: dg.DagsterInstance, settings: Settings, lake: Lake, ledger: LessonLedger, tmp_path: Path
) -> None:
    key = add(ledger, lake, tmp_path)
    assert materialize(instance, settings, ("lesson_video",), key).success
    decide(instance, lake, ledger, key, is_approved=True, by="Ann", note=None)
    (ready,) = due(instance, lake, ledger)
    run = begin(instance, ready)
    decide(instance, lake, ledger, key, is_approved=True, by="Bob", note="Me too.", gate="content_review")
    current = status(instance, lake, ledger, key)
    assert (current.phase, current.run_id) == (ready.phase, run.run_id)
    assert due(instance, lake, ledger) == []
    assert [one.decided_by for one in ledger.reviews(key)] == ["Ann", "Bob"]
    decide(instance, lake, ledger, key, is_approved=False, by="Eve", note="No.", gate="content_review")
    (ready,) = due(instance, lake, ledger)
    assert (ready.phase, ready.todo) == ("1.3.0", ("content_review",))
    assert materialize(instance, settings, ready.todo, key).success
    decide(instance, lake, ledger, key, is_approved=True, by="Bob", note=None)
    (ready,) = due(instance, lake, ledger)
    assert (ready.phase, ready.todo[0]) == ("1.4.0", "content_review")


def test_a_lesson_that_is_processed_or_cancelled_is_not_tried_again(
    instance: dg.DagsterInstance, lake: Lake, ledger: LessonLedger, tmp_path: Path
) -> None:
    key = add(ledger, lake, tmp_path)
    (ready,) = due(instance, lake, ledger)
    run = begin(instance, ready)
    started = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name=run.job_name)
    instance.report_dagster_event(started, run.run_id)
    with pytest.raises(BadLesson, match="is processed at the moment, at lesson_video"):
        retry(instance, lake, ledger, key)
    cancel(instance, lake, ledger, key)
    with pytest.raises(BadLesson, match=f"{key} was cancelled"):
        retry(instance, lake, ledger, key)


def _values(row: object) -> dict[str, object]:
    return {name: getattr(row, name) for name in type(row).__dataclass_fields__}


def test_failed_runs_are_tried_three_times_and_a_restart_counts_anew(
    instance: dg.DagsterInstance, lake: Lake, ledger: LessonLedger, tmp_path: Path
) -> None:
    key, now = add(ledger, lake, tmp_path), datetime.now(UTC)
    for attempt in (1, 2, 3):
        (ready,) = due(instance, lake, ledger, now)
        run = begin(instance, ready)
        assert (ready.attempt + 1, run.tags[PHASE_TAG]) == (attempt, "0.0.0")
        land_failure(lake, STAGES["lesson_video"], Failure(key, NetworkError("no answer")), run.run_id)
        assert due(instance, lake, ledger, now) == []
        instance.report_run_failed(run, "no answer")
        assert due(instance, lake, ledger, datetime.now(UTC) + timedelta(seconds=50)) == []
        now = datetime.now(UTC) + LATER
    last = status(instance, lake, ledger, key)
    assert (last.state, last.attempt, last.stage, last.error) == ("failed", 3, "lesson_video", "no answer")
    ledger.restart(key, None)
    (ready,) = due(instance, lake, ledger, now)
    assert (ready.attempt, ready.phase) == (0, "0.0.1")


def test_a_cancelled_lesson_is_not_started_again(
    instance: dg.DagsterInstance, lake: Lake, ledger: LessonLedger, tmp_path: Path
) -> None:
    key = add(ledger, lake, tmp_path)
    (ready,) = due(instance, lake, ledger)
    run = begin(instance, ready)
    assert cancel(instance, lake, ledger, key).state == "cancelled"
    canceled = instance.get_run_by_id(run.run_id)
    assert canceled is not None
    assert canceled.status is dg.DagsterRunStatus.CANCELED
    assert due(instance, lake, ledger, datetime.now(UTC) + LATER) == []


def test_a_cancelled_lesson_does_not_keep_its_course_unavailable(
    instance: dg.DagsterInstance, settings: Settings, lake: Lake, ledger: LessonLedger, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def said() -> str:
        command = ["lesson", "list", "--course", "biology", "--newest", "1"]
        return CliRunner().invoke(main, command).output.splitlines()[-1]

    monkeypatch.setenv("DAGSTER_HOME", "")  # put back after what the command sets
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.setenv("PODLAKE_HOME", settings.home)
    monkeypatch.setenv("PODLAKE_DATABASE_URL", settings.database_url)
    dubbed, other = (add(ledger, lake, tmp_path, course="biology") for _ in range(2))
    row = {"course": "biology", "target_language": "es"}
    publish(lake, ledger, dubbed, {"lessons": [row]})
    land_stage(lake, "lesson_video", other, {"lessons": [row]})
    assert (_courses(lake), said()) == ([("biology", 2, 1, False)], "The course biology is not available yet.")

    assert cancel(instance, lake, ledger, other).state == "cancelled"
    assert (_courses(lake), said()) == ([("biology", 1, 1, True)], "The course biology is available.")
    first = ledger.lesson(other)
    assert cancel(instance, lake, ledger, other).state == "cancelled"
    assert ledger.lesson(other) == first

    again = add(ledger, lake, tmp_path, course="biology")  # the user asks for it after all
    assert [one.lesson.lesson_id for one in due(instance, lake, ledger)] == [again]


def _courses(lake: Lake) -> list[tuple[object, ...]]:
    with connect(lake.home) as connection:
        return ask(connection, "select course, n_lessons, n_published, is_available from courses")


@pytest.mark.parametrize("stage", ["lesson_video", "content_review"])
def test_a_run_that_begins_after_the_cancellation_ends_at_once(
    instance: dg.DagsterInstance, settings: Settings, lake: Lake, ledger: LessonLedger, tmp_path: Path, stage: str
) -> None:
    key = add(ledger, lake, tmp_path)
    if stage == "content_review":
        assert materialize(instance, settings, ("lesson_video",), key).success
    ledger.cancel(key)
    assert not materialize(instance, settings, (stage,), key).success
    assert lake.failures(stage, [key])[key].error_class == "lesson_cancelled"


def test_the_sensor_requests_the_stages_of_the_phase(
    instance: dg.DagsterInstance, lake: Lake, ledger: LessonLedger, tmp_path: Path
) -> None:
    def tick() -> dg.SensorResult | dg.SkipReason:
        return requested_lessons(dg.build_sensor_context(instance=instance), lake=lake, lesson_ledger=ledger)

    assert isinstance(tick(), dg.SkipReason)
    key = add(ledger, lake, tmp_path)
    result = tick()
    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests
    assert (request.run_key, request.tags["podlake/keys"]) == (f"{key}:0.0.0:1", key)
    assert [one.to_user_string() for one in request.asset_selection] == ["lesson_video"]
    assert instance.get_dynamic_partitions(LESSONS.name) == [key]
    assert isinstance(tick(), dg.SkipReason)


def test_the_command_line_adds_and_refuses(tmp_path: Path) -> None:
    write_video(tmp_path / "talk.mp4", tone(0.5))
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    lines = f"""
import sys
from dagster_project.cli import main
for arguments in (
    ["lesson", "add", "{tmp_path}/talk.mp4", "--title", "A", "--source", "en", "--target", "es", "--course", "one"],
    ["lesson", "add", "nothing.mp4", "--title", "A", "--source", "en", "--target", "es"],
    ["lesson", "add", "{tmp_path}/talk.mp4", "--title", "A", "--source", "en", "--target", "english"],
    ["lesson", "list", "--course", "one"],
    ["review", "approve", "lesson-20260101-00000000", "--by", "Ann"],
):
    try:
        main(arguments, standalone_mode=False)
    except Exception as error:
        print("refused:", getattr(error, "message", error))
"""
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=ROOT, text=True, check=True, capture_output=True,
        env={**environment, "PODLAKE_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    added, missing, same, listed, course, unknown = done.stdout.splitlines()
    assert added.startswith("lesson-")
    assert missing == "refused: nothing.mp4 is neither a file nor an episode. `podlake list` shows the feeds."
    assert same == "refused: The lesson is in en already. Choose another target language."
    assert listed.split()[:4] == [added.split()[0], "pending", "en→es", "one"]
    assert course == "The course one is not available yet."
    assert unknown.startswith("refused: There is no lesson lesson-20260101-00000000.")


def test_what_another_process_has_claimed_is_left_to_it(
    instance: dg.DagsterInstance, lake: Lake, ledger: LessonLedger, tmp_path: Path
) -> None:
    add(ledger, lake, tmp_path)
    (ready,) = due(instance, lake, ledger)
    assert [claimed(ledger, ready), claimed(ledger, ready)] == [True, False]
    assert run_due(instance, lake, ledger) == []
