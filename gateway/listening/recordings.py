"""What can be listened to: a header, clusters from a time on, and the words that are spoken meanwhile."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from speech.opus_stream import PART_MS
from speech.webm import CLUSTER_MS, Cluster

PART_CLUSTERS = PART_MS // CLUSTER_MS
_PARTS_KEPT = 6
"""Parts in memory, 40 kB each: listeners who are at about the same time share them."""
_FIRST_CLUSTERS = 10
"""What is there before the first cluster is sent, in two parts if one has less."""
_PASSAGE_WORDS = 60

Word = tuple[str, int, int]
"""Text, start and end in ms."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Words of a turn: all of it, or a part of a long one."""

    turn_idx: int
    speaker: str | None
    words: tuple[Word, ...]

    @property
    def start_ms(self) -> int:
        return self.words[0][1]

    @property
    def end_ms(self) -> int:
        return max(word[2] for word in self.words)


class Recording(Protocol):
    """An episode, or a podcast that is made or being made. Several listeners share it."""

    @property
    def key(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def language(self) -> str | None: ...
    @property
    def duration_ms(self) -> int | None: ...
    @property
    def is_live(self) -> bool:
        """Whether it is still being made."""
        ...

    @property
    def passages(self) -> Sequence[Passage]:
        """In the order of their times. Those of a cluster are there before it."""
        ...

    def clusters(self, from_ms: int) -> AsyncIterator[Cluster]:
        """The clusters from this time on, as they are there. Raises `StreamFailed`."""
        ...


class ReadPart(Protocol):
    """Gives the clusters of a part; fewer than others have at the end. Urgent parts are for players that have begun."""

    def __call__(self, index: int, *, is_urgent: bool) -> Awaitable[list[Cluster]]: ...


@dataclass
class LandedRecording:
    """A recording that is complete."""

    key: str
    title: str
    language: str | None
    duration_ms: int | None
    passages: Sequence[Passage]
    read_part: ReadPart
    hurry: Callable[[int], None] = lambda _index: None
    """Tells that a part which is being read is urgent by now."""
    is_live: bool = False
    _parts: OrderedDict[int, asyncio.Future[list[Cluster]]] = field(default_factory=OrderedDict)

    async def clusters(self, from_ms: int) -> AsyncIterator[Cluster]:
        index, skipped = divmod(from_ms // CLUSTER_MS, PART_CLUSTERS)
        is_first = True
        while True:
            part = await asyncio.shield(self._part(index, is_urgent=not is_first))
            is_last = len(part) < PART_CLUSTERS
            if not is_last:
                following = self._part(index + 1, is_urgent=True)
                if is_first and len(part) - skipped < _FIRST_CLUSTERS:
                    await asyncio.shield(following)  # a player that has begun must not run out
            for cluster in part[skipped:]:
                yield cluster
            if is_last:
                return
            index, skipped, is_first = index + 1, 0, False

    def _part(self, index: int, *, is_urgent: bool) -> asyncio.Future[list[Cluster]]:
        """Read once for all who need it at about this time: they wait with a shield, so that one who leaves does not end it."""
        reading = self._parts.get(index)
        if reading is None or (reading.done() and reading.exception()):
            reading = self._parts[index] = asyncio.ensure_future(self.read_part(index, is_urgent=is_urgent))
            reading.add_done_callback(lambda done: done.cancelled() or done.exception())
            while len(self._parts) > _PARTS_KEPT:
                self._parts.popitem(last=False)
        elif is_urgent:
            self.hurry(index)
        self._parts.move_to_end(index)
        return reading


def passages_of(words: Iterable[tuple[int, str | None, str, int, int]]) -> Iterator[Passage]:
    """Passages of words: `turn_idx, speaker, text, start_ms, end_ms` each, in order."""
    for (turn_idx, speaker), rows in groupby(words, key=lambda row: row[:2]):
        own: list[Word] = [(text, start_ms, end_ms) for _, _, text, start_ms, end_ms in rows]
        for at in range(0, len(own), _PASSAGE_WORDS):
            yield Passage(turn_idx, speaker, tuple(own[at : at + _PASSAGE_WORDS]))
