"""What is shown of a recording in work."""

from __future__ import annotations

import pytest

from resources.engines.progress import at_work, begin, end, text_of


@pytest.mark.parametrize(
    ("done_ms", "audio_ms", "elapsed_s", "text"),
    [
        (0, 2_100_000, 5.0, "0:00 of 35:00"),
        (750_000, 2_100_000, 75.0, "12:30 of 35:00, 10.0× real time, 2:15 left"),
        (2_100_000, 2_100_000, 75.0, "35:00 of 35:00, 28.0× real time, 0:00 left"),
        (1_000, 2_000, 0.0, "0:01 of 0:02"),
    ],
)
def test_speed_and_remaining_time_follow_from_what_is_done(
    done_ms: int, audio_ms: int, elapsed_s: float, text: str
) -> None:
    assert text_of(done_ms, audio_ms, elapsed_s) == text


def test_progress_never_goes_back_and_ends_with_the_work() -> None:
    one = begin("show-1", "transcriber", 60_000)
    one.report(30_000)
    one.report(20_000)
    assert [(found.episode_id, found.done_ms) for found in at_work()] == [("show-1", 30_000)]
    end(one)
    end(one)
    assert at_work() == []
