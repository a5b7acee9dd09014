"""What becomes of requested podcasts: states from real runs, retries, claims, and the sensor."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.stages import PODCAST_GRAPH, STAGES
from dagster_project import podcasts
from dagster_project.attempts import ATTEMPT_TAG
from dagster_project.podcasts import (
    PODCAST_TAG,
    Status,
    _claim_now,
    cancel,
    due,
    open_requests,
    requested_podcasts,
    run_tags,
    statuses,
    statuses_in_queue,
)
from partitions.definitions import PODCASTS
from pipeline.records import land_failure
from pipeline.stage import Batch, Failure
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.studio.ledger import Asked, Ledger, Limits
from speech.errors import POLICIES, HttpRefused, NetworkError
from tests.conftest import Storage

LATER = timedelta(minutes=1, seconds=5)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Home.at(str(tmp_path / "home")))


@pytest.fixture
def ledger(storage: Storage, tmp_path: Path) -> Ledger:
    return Ledger(storage["storage"]["postgres"]["postgres_url"] if storage else f"sqlite:///{tmp_path}/service.db")


def request(ledger: Ledger, user: str = "ann") -> str:
    answer = ledger.admit(Asked(user, "[S1] Hello.", "A talk"), Limits(), lambda _: ())
    assert answer.podcast_id is not None
    return answer.podcast_id


def status(instance: dg.DagsterInstance, lake: Lake, ledger: Ledger, podcast: str) -> Status:
    found = ledger.request(podcast)
    assert found is not None
    return statuses(instance, lake, [found])[0]


def begin(instance: dg.DagsterInstance, of: Status) -> dg.DagsterRun:
    """The run of the next attempt, as the sensor requests it; no process has started it."""
    return instance.create_run_for_job(_nothing, tags=run_tags(of))


@dg.job
def _nothing() -> None: ...


def test_states_follow_the_runs(instance: dg.DagsterInstance, lake: Lake, ledger: Ledger) -> None:
    first, second = request(ledger), request(ledger, "bob")
    both = [one for one in map(ledger.request, (first, second)) if one]
    queued = statuses_in_queue(instance, lake, both, both)
    assert [(one.state, one.position) for one in queued] == [("pending", 1), ("pending", 2)]
    assert statuses_in_queue(instance, lake, both[1:], both)[0].position == 2
    (ready, other) = due(instance, lake, ledger)
    assert (ready.request.podcast_id, other.request.podcast_id) == (first, second)
    run = begin(instance, ready)
    assert status(instance, lake, ledger, first).state == "pending"
    instance.report_run_failed(run, "killed")
    failed = status(instance, lake, ledger, first)
    assert (failed.state, failed.attempt, failed.run_id) == ("pending", 1, run.run_id)
    assert failed.retry_at is not None
    assert list(open_requests(instance, lake, both)) == [first, second]


def test_a_failed_attempt_is_followed_by_two_more_a_minute_later(
    instance: dg.DagsterInstance, lake: Lake, ledger: Ledger
) -> None:
    podcast, now = request(ledger), datetime.now(UTC)
    for attempt in (1, 2, 3):
        (ready,) = due(instance, lake, ledger, now)
        run = begin(instance, ready)
        assert run.tags[ATTEMPT_TAG] == str(attempt)
        land_failure(lake, STAGES["speech_lines"], Failure(podcast, NetworkError("no answer")), run.run_id)
        assert due(instance, lake, ledger, now) == []
        instance.report_run_failed(run, "no answer")
        ended = datetime.now(UTC)
        assert due(instance, lake, ledger, ended + timedelta(seconds=50)) == []
        now = ended + LATER
    last = status(instance, lake, ledger, podcast)
    assert (last.state, last.attempt, last.stage, last.error) == ("failed", 3, "speech_lines", "no answer")
    assert due(instance, lake, ledger, now) == []


def test_a_permanent_error_is_not_tried_again(instance: dg.DagsterInstance, lake: Lake, ledger: Ledger) -> None:
    podcast = request(ledger)
    (ready,) = due(instance, lake, ledger)
    run = begin(instance, ready)
    land_failure(lake, STAGES["speech_lines"], Failure(podcast, HttpRefused("no such voice")), run.run_id)
    instance.report_run_failed(run, "no such voice")
    found = status(instance, lake, ledger, podcast)
    assert (found.state, found.error, found.retry_at) == ("failed", "no such voice", None)
    assert due(instance, lake, ledger, datetime.now(UTC) + LATER) == []
    assert not open_requests(instance, lake, [found.request])


def test_a_cancelled_podcast_is_not_started_again(instance: dg.DagsterInstance, lake: Lake, ledger: Ledger) -> None:
    podcast, other = request(ledger), request(ledger, "bob")
    ready = due(instance, lake, ledger)
    run = begin(instance, ready[0])
    assert cancel(instance, lake, ledger, podcast).state == "cancelled"
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.CANCELED
    assert cancel(instance, lake, ledger, other).state == "cancelled"
    assert cancel(instance, lake, ledger, "studio-20260101-00000000") is None
    assert due(instance, lake, ledger, datetime.now(UTC) + LATER * 3) == []


def test_a_podcast_that_is_cancelled_after_its_claim_is_not_made(
    instance: dg.DagsterInstance, lake: Lake, ledger: Ledger
) -> None:
    podcast = request(ledger)
    assert len(due(instance, lake, ledger)) == 1
    assert cancel(instance, lake, ledger, podcast).state == "cancelled"
    for stage, more in (("script", ()), ("podcast_audio", (lake, None, None)), ("stream_package", (lake, None))):
        (outcome,) = STAGES[stage].work(Batch((podcast,), {}), *more, ledger)
        assert outcome.error_class == "cancelled"
        assert not POLICIES[outcome.error_class].retryable


def test_a_process_that_waited_with_its_list_makes_nothing_twice(
    instance: dg.DagsterInstance, lake: Lake, ledger: Ledger
) -> None:
    podcast, wanted = request(ledger), request(ledger, "bob")
    listed = [status(instance, lake, ledger, one) for one in (podcast, wanted)]
    (run, _) = [begin(instance, one) for one in due(instance, lake, ledger)]
    ledger.cancel(wanted)
    instance.report_run_failed(run, "killed")
    after_the_claims = datetime.now(UTC) + timedelta(minutes=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(podcasts, "datetime", _Clock(after_the_claims))
        assert [_claim_now(instance, lake, ledger, one) for one in listed] == [False, False]
        assert _claim_now(instance, lake, ledger, status(instance, lake, ledger, podcast))


class _Clock(datetime):
    """`now` is a later moment."""

    def __new__(cls, at: datetime) -> Any:
        return type("Clock", (datetime,), {"now": classmethod(lambda _, zone: at)})


def test_a_run_has_a_limit_and_no_retries_of_dagster(instance: dg.DagsterInstance, lake: Lake, ledger: Ledger) -> None:
    podcast = request(ledger)
    (ready,) = due(instance, lake, ledger)
    tags = run_tags(ready)
    assert tags["dagster/max_runtime"] == "1800"
    assert tags["dagster/max_retries"] == "0"
    assert int(tags["dagster/priority"]) > 50, "it does not wait for lessons and batches"
    assert (tags[PODCAST_TAG], tags["podlake/keys"], tags[ATTEMPT_TAG]) == (podcast, podcast, "1")


def test_two_who_look_at_once_start_one_run(instance: dg.DagsterInstance, lake: Lake, ledger: Ledger) -> None:
    request(ledger)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: due(instance, lake, ledger), range(6)))
    assert sorted(map(len, found)) == [0, 0, 0, 0, 0, 1]


def test_the_sensor_makes_partitions_and_runs(instance: dg.DagsterInstance, lake: Lake, ledger: Ledger) -> None:
    def tick() -> dg.SensorResult | dg.SkipReason:
        context = dg.build_sensor_context(instance=instance)
        return requested_podcasts(context, lake=lake, ledger=ledger)

    assert isinstance(tick(), dg.SkipReason)
    podcast = request(ledger)
    result = tick()
    assert isinstance(result, dg.SensorResult)
    (run_request,) = result.run_requests
    assert run_request.run_key == f"{podcast}:1"
    assert [key.to_user_string() for key in run_request.asset_selection] == list(PODCAST_GRAPH.names)
    assert instance.get_dynamic_partitions(PODCASTS.name) == [podcast]
    assert isinstance(tick(), dg.SkipReason)
