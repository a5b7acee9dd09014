"""`turns` uses only the rows that its batch names."""

from __future__ import annotations

from pathlib import Path

from assets.speech.turns import turns
from pipeline.stage import Batch, Failure, Landing
from resources.lake.compaction import seal
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import SEGMENTS, WORDS
from speech.errors import UpstreamMissing
from tests.landings import land

KEY = "show-20260101-00000001"


def transcribe(lake: Lake, run_id: str, sha: str) -> None:
    row = {"word": "Hello", "start_ms": 0, "end_ms": 500, "audio_sha256": sha, "run_id": run_id}
    land(lake, WORDS, KEY, [row], run_id=run_id, audio_sha256=sha)


def diarize(lake: Lake, run_id: str, sha: str) -> None:
    row = {"speaker": "A", "start_ms": 0, "end_ms": 900, "audio_sha256": sha, "run_id": run_id}
    land(lake, SEGMENTS, KEY, [row], run_id=run_id, audio_sha256=sha)


def batch(lake: Lake) -> Batch:
    return Batch((KEY,), {name: lake.runs(name, [KEY]) for name in turns.inputs})


def test_rows_of_the_named_commits_make_turns(tmp_path: Path) -> None:
    lake = Lake(Home.at(str(tmp_path)))
    transcribe(lake, "r1", "a")
    diarize(lake, "r2", "a")
    (outcome,) = turns.work(batch(lake), lake=lake, site_url="http://site.test")
    assert isinstance(outcome, Landing)
    assert outcome.cost.audio_sha256 == "a"


def test_a_transcript_that_lands_between_the_check_and_the_read_is_not_mixed_in(tmp_path: Path) -> None:
    lake = Lake(Home.at(str(tmp_path)))
    transcribe(lake, "r1", "a")
    diarize(lake, "r2", "a")
    before = batch(lake)
    transcribe(lake, "r3", "b")
    (outcome,) = turns.work(before, lake=lake, site_url="http://site.test")
    assert isinstance(outcome, Landing)
    assert (outcome.cost.audio_sha256, len(outcome.rows["turns"])) == ("a", 1)


def test_a_silent_transcript_that_another_landing_has_replaced_is_a_failure(tmp_path: Path) -> None:
    lake = Lake(Home.at(str(tmp_path)))
    land(lake, WORDS, KEY, [], run_id="r1", audio_sha256="a")
    diarize(lake, "r2", "a")
    before = batch(lake)
    assert list(seal(lake, {KEY}))
    assert before.rows(lake, WORDS, KEY) == []
    land(lake, WORDS, KEY, [], run_id="r3", audio_sha256="b")
    (outcome,) = turns.work(before, lake=lake, site_url="http://site.test")
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, UpstreamMissing)


def test_inputs_from_different_bytes_are_refused(tmp_path: Path) -> None:
    lake = Lake(Home.at(str(tmp_path)))
    transcribe(lake, "r1", "a")
    diarize(lake, "r2", "b")
    (outcome,) = turns.work(batch(lake), lake=lake, site_url="http://site.test")
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, UpstreamMissing)
