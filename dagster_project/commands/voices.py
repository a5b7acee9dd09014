"""`podlake voices`: list voices, and record decisions about them, which every later linking applies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from dagster_project.commands.listing import Listing
from partitions.keys import feed_of
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import SPEAKER_LINKS, SPEAKERS, VOICES
from resources.lake.voice_decisions import change_decisions, decided_feeds, decisions_of
from resources.lake.warehouse import ask, connect
from speech.errors import UpstreamMissing
from speech.voices import MANUAL, Decisions, Pin, SameAs, feed_of_voice, new_voice_id

T = TypeVar("T")

_LIST = """
select voice.voice_id, voice.name, voice.same_as, voice.n_episodes, round(voice.speech_ms / 60000, 1) as minutes,
    min(episode.published_at) as first, max(episode.published_at) as last
from lake.voices as voice
left join lake.speaker_links as link on link.feed_id = voice.feed_id and link.voice_id = voice.voice_id
left join lake.episodes as episode on episode.feed_id = link.feed_id and episode.episode_id = link.episode_id
where $feed_id is null or voice.feed_id = $feed_id
group by all order by minutes desc, voice.voice_id limit $limit
"""


def listing(home: Home, *, feed_id: str | None, limit: int) -> Listing:
    """A row per voice, those who speak longest first."""
    names = ("voice", "name", "same as", "episodes", "minutes", "first (UTC)", "last (UTC)")
    with connect(home) as connection:
        return names, ask(connection, _LIST, {"feed_id": feed_id, "limit": limit})


def name(lake: Lake, voice_id: str, text: str) -> list[str]:
    """Give the voice a name; an empty one removes it. Returns the feeds whose tables show it."""
    _require_voice(lake, voice_id)
    feed_id = feed_of_voice(voice_id)

    def change(decisions: Decisions) -> Decisions:
        names = {**decisions.names, voice_id: text}
        return replace(decisions, names=names if text else {key: names[key] for key in names if key != voice_id})

    change_decisions(lake.home, feed_id, change)
    return [feed_id, *_pointing_to(lake.home, voice_id)]


def merge(lake: Lake, voice_id: str, other: str) -> list[str]:
    """Make the other voice a part of the first; if it is of another feed, the same person. Returns the changed feeds."""
    for one in (voice_id, other):
        _require_voice(lake, one)
    if voice_id == other:
        raise UpstreamMissing("These are the same voice. Name two: podlake voices list")
    feed_id, feed_of_other = feed_of_voice(voice_id), feed_of_voice(other)
    if feed_id != feed_of_other:
        first = decisions_of(lake.home, feed_id).same_as.get(voice_id)
        same = SameAs(first.voice_id if first else voice_id, MANUAL)
        change_decisions(lake.home, feed_of_other, lambda found: replace(found, same_as={**found.same_as, other: same}))
        return [feed_of_other]
    change_decisions(lake.home, feed_id, lambda found: _merged(found, voice_id, other))
    return [feed_id, *_pointing_to(lake.home, other)]


def split(lake: Lake, episode_id: str, speaker: str, target: str | None) -> tuple[str, list[str]]:
    """Give the speaker of the episode a voice of its own, or the target. Returns the voice and the changed feeds."""
    feed_id = feed_of(episode_id)
    links = [row for row in lake.rows(SPEAKER_LINKS, feed_id) if row.episode_id == episode_id]
    if not links:
        raise UpstreamMissing(f"No speaker of {episode_id} is linked yet. podlake run links them.")
    link = next((row for row in links if row.speaker == speaker), None)
    if link is None:
        raise UpstreamMissing(
            f"{episode_id} has no speaker {speaker}. It has: {', '.join(sorted(row.speaker for row in links))}."
        )
    if target is not None:
        _require_voice(lake, target)
        if feed_of_voice(target) != feed_id:
            raise UpstreamMissing(f"{target} is a voice of another feed. podlake voices list {feed_id}")
    (found,) = [row for row in lake.rows(SPEAKERS, episode_id) if row.speaker == speaker]
    taken = {row.voice_id for row in lake.rows(VOICES, feed_id)} | decisions_of(lake.home, feed_id).voice_ids()
    pin = Pin(
        episode_id=episode_id, speaker=speaker, voice_id=target or new_voice_id(feed_id, episode_id, speaker, taken),
        diarization_version=link.diarization_version, embedding=found.embedding, embedding_model=found.embedding_model,
    )  # fmt: skip

    def change(decisions: Decisions) -> Decisions:
        others = [one for one in decisions.pins if (one.episode_id, one.speaker) != (episode_id, speaker)]
        return replace(decisions, pins=(*others, pin))

    change_decisions(lake.home, feed_id, change)
    return pin.voice_id, [feed_id]


def _merged(decisions: Decisions, voice_id: str, other: str) -> Decisions:
    """The other's name and links to other feeds are kept if the voice has none."""
    return replace(
        decisions,
        merged={**decisions.merged, other: voice_id},
        names=_moved(decisions.names, other, voice_id),
        same_as=_moved(decisions.same_as, other, voice_id),
    )


def _moved(values: Mapping[str, T], other: str, voice_id: str) -> dict[str, T]:
    """The other's value becomes that of the voice, unless it has one."""
    kept = {key: value for key, value in values.items() if key != other}
    return {voice_id: values[other], **kept} if other in values else kept


def _pointing_to(home: Home, voice_id: str) -> Sequence[str]:
    """Other feeds that have a voice which is the same person."""
    return [
        feed_id
        for feed_id in decided_feeds(home)
        if any(same.voice_id == voice_id for same in decisions_of(home, feed_id).same_as.values())
    ]


def _require_voice(lake: Lake, voice_id: str) -> None:
    if all(row.voice_id != voice_id for row in lake.rows(VOICES, feed_of_voice(voice_id))):
        raise UpstreamMissing(f"There is no voice {voice_id}. `podlake voices list` shows the voices.")
