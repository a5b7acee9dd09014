"""Finds stretches of audio that occur more than once in recordings, by their fingerprints.

An inverted index: two recordings are compared only where the same word occurs in both. Each occurrence of a word is
paired with the next few only, so that the work grows with the audio and not with its square.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from speech.fingerprints import ITEM_MS, REACH_MS

SKETCH_SIZE = 128
"""Words that stand for a recording in an index of many."""

_WORD_GAP = 6
"""A word is the upper halves of two items that are so far apart: 10 % of the words of a copy are equal at the worst
alignment, 29 % at the mean one, 86 % of an aligned one. Two different stretches of speech share less than 2e-7."""
_PAIRED = 8
"""Later occurrences of a word that an occurrence is paired with."""
_SLICE = 1 << 24
"""Words that are sorted at once, about: bounds memory."""
_SAME_PLACE = 80
"""Hits on one diagonal this near, 10 s, are one candidate."""
_MIN_HITS = 2
_NEAR = round(30_000 / ITEM_MS)
"""A recording's own repeats are at least 30 s apart."""
_SMOOTHED = 17
_MAX_BIT_ERRORS = 0.27
"""Mean share of unequal bits in 2 s: 0.10 at the worst alignment; 0.47 between different recordings."""
_LATE_MS = 400
"""How much later than the audio the first matching item is, on average."""
MIN_ITEMS = round(3_000 / ITEM_MS)


@dataclass(frozen=True, slots=True)
class Match:
    """The same audio at two places, in items. `other` is a later recording, or a later place of the same one."""

    first: int
    other: int
    start: int
    other_start: int
    n_items: int
    similarity: float
    """Share of equal bits."""


def words_of(items: np.ndarray) -> np.ndarray:
    """A word for each item but the last ones. Its value is 0 where nothing changes: silence, steady tones."""
    if len(items) <= _WORD_GAP:
        return np.zeros(0, np.uint32)
    first, then = items[:-_WORD_GAP], items[_WORD_GAP:]
    words = (first & np.uint32(0xFFFF0000)) | (then >> np.uint32(16))
    steady = np.zeros(len(words), bool)
    steady[1:] = words[1:] == words[:-1]
    # Few changes in the words around are the noise of silence.
    return np.where(steady | ((first >> np.uint32(16)) == (then >> np.uint32(16))), np.uint32(0), words)


def sketch_of(items: np.ndarray) -> np.ndarray:
    """The words with the smallest hashes: recordings with the same audio have some in common."""
    words = np.unique(words_of(items))
    words = words[words != 0]
    hashes = _mixed(words)
    return np.sort(words[np.argsort(hashes, kind="stable")[:SKETCH_SIZE]]).view(np.int32)


def find_matches(recordings: Sequence[np.ndarray]) -> list[Match]:
    """What the recordings, arrays of items, have in common. Not every pair of a common stretch is listed."""
    starts = np.concatenate([[0], np.cumsum([len(items) for items in recordings])]).astype(np.int64)
    if starts[-1] == 0:
        return []
    items = np.concatenate(recordings)
    found: dict[tuple[int, int], list[Match]] = defaultdict(list)
    for delta, low, high in _candidates(recordings, starts):
        first, other = (int(np.searchsorted(starts, at, side="right")) - 1 for at in (low, low + delta))
        begin, end = low - int(starts[first]), high - int(starts[first])
        shift = delta + int(starts[first]) - int(starts[other])
        if any(_covers(match, begin, end, shift) for match in found[first, other]):
            continue
        found[first, other] += _verified(items, starts, first, other, begin, end, shift)
    return sorted((match for some in found.values() for match in some), key=lambda one: (one.first, one.start))


def milliseconds(start: int, n_items: int) -> tuple[int, int]:
    """Start and end of a stretch of items. An item counts where more than half of what it is made of matches."""
    middle = REACH_MS / 2
    start_ms = round(start * ITEM_MS + middle - _LATE_MS) if start else 0
    return start_ms, round((start + n_items - 1) * ITEM_MS + middle)


def _mixed(words: np.ndarray) -> np.ndarray:
    hashes = words.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return hashes ^ (hashes >> np.uint64(32))


def _candidates(recordings: Sequence[np.ndarray], starts: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(distance of the two places, first place, last place) in the concatenated items."""
    hits = [_hits(keys, starts) for keys in _sorted_keys(recordings, starts)]
    hits_at = np.unique(np.concatenate([np.zeros(0, np.uint64), *hits]))
    if not len(hits_at):
        return
    delta, at = hits_at >> np.uint64(32), (hits_at & np.uint64(0xFFFFFFFF)).astype(np.int64)
    owner = np.searchsorted(starts, at, side="right")
    ends = np.flatnonzero((np.diff(delta) != 0) | (np.diff(at) > _SAME_PLACE) | (np.diff(owner) != 0))
    first, last = np.concatenate([[0], ends + 1]), np.concatenate([ends, [len(at) - 1]])
    enough = np.flatnonzero(last - first + 1 >= _MIN_HITS)
    # The best supported first: the others mostly lie in what they have found.
    for index in enough[np.argsort(first[enough] - last[enough], kind="stable")]:
        yield int(delta[first[index]]), int(at[first[index]]), int(at[last[index]])


def _sorted_keys(recordings: Sequence[np.ndarray], starts: np.ndarray) -> Iterator[np.ndarray]:
    """Word and place of all items as sorted numbers, divided by the word's last bits."""
    n_slices = int(starts[-1]) // _SLICE + 1
    for part in range(n_slices):
        keys = []
        for items, start in zip(recordings, starts[:-1], strict=True):
            words = words_of(items)
            at = np.flatnonzero((words != 0) & (words % np.uint32(n_slices) == part))
            keys.append((words[at].astype(np.uint64) << np.uint64(32)) | (at + start).astype(np.uint64))
        found = np.concatenate(keys)
        found.sort()
        yield found


def _hits(keys: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Distance and first place of pairs of equal words."""
    found = [np.zeros(0, np.uint64)]
    place = np.uint64(0xFFFFFFFF)
    for later in range(1, min(_PAIRED, len(keys) - 1) + 1):
        one, two = keys[:-later], keys[later:]
        equal = np.flatnonzero((one ^ two) >> np.uint64(32) == 0)
        at, other = one[equal] & place, two[equal] & place
        owners = [np.searchsorted(starts, where.astype(np.int64), side="right") for where in (at, other)]
        far = (owners[0] != owners[1]) | (other - at >= _NEAR)
        found.append(((other - at)[far] << np.uint64(32)) | at[far])
    return np.concatenate(found)


def _covers(match: Match, begin: int, end: int, shift: int) -> bool:
    is_inside = match.start - _SMOOTHED <= begin and end <= match.start + match.n_items + _SMOOTHED
    return is_inside and abs(match.other_start - match.start - shift) <= 2


def _verified(
    items: np.ndarray, starts: np.ndarray, first: int, other: int, begin: int, end: int, shift: int
) -> Iterable[Match]:
    """The stretches around the hits in which the bits agree."""
    n_first, n_other = int(starts[first + 1] - starts[first]), int(starts[other + 1] - starts[other])
    lowest, highest = max(0, -shift), min(n_first, n_other - shift)
    reach = 8 * _SAME_PLACE
    while True:
        low, high = max(lowest, begin - reach), min(highest, end + _WORD_GAP + reach)
        if high - low < MIN_ITEMS:
            return
        one = items[starts[first] + low : starts[first] + high]
        two = items[starts[other] + low + shift : starts[other] + high + shift]
        errors = np.bitwise_count(one ^ two) / 32
        agrees = _smooth(errors) <= _MAX_BIT_ERRORS
        if (low == lowest or not agrees[0]) and (high == highest or not agrees[-1]):
            break
        reach *= 4
    edges = np.flatnonzero(np.diff(np.concatenate([[False], agrees, [False]]).astype(np.int8)))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        touches = start <= end - low and stop >= begin - low
        varied = len(np.unique(one[start:stop])) >= (stop - start) / 3
        if touches and varied and stop - start >= MIN_ITEMS:
            similarity = float(1 - errors[start:stop].mean())
            yield Match(first, other, low + start, low + start + shift, stop - start, similarity)


def _smooth(errors: np.ndarray) -> np.ndarray:
    width = min(_SMOOTHED, len(errors))
    kernel = np.ones(width)
    return np.convolve(errors, kernel, "same") / np.convolve(np.ones(len(errors)), kernel, "same")
