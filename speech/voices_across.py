"""Finds voices of different feeds that are one person, by exact comparison of all pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from speech.engines.speaker_embeddings import directions
from speech.voices import SameAs, Voice, feed_of_voice

SAME_PERSON = 0.65
"""Cosine similarity of two voices above which they are one person: stricter than within a feed, which has few voices.

Ten readers in five feeds with other codecs, gains and noise: F1 1.000 from 0.40 to 0.55, 0.984 at 0.65 (no wrong pair, 97 %
of the right ones), 0.884 at 0.75. The most similar two readers decide how low it may be; thousands of voices have closer ones.
"""
ACROSS = "across"
_BLOCK = 1_000
"""Voices that are compared with all others at once."""
_NEIGHBOURS = 8


def link_across(
    voices: Sequence[Voice], known: Mapping[str, SameAs], same_person: float = SAME_PERSON
) -> dict[str, SameAs]:
    """Voice → the voice of another feed that is the same person, for those that are not in `known`.

    The most similar pairs come first. A person has one voice in each feed. All point to one voice, which points to none:
    the one that others in `known` point to, else the first by name.
    """
    targets = {same.voice_id for same in known.values()}
    fresh = [row for row, voice in enumerate(voices) if voice.voice_id not in known and voice.voice_id not in targets]
    groups = _Groups(known)
    for similarity, first, second, margin in sorted(
        _pairs(voices, fresh, same_person), key=lambda pair: (-pair[0], *pair[1:3])
    ):
        groups.join(first, second, similarity, margin)
    return groups.found()


class _Groups:
    """Voices that are one person, at most one of each feed."""

    def __init__(self, known: Mapping[str, SameAs]) -> None:
        self._group: dict[str, dict[str, None]] = {}
        self._target: dict[str, str] = {}
        self._known = known.keys()
        self._joined: dict[str, tuple[float, float | None]] = {}
        for voice_id, same in known.items():
            group = self._group.setdefault(same.voice_id, {same.voice_id: None})
            group[voice_id] = None
            self._group[voice_id] = group
            self._target |= {voice_id: same.voice_id, same.voice_id: same.voice_id}

    def join(self, first: str, second: str, similarity: float, margin: float | None) -> None:
        one, other = (self._group.setdefault(name, {name: None}) for name in (first, second))
        if one is other or (first in self._target and second in self._target):
            return
        feeds = [feed_of_voice(name) for name in (*one, *other)]
        if len(set(feeds)) < len(feeds):
            return
        for name in (first, second):
            self._joined.setdefault(name, (similarity, margin))
        target = self._target.get(first) or self._target.get(second)
        one |= other
        self._group |= dict.fromkeys(one, one)
        if target:
            self._target |= dict.fromkeys(one, target)

    def found(self) -> dict[str, SameAs]:
        """The new members of each group."""
        links = {}
        for name, (similarity, margin) in self._joined.items():
            target = self._target.get(name) or min(self._group[name])
            if name != target and name not in self._known:
                links[name] = SameAs(target, ACROSS, similarity, margin)
        return links


def _pairs(
    voices: Sequence[Voice], fresh: Sequence[int], same_person: float
) -> Iterator[tuple[float, str, str, float | None]]:
    """Similarity, the two voices in order, and how much less similar the next voice of that feed is, if it is near."""
    if len(voices) < 2:
        return
    vectors = directions(np.stack([voice.embedding for voice in voices]))
    feeds = np.unique([feed_of_voice(voice.voice_id) for voice in voices], return_inverse=True)[1]
    n_best = min(_NEIGHBOURS, len(voices))
    for start in range(0, len(fresh), _BLOCK):
        rows = np.array(fresh[start : start + _BLOCK])
        similarity = vectors[rows] @ vectors.T
        similarity[feeds[rows][:, None] == feeds[None]] = -1.0
        best = np.argpartition(similarity, len(voices) - n_best, axis=1)[:, -n_best:]
        values = np.take_along_axis(similarity, best, axis=1)
        for row, columns, found in zip(rows, best, values, strict=True):
            order = np.argsort(-found)
            for place in order[found[order] >= same_person]:
                rivals = found[(feeds[columns] == feeds[columns[place]]) & (columns != columns[place])]
                margin = float(found[place] - rivals.max()) if len(rivals) else None
                first, second = sorted((voices[row].voice_id, voices[columns[place]].voice_id))
                yield float(found[place]), first, second, margin
