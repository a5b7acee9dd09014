"""Links the speakers of a feed's episodes to voices, by the similarity of their embeddings.

New episodes change no link of an old one. Within an episode, each voice has one speaker. Manual decisions come first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from speech.engines.speaker_embeddings import DIMENSIONS, EMBEDDING_MODEL, directions

SAME_VOICE = 0.5
"""Cosine similarity of a speaker to a voice above which they are one voice, when the mean of all voices is subtracted.

`python -m bench.voices` measures it: one voice 0.53–0.85, two voices at most 0.5, 99 % of them below 0.36.
"""
LEAST_SPEECH_MS = 4_000
"""An embedding made of less speech is not compared."""
_MOST_SPEECH_MS = 60_000
"""A speaker's weight in a centroid grows with the speech up to this."""

NEW, SIMILARITY, MANUAL = "new", "similarity", "manual"
TOO_LITTLE_SPEECH, NO_EMBEDDING, OTHER_MODEL = "too_little_speech", "no_embedding", "other_model"


@dataclass(frozen=True, slots=True)
class EpisodeSpeaker:
    """A speaker of an episode."""

    speaker: str
    embedding: np.ndarray | None = None
    """Unit vector."""
    embedding_model: str | None = None
    speech_ms: int | None = None
    """Speech that the embedding is made from."""

    @property
    def reason_not_linked(self) -> str | None:
        """Why it has no voice, unless the user has given it one."""
        if self.embedding is None:
            return NO_EMBEDDING
        if self.embedding_model != EMBEDDING_MODEL:
            return OTHER_MODEL
        return None if (self.speech_ms or 0) >= LEAST_SPEECH_MS else TOO_LITTLE_SPEECH


@dataclass(frozen=True, slots=True)
class DiarizedEpisode:
    """The speakers of an episode, as one landing of the diarization has found them."""

    episode_id: str
    diarization_version: str
    speakers: tuple[EpisodeSpeaker, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A speaker's voice, or why it has none."""

    speaker: str
    voice_id: str | None = None
    similarity: float | None = None
    """To the voice's centroid before the speaker was linked; None for its first speaker."""
    margin: float | None = None
    """How much more similar the voice is than any other; negative if that is another speaker of the episode."""
    method: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice, and the mean embedding of its speakers: a unit vector."""

    voice_id: str
    embedding: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A user's decision about a speaker. The embedding finds the speaker again when another diarization renames it."""

    episode_id: str
    speaker: str
    voice_id: str
    diarization_version: str
    embedding: tuple[float, ...] | None = None
    embedding_model: str | None = None


@dataclass(frozen=True, slots=True)
class SameAs:
    """A voice of another feed that is the same person."""

    voice_id: str
    method: str
    """`across` or `manual`."""
    similarity: float | None = None
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class Decisions:
    """What is decided about the voices of a feed, by a user or by a comparison with other feeds."""

    pins: tuple[Pin, ...] = ()
    merged: Mapping[str, str] = field(default_factory=dict)
    """Voice → the voice that it is a part of."""
    names: Mapping[str, str] = field(default_factory=dict)
    same_as: Mapping[str, SameAs] = field(default_factory=dict)

    def merged_into(self, voice_id: str) -> str:
        """The voice that it has become."""
        seen = {voice_id}
        while (target := self.merged.get(voice_id, voice_id)) not in seen:
            voice_id = target
            seen.add(target)
        return voice_id

    def of_episode(self, episode: DiarizedEpisode) -> dict[str, str]:
        """Speaker → voice, for the speakers that the user has decided about."""
        found: dict[str, str] = {}
        for pin in self.pins:
            if pin.episode_id == episode.episode_id:
                speaker = _pinned_speaker(pin, episode, found)
                if speaker is not None:
                    found[speaker] = self.merged_into(pin.voice_id)
        return found

    def voice_ids(self) -> set[str]:
        return {*self.names, *self.merged, *self.merged.values(), *self.same_as, *(pin.voice_id for pin in self.pins)}


def link_feed(
    feed_id: str,
    episodes: Sequence[DiarizedEpisode],
    known: Mapping[str, Sequence[Link]],
    decisions: Decisions = Decisions(),
    former: Iterable[Voice] = (),
    *,
    same_voice: float = SAME_VOICE,
) -> tuple[dict[str, list[Link]], list[Voice]]:
    """Episode → the links of its speakers, in their order; and the voices that have speakers.

    `known`: episode → its links, for the episodes that have been linked since they were diarized. Only decisions change
    them. The others are linked in the given order. `former`: the voices of the last time, so that a voice keeps its id
    when all its episodes are diarized again.
    """
    space = _Centroids()
    for voice in former:
        space.add_former(decisions.merged_into(voice.voice_id), voice.embedding)
    links: dict[str, list[Link]] = {}
    fresh: list[DiarizedEpisode] = []
    for episode in episodes:
        if episode.episode_id not in known:
            fresh.append(episode)
            continue
        pins = decisions.of_episode(episode)
        links[episode.episode_id] = [_kept(link, pins, decisions) for link in known[episode.episode_id]]
        space.add_episode(episode, links[episode.episode_id])
    taken = {*space.ids, *decisions.voice_ids()}
    for episode in fresh:
        links[episode.episode_id] = _linked(feed_id, episode, space, decisions, taken, same_voice)
        space.add_episode(episode, links[episode.episode_id])
    return links, space.voices()


def new_voice_id(feed_id: str, episode_id: str, speaker: str, taken: Collection[str]) -> str:
    """An id that the first speaker of a voice determines, unless another voice has it already."""
    for number in range(len(taken) + 1):
        digest = hashlib.sha256("\n".join([feed_id, episode_id, speaker, str(number)]).encode()).hexdigest()
        if (voice_id := f"{feed_id}-v{digest[:8]}") not in taken:
            return voice_id
    raise AssertionError("one of more ids than are taken is free")


def feed_of_voice(voice_id: str) -> str:
    return voice_id.rpartition("-")[0]


def _linked(
    feed_id: str,
    episode: DiarizedEpisode,
    space: _Centroids,
    decisions: Decisions,
    taken: set[str],
    same_voice: float,
) -> list[Link]:
    """The links of an episode that has none: decisions, then the best assignment of speakers to voices, then new voices."""
    pins = decisions.of_episode(episode)
    open_speakers = [one for one in episode.speakers if one.speaker not in pins and not one.reason_not_linked]
    matched = space.match(open_speakers, frozenset(pins.values()), same_voice)
    links = []
    for one in episode.speakers:
        if one.speaker in pins:
            links.append(Link(one.speaker, pins[one.speaker], method=MANUAL))
        elif one.reason_not_linked:
            links.append(Link(one.speaker, reason=one.reason_not_linked))
        elif one.speaker in matched:
            links.append(matched[one.speaker])
        else:
            voice_id = new_voice_id(feed_id, episode.episode_id, one.speaker, taken)
            taken.add(voice_id)
            links.append(Link(one.speaker, voice_id, method=NEW))
    return links


def _kept(link: Link, pins: Mapping[str, str], decisions: Decisions) -> Link:
    """The link of an old episode, as later decisions have changed it."""
    if link.speaker in pins:
        return Link(link.speaker, pins[link.speaker], method=MANUAL)
    if link.voice_id is None:
        return link
    return replace(link, voice_id=decisions.merged_into(link.voice_id))


def _pinned_speaker(pin: Pin, episode: DiarizedEpisode, found: Mapping[str, str]) -> str | None:
    """The speaker that the decision is about, also if another diarization has named it differently."""
    speakers = {one.speaker: one for one in episode.speakers if one.speaker not in found}
    if pin.diarization_version == episode.diarization_version:
        return pin.speaker if pin.speaker in speakers else None
    embeddings = {
        name: one.embedding
        for name, one in speakers.items()
        if one.embedding is not None and one.embedding_model == pin.embedding_model == EMBEDDING_MODEL
    }
    if pin.embedding is None or not embeddings:
        return pin.speaker if pin.speaker in speakers else None
    similarities = directions(np.stack(list(embeddings.values()))) @ directions(np.array(pin.embedding, np.float32))
    best = int(np.argmax(similarities))
    return list(embeddings)[best] if similarities[best] >= SAME_VOICE else None


class _Centroids:
    """The weighted mean embedding of each voice, and its direction from the mean of all voices."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._row: dict[str, int] = {}
        self._sums = np.zeros((16, DIMENSIONS), np.float32)
        self._directions = np.zeros((16, DIMENSIONS), np.float32)
        self._without_speaker: set[int] = set()
        """Former voices: their mean counts until a speaker is linked to them."""

    def add_episode(self, episode: DiarizedEpisode, links: Sequence[Link]) -> None:
        for one, link in zip(episode.speakers, links, strict=True):
            if link.voice_id is not None and one.embedding is not None and one.embedding_model == EMBEDDING_MODEL:
                self.add(link.voice_id, one.embedding, min(max(one.speech_ms or 0, 1), _MOST_SPEECH_MS))

    def add(self, voice_id: str, embedding: np.ndarray, weight: float) -> None:
        row = self._row_of(voice_id)
        if row in self._without_speaker:
            self._without_speaker.remove(row)
            self._sums[row] = 0
        self._sums[row] += weight * embedding
        self._directions[row] = directions(_unit(self._sums[row]))

    def add_former(self, voice_id: str, embedding: np.ndarray) -> None:
        if voice_id not in self._row:
            self.add(voice_id, embedding, 1.0)
            self._without_speaker.add(self._row[voice_id])

    def match(self, speakers: Sequence[EpisodeSpeaker], taken: Collection[str], same_voice: float) -> dict[str, Link]:
        """Speaker → its link, for those that resemble a voice. `taken` voices have another speaker in the episode."""
        from scipy.optimize import linear_sum_assignment

        if not speakers or not self.ids:
            return {}
        embeddings = np.stack([one.embedding for one in speakers if one.embedding is not None])
        similarity = directions(embeddings) @ self._directions[: len(self.ids)].T
        similarity[:, [self._row[voice_id] for voice_id in taken if voice_id in self._row]] = -1.0
        # No assignment needs more than the best voices of each speaker, as many as there are speakers.
        n_best = min(len(speakers) + 1, len(self.ids))
        best = np.unique(np.argpartition(-similarity, n_best - 1, axis=1)[:, :n_best])
        candidates = similarity[:, best]
        found = {}
        for row, column in zip(*linear_sum_assignment(-np.maximum(candidates, same_voice)), strict=True):
            if candidates[row, column] >= same_voice:
                others = np.delete(candidates[row], column)
                margin = float(candidates[row, column] - others.max()) if (others > -1).any() else None
                speaker, voice_id = speakers[row].speaker, self.ids[best[column]]
                found[speaker] = Link(speaker, voice_id, float(candidates[row, column]), margin, SIMILARITY)
        return found

    def voices(self) -> list[Voice]:
        """Those that have a speaker."""
        rows = (row for row in range(len(self.ids)) if row not in self._without_speaker)
        return [Voice(self.ids[row], _unit(self._sums[row])) for row in rows]

    def _row_of(self, voice_id: str) -> int:
        if voice_id not in self._row:
            row = len(self.ids)
            self._row[voice_id] = row
            self.ids.append(voice_id)
            if row >= len(self._sums):
                self._sums, self._directions = (
                    np.concatenate([rows, np.zeros_like(rows)]) for rows in (self._sums, self._directions)
                )
        return self._row[voice_id]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
