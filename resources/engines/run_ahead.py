"""Runs an iterator in a thread, a bounded number of items ahead of its consumer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from threading import Condition, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")

PATIENCE_S = 3.0
"""How long a consumer that was interrupted (Ctrl-C, a cancelled run) waits for the current item."""


def run_ahead(
    items: Generator[Item],
    *,
    name: str,
    most: int,
    most_bytes: int | None = None,
    size_of: Callable[[Item], int] = lambda _: 0,
) -> Generator[Item]:
    """The items in their order, made in the thread `name` while the consumer is busy with earlier ones.

    At most `most` items wait for the consumer, and together no more than `most_bytes` by `size_of`, unless one item
    alone is larger. An error of the items is raised here, after the items before it. When the consumer closes this,
    the items end at their next yield, and this waits for it. The thread also closes the generator `items`.
    """
    buffer = _Buffer[Item](most, most_bytes, size_of)
    thread = Thread(target=_produce, args=(items, buffer), name=name, daemon=True)
    thread.start()
    patience_s: float | None = None
    try:
        yield from buffer
    except BaseException as error:
        if _is_interrupted(error):
            patience_s = PATIENCE_S
        raise
    finally:
        buffer.close()
        thread.join(patience_s)


class _Buffer(Generic[Item]):
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
        """Wait until the item fits. Returns False if the consumer has closed the iterator."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._fits(item))
            self._waiting.append(item)
            self._changed.notify_all()
            return not self._is_closed

    def end(self, error: BaseException | None = None) -> None:
        """Mark the end of the items, or the error that ended them."""
        with self._changed:
            self._is_over, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """Called by the consumer when it needs no more items."""
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


def _is_interrupted(error: BaseException | None) -> bool:
    """Whether this is an interrupt, or the end of a generator that an interrupt has closed."""
    while isinstance(error, GeneratorExit):
        error = error.__context__
    return error is not None and not isinstance(error, Exception)


def _produce(items: Generator[Item], buffer: _Buffer[Item]) -> None:
    try:
        for item in items:
            if not buffer.put(item):
                break
        items.close()
    except BaseException as error:  # noqa: BLE001 – the consumer raises it
        buffer.end(error)
    else:
        buffer.end()
