"""Ads, jingles and intros: stretches of audio that recur in the recordings of a feed, as clusters of spans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from speech.audio_matches import MIN_ITEMS, Match, find_matches

NEAR_COPY_SHARE = 0.5
"""Recordings that have at least this share of the longer one in common are copies: that is no repeated audio."""

_ROUNDS = 2
"""How far a boundary that one pair shows is carried to other pairs."""
_SAME_BOUNDARY = 12
"""Boundaries within 1.5 s are one."""


@dataclass(frozen=True, slots=True)
class RepeatedSpan:
    """One occurrence, in items of the recording."""

    recording: int
    start: int
    n_items: int
    cluster: int
    """Occurrences of the same audio have the same number."""
    n_recordings: int
    similarity: float


def shares(matches: Sequence[Match], lengths: Sequence[int]) -> dict[tuple[int, int], float]:
    """Pair of recordings → share of the longer one that both have."""
    common: dict[tuple[int, int], int] = defaultdict(int)
    for match in matches:
        if match.first != match.other:
            common[match.first, match.other] += match.n_items
    return {pair: n / max(1, *(lengths[one] for one in pair)) for pair, n in common.items()}


def repeated_spans(recordings: Sequence[np.ndarray]) -> list[RepeatedSpan]:
    """The repeated audio of a feed's recordings (arrays of fingerprint items), in their order."""
    found = find_matches(recordings)
    shared = shares(found, [len(items) for items in recordings])
    matches = [match for match in found if shared.get((match.first, match.other), 0) < NEAR_COPY_SHARE]
    return _clusters(matches, _boundaries(matches))


def _boundaries(matches: Sequence[Match]) -> dict[int, np.ndarray]:
    """Recording → where spans start and end. A boundary inside a match is one in its other recording too."""
    marks: dict[int, list[int]] = defaultdict(list)
    for match in matches:
        marks[match.first] += [match.start, match.start + match.n_items]
        marks[match.other] += [match.other_start, match.other_start + match.n_items]
    merged = {recording: _merged(found) for recording, found in marks.items()}
    for _ in range(_ROUNDS):
        for match in matches:
            shift = match.other_start - match.start
            for source, start, target, by in (
                (match.first, match.start, match.other, shift),
                (match.other, match.other_start, match.first, -shift),
            ):
                inside = merged[source]
                inside = inside[(inside > start) & (inside < start + match.n_items)]
                marks[target] += (inside + by).tolist()
        merged = {recording: _merged(found) for recording, found in marks.items()}
        marks = defaultdict(list, {recording: found.tolist() for recording, found in merged.items()})
    return merged


def _merged(marks: Sequence[int]) -> np.ndarray:
    ordered = np.sort(np.array(marks))
    groups: list[list[int]] = []
    for mark in ordered.tolist():
        if groups and mark - groups[-1][0] <= _SAME_BOUNDARY:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return np.array([int(np.median(group)) for group in groups])


def _clusters(matches: Sequence[Match], boundaries: dict[int, np.ndarray]) -> list[RepeatedSpan]:
    parents: dict[tuple[int, int, int], tuple[int, int, int]] = {}
    similarities: dict[tuple[int, int, int], list[float]] = defaultdict(list)

    def root(span: tuple[int, int, int]) -> tuple[int, int, int]:
        while (parent := parents.setdefault(span, span)) != span:
            parents[span] = parents[parent]
            span = parent
        return span

    for match in matches:
        for one, two in _parts(match, boundaries):
            similarities[one].append(match.similarity)
            similarities[two].append(match.similarity)
            parents[max(root(one), root(two))] = min(root(one), root(two))
    members: dict[tuple[int, int, int], list[tuple[int, int, int]]] = defaultdict(list)
    for span in sorted(parents):
        members[root(span)].append(span)
    found = [
        RepeatedSpan(*span, cluster, len({one[0] for one in spans}), float(np.mean(similarities[span])))
        for cluster, spans in enumerate(members.values())
        for span in spans
    ]
    return sorted(found, key=lambda span: (span.recording, span.start))


def _parts(
    match: Match, boundaries: dict[int, np.ndarray]
) -> Iterator[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    """The spans between boundaries that the match covers, each with the one at the same place of the other."""
    shift = match.other_start - match.start
    others = list(_covered(boundaries[match.other], match.other_start, match.n_items))
    for start, end in _covered(boundaries[match.first], match.start, match.n_items):
        for other_start, other_end in others:
            common = min(end + shift, other_end) - max(start + shift, other_start)
            if common >= 0.6 * max(end - start, other_end - other_start):
                yield (match.first, start, end - start), (match.other, other_start, other_end - other_start)


def _covered(marks: np.ndarray, start: int, n_items: int) -> Iterator[tuple[int, int]]:
    for low, high in zip(marks[:-1].tolist(), marks[1:].tolist(), strict=True):
        common = min(high, start + n_items) - max(low, start)
        if high - low >= MIN_ITEMS and common >= 0.7 * (high - low):
            yield low, high
