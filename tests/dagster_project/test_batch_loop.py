"""Which batches `podlake run` starts."""

from __future__ import annotations

from dagster_project.batch_loop import startable
from pipeline.planner import Batch


def batch(stage: str, n_keys: int) -> Batch:
    return Batch(stage, tuple(f"episode-{n}" for n in range(n_keys)), "new")


def test_audio_is_downloaded_first_while_the_engines_have_nothing_to_do() -> None:
    ready = [batch("publisher_transcript", 100), batch("audio", 10), batch("audio", 30)]
    assert list(startable(ready, [], 0)) == [batch("audio", 30)]
    assert list(startable(ready, [batch("audio", 5)], 0)) == []


def test_other_downloads_have_their_turn_while_an_engine_works() -> None:
    """Else they would wait for the last audio of all, and no episode would be complete before."""
    ready = [batch("publisher_transcript", 100), batch("audio", 30)]
    assert list(startable(ready, [batch("transcript", 4)], 0)) == [batch("publisher_transcript", 100)]
    assert list(startable([*ready, batch("diarization", 4)], [], 0)) == [
        batch("publisher_transcript", 100),
        batch("diarization", 4),
    ]


def test_the_largest_batches_of_other_stages_come_first() -> None:
    ready = [batch("turns", 3), batch("hashes", 8), batch("diarization", 4), batch("transcript", 6)]
    assert list(startable(ready, [], 0)) == [batch("hashes", 8), batch("transcript", 6), batch("diarization", 4)]
    assert list(startable(ready, [batch("hashes", 1), batch("transcript", 1)], 1)) == [batch("diarization", 4)]
