"""Who is admitted to the live window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from partitions.window import Waiting, Window, admitted

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def waiting(
    key: str, *, feed: str = "a", language: str = "en", days: int | None = 1, hours: float | None = 1.0
) -> Waiting:
    published = None if days is None else NOW - timedelta(days=days)
    return Waiting(key, feed, language, published, None if hours is None else round(hours * 3_600_000))


def who(window: Window, *episodes: Waiting, inside: int = 0, hours_inside: float = 0.0) -> str:
    return "".join(admitted(episodes, window, inside=inside, hours_inside=hours_inside, now=NOW))


def test_the_first_are_admitted_until_the_window_is_full() -> None:
    three = [waiting(key) for key in "xyz"]
    assert who(Window(size=2), *three) == "xy"
    assert who(Window(size=2), *three, inside=1) == "x"
    assert who(Window(size=2), *three, inside=5) == ""


def test_a_full_window_reads_no_further() -> None:
    read = []
    episodes = (read.append(key) or waiting(key) for key in "vwxyz")
    assert list(admitted(episodes, Window(size=1), inside=0, hours_inside=0.0, now=NOW)) == ["v"]
    assert read == ["v", "w"]


def test_feeds_and_languages_and_age_are_rules() -> None:
    assert who(Window(feeds=frozenset("b")), waiting("x"), waiting("y", feed="b")) == "y"
    assert who(Window(languages=frozenset(["de"])), waiting("x"), waiting("y", language="de")) == "y"
    young = Window(max_age=timedelta(days=30))
    assert who(young, waiting("x", days=30), waiting("y", days=31), waiting("z", days=None)) == "xz"


def test_an_episode_that_does_not_fit_into_the_hours_is_passed_over() -> None:
    window = Window(audio_hours=3.0)
    assert who(window, waiting("x", hours=2.0), waiting("y", hours=1.5), waiting("z", hours=1.0)) == "xz"
    assert who(window, waiting("x", hours=2.0), hours_inside=1.5) == ""
    assert who(window, *[waiting(key, hours=None) for key in "vwxyz"]) == "vwx"


def test_a_feed_s_share_is_an_even_part_and_never_nothing() -> None:
    assert Window(size=10, audio_hours=5.0).share(4) == Window(size=2, audio_hours=1.25)
    assert Window(size=10).share(100) == Window(size=1)
    assert Window(size=10).share(0) == Window(size=10)
