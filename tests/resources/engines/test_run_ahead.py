"""How far an iterator runs ahead, and how it ends: told by the order of events, never by time."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from queue import Queue

import pytest

from resources.engines import run_ahead as run_ahead_module
from resources.engines.run_ahead import run_ahead

AT_MOST_S = 30
"""For what must happen: reached only by a test that fails."""


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


class Counting:
    """Counts up, and tells the test in which order."""

    def __init__(self, end: int = 1000) -> None:
        self.began: Queue[int] = Queue()
        self.ended = threading.Event()
        self._end = end

    def __call__(self) -> Generator[int]:
        try:
            for number in range(self._end):
                self.began.put(number)
                yield number
        finally:
            self.ended.set()

    def wait_until(self, number: int) -> None:
        while self.began.get(timeout=AT_MOST_S) != number:
            pass


def test_everything_arrives_in_its_order() -> None:
    assert list(run_ahead(Counting(100)(), name="count", most=3)) == list(range(100))


def test_the_next_items_are_made_while_the_consumer_holds_one() -> None:
    counting = Counting()
    items = run_ahead(counting(), name="count", most=3)
    assert next(items) == 0
    counting.wait_until(4)  # 1, 2 and 3 wait, and 4 wants in
    assert counting.began.empty()
    assert next(items) == 1
    counting.wait_until(5)
    assert counting.began.empty()
    items.close()


def test_what_waits_is_bounded_in_bytes_but_a_large_item_waits_alone() -> None:
    counting = Counting()
    items = run_ahead(counting(), name="count", most=100, most_bytes=10, size_of=lambda number: number)
    assert next(items) == 0
    counting.wait_until(5)  # 1 + 2 + 3 + 4 wait: 10 bytes
    assert counting.began.empty()
    assert [next(items) for _ in range(14)] == list(range(1, 15))
    counting.wait_until(16)  # 15 waits though it is more than 10
    assert counting.began.empty()
    items.close()


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Generator[str]:
        yield "first"
        yield "second"
        raise LookupError("no third")

    seen: list[str] = []
    with pytest.raises(LookupError, match="no third"):
        seen.extend(run_ahead(items(), name="count", most=1))
    assert seen == ["first", "second"]


def test_a_consumer_that_goes_away_ends_the_items_at_their_next_yield() -> None:
    counting = Counting()
    items = run_ahead(counting(), name="count", most=2)
    assert next(items) == 0
    counting.wait_until(3)
    items.close()
    assert counting.ended.is_set()
    assert counting.began.empty()


@pytest.mark.parametrize("is_nested", [False, True])
def test_an_interrupt_that_closes_it_does_not_wait_for_a_long_item(
    monkeypatch: pytest.MonkeyPatch, is_nested: bool
) -> None:
    monkeypatch.setattr(run_ahead_module, "PATIENCE_S", 0.05)
    goes_on, ended = threading.Event(), threading.Event()

    def items() -> Generator[int]:
        try:
            yield 0
            goes_on.wait(AT_MOST_S)
            yield 1
        finally:
            ended.set()

    def outer() -> Generator[int]:
        with closing(run_ahead(items(), name="long", most=1)) as coming:
            yield from coming

    def interrupted() -> None:
        with closing(outer() if is_nested else run_ahead(items(), name="long", most=1)) as coming:
            assert next(coming) == 0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not ended.is_set()
    goes_on.set()
    for thread in [one for one in threading.enumerate() if one.name == "long"]:
        thread.join(AT_MOST_S)


def test_what_nobody_begins_starts_no_thread() -> None:
    counting = Counting()
    run_ahead(counting(), name="count", most=2).close()
    assert counting.began.empty()
