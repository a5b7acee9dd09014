"""Which batches `podlake run` starts."""

from __future__ import annotations

from dagster_project.batch_loop import startable
from pipeline.planner import Batch


def batch(stage: str, n_keys: int) -> Batch:
    return Batch(stage, tuple(f"episode-{n}" for n in range(n_keys)), "new")


def test_audio_is_downloaded_before_what_no_engine_waits_for() -> None:
    ready = [batch("publisher_transcript", 100), batch("audio", 10), batch("audio", 30)]
    assert list(startable(ready, [], 0)) == [batch("audio", 30)]
    assert list(startable(ready, [batch("audio", 5)], 0)) == []


def test_the_largest_batches_of_other_stages_come_first() -> None:
    ready = [batch("turns", 3), batch("hashes", 8), batch("diarization", 4), batch("transcript", 6)]
    assert list(startable(ready, [], 0)) == [batch("hashes", 8), batch("transcript", 6), batch("diarization", 4)]
    assert list(startable(ready, [batch("hashes", 1), batch("transcript", 1)], 1)) == [batch("diarization", 4)]
