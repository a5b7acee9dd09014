"""An iterator that runs ahead of its consumer: in a thread of its own, and only as far as there is room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from threading import Condition, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")

PATIENCE_S = 10.0
"""How long a consumer that was interrupted (Ctrl-C, a cancelled run) waits for the item under way."""


def run_ahead(
    items: Generator[Item],
    *,
    name: str,
    most: int,
    most_bytes: int | None = None,
    size_of: Callable[[Item], int] = lambda _: 0,
) -> Generator[Item]:
    """The items in their order, made in the thread `name` while the consumer is busy with earlier ones.

    At most `most` items wait for the consumer, and none is put beside others that make it more than `most_bytes`
    by `size_of`. What the items raise is raised here, in its place. When the consumer closes this, the items end
    at their next yield, and that is waited for. The thread runs all of the generator `items`, its closing included.
    """
    room = _Room[Item](most, most_bytes, size_of)
    thread = Thread(target=_make, args=(items, room), name=name, daemon=True)
    thread.start()
    patience_s: float | None = None
    try:
        yield from room
    except BaseException as error:
        if not isinstance(error, (Exception, GeneratorExit)):
            patience_s = PATIENCE_S
        raise
    finally:
        room.close()
        thread.join(patience_s)


class _Room(Generic[Item]):
    """Where items wait between the two threads."""

    def __init__(self, most: int, most_bytes: int | None, size_of: Callable[[Item], int]) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._size_of = size_of
        self._waiting: deque[Item] = deque()
        self._changed = Condition()
        self._is_closed = False
        self._is_over = False
        self._error: BaseException | None = None

    def put(self, item: Item) -> bool:
        """Wait until the item fits. Returns False where nobody wants it any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._fits(item))
            self._waiting.append(item)
            self._changed.notify_all()
            return not self._is_closed

    def end(self, error: BaseException | None = None) -> None:
        """There will be no more items: that is all, or the error is why."""
        with self._changed:
            self._is_over, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """No more items are wanted."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_over)
                if not self._waiting:
                    break
                item = self._waiting.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def _fits(self, item: Item) -> bool:
        if not self._waiting:
            return True
        held_bytes = sum(map(self._size_of, (*self._waiting, item)))
        return len(self._waiting) < self._most and (self._most_bytes is None or held_bytes <= self._most_bytes)


def _make(items: Generator[Item], room: _Room[Item]) -> None:
    try:
        for item in items:
            if not room.put(item):
                break
        items.close()
    except BaseException as error:  # noqa: BLE001 – the consumer raises it
        room.end(error)
    else:
        room.end()
