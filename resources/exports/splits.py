"""Divides utterances into train, validation and test, so that no voice and no feed is in two of them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

SPLITS = ("train", "validation", "test")
Kept = Literal["feed", "voice"]


@dataclass(frozen=True)
class SplitRule:
    """How much goes where, and what stays together."""

    shares: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Of the duration, for train, validation and test."""
    together: Kept = "feed"
    """`feed`: all of a feed and all of a voice; `voice`: all of a voice."""

    @classmethod
    def parse(cls, text: str, together: Kept = "feed") -> SplitRule:
        """From `98/1/1`; `90/10` has no test. Raises ValueError."""
        try:
            parts = [float(part) for part in text.split("/")]
        except ValueError:
            parts = []
        if not (1 <= len(parts) <= len(SPLITS)) or not all(map(isfinite, parts)) or min(parts) < 0 or parts[0] == 0:
            raise ValueError(f"{text} is no split. Give shares of train, validation and test, such as 98/1/1.")
        train, validation, test = (part / sum(parts) for part in [*parts, 0.0, 0.0][: len(SPLITS)])
        return cls((train, validation, test), together)


@dataclass(frozen=True)
class Speech:
    """What one speaker says in one audio file."""

    speaker: str
    """The voice, or episode and label."""
    feed_id: str
    audio_speaker: str
    """Audio and label: the same bytes under two episodes are the same speech."""
    duration_ms: int
    copies: str | None = None
    """Names the audio files that are near copies of each other, if this one is. Their labels differ, so all speakers of
    these files stay together."""


@dataclass(frozen=True)
class Assignment:
    """Which speaker is in which split."""

    split_of: Mapping[str, str]
    """Speaker → split."""
    n_groups: int
    """Sets of speakers that stay together. There cannot be more splits."""


def assign(speech: Iterable[Speech], rule: SplitRule) -> Assignment:
    """Divide the speakers.

    What must stay together is one group. Groups are taken in the order of a hash of their name. A group goes to test if
    it fits into what test still lacks, else to validation if it fits there, else to train. A split that would stay
    empty gets the smallest group of train, if train keeps another one.
    """
    speech = list(speech)
    group_of = groups(_ties(speech, rule.together))
    sizes: defaultdict[str, int] = defaultdict(int)
    for one in speech:
        sizes[group_of[one.speaker]] += one.duration_ms
    chosen = _distribute(sizes, rule.shares)
    return Assignment({one.speaker: chosen[group_of[one.speaker]] for one in speech}, len(chosen))


def groups(ties: Iterable[Sequence[str]]) -> dict[str, str]:
    """Name → the group that it belongs to, named by its first member in alphabetical order. A tie joins its names."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for tie in ties:
        roots = sorted({root(name) for name in tie})
        for other in roots[1:]:
            parent[other] = roots[0]
    return {name: root(name) for name in parent}


def _ties(speech: Iterable[Speech], together: Kept) -> Iterable[Sequence[str]]:
    for one in speech:
        # The prefixes keep a feed and a voice of the same name apart; speakers have none, for they are looked up.
        tie = [one.speaker, f"\0audio {one.audio_speaker}", *([f"\0copies {one.copies}"] if one.copies else [])]
        yield [*tie, f"\0feed {one.feed_id}"] if together == "feed" else tie


def _distribute(sizes: Mapping[str, int], shares: tuple[float, float, float]) -> dict[str, str]:
    total = sum(sizes.values())
    lacks = {name: share * total for name, share in zip(SPLITS, shares, strict=True)}
    chosen: dict[str, str] = {}
    for group in sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).digest()):
        chosen[group] = next((name for name in ("test", "validation") if sizes[group] <= lacks[name]), "train")
        lacks[chosen[group]] -= sizes[group]
    for name, share in zip(SPLITS, shares, strict=True):
        rest = sorted((group for group in sizes if chosen[group] == "train"), key=lambda group: (sizes[group], group))
        if share > 0 and name not in chosen.values() and len(rest) > 1:
            chosen[rest[0]] = name
    return chosen
