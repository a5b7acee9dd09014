"""`voices`: which speakers of a feed's episodes are one person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa

from pipeline.gathering import by_feed, gathered_version
from pipeline.stage import Batch, Landing, Outcome, Stage, each
from resources.lake.commits import Commit, open_commits
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES, SPEAKER_LINKS, SPEAKERS, VOICES
from resources.lake.tables.speech import SpeakerRow
from resources.lake.tables.voices import SpeakerLinkRow, VoiceRow
from resources.lake.voice_decisions import decisions_of
from speech.engines.speaker_embeddings import EMBEDDING_MODEL
from speech.voices import MANUAL, Decisions, DiarizedEpisode, EpisodeSpeaker, Link, Voice, feed_of_voice, link_feed

_SHOWN = 20


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    voices, links = VOICES.rows_of(tables["voices"]), tables["speaker_links"]
    longest = sorted(voices, key=lambda row: row.speech_ms, reverse=True)[:_SHOWN]
    lines = [
        f"- {row.name or row.voice_id}: {row.n_episodes} episodes, {row.speech_ms / 60_000:.1f} minutes"
        for row in longest
    ]
    return {
        "dagster/row_count": len(voices),
        "speakers": links.num_rows,
        "speakers_without_voice": links["voice_id"].null_count,
        "longest": dg.MetadataValue.md("\n".join(lines) or "none"),
    }


@Stage(
    tables=(VOICES, SPEAKER_LINKS), ui_metadata=_ui_metadata, group="speech", batch_size=40, version="1",
    gathers=("diarization",), partition_kind="feed",
)  # fmt: skip
def voices(batch: Batch, lake: Lake) -> Iterator[Outcome]:
    """Links the speakers of a feed's episodes to voices. Links of old episodes stay; decisions of users come first."""
    feeds = _Diarizations.read(lake, batch.keys)
    return each(batch.keys, lambda key: _landing(key, feeds, lake))


@dataclass(frozen=True)
class _Diarizations:
    """What the diarizations of some feeds have landed, and what was linked before."""

    versions: Mapping[str, str]
    """Feed → version of all of them."""
    commits: Mapping[str, Sequence[Commit]]
    """Feed → the landings of its episodes."""
    speakers: Mapping[str, pa.Table]
    """Episode → its rows of `speakers`."""
    links: Mapping[str, pa.Table]
    voices: Mapping[str, pa.Table]

    @classmethod
    def read(cls, lake: Lake, feeds: Sequence[str]) -> _Diarizations:
        """Reads everything at once. Episodes that land meanwhile are left to the next run."""
        listed = by_feed(open_commits(lake.home, "diarization"))
        versions = {feed_id: gathered_version(listed.get(feed_id, ())) for feed_id in feeds}
        episodes = [key for rows in lake.read_many(EPISODES, feeds).values() for key in rows["episode_id"].to_pylist()]
        before = lake.current("diarization", episodes)
        speakers = lake.read_many(SPEAKERS, episodes)
        after = lake.current("diarization", episodes)
        commits = by_feed({key: commit for key, commit in before.items() if after.get(key) == commit})
        linked, found = (lake.read_many(table, feeds) for table in (SPEAKER_LINKS, VOICES))
        return cls(versions, commits, speakers, linked, found)

    def of_feed(self, feed_id: str) -> dict[Commit, list[SpeakerRow]]:
        """Landing → its speakers, by episode."""
        own = sorted(commit for commit in self.commits.get(feed_id, ()) if commit.key in self.speakers)
        return {commit: SPEAKERS.rows_of(self.speakers[commit.key]) for commit in own}


def _landing(feed_id: str, feeds: _Diarizations, lake: Lake) -> Landing:
    rows, decisions = feeds.of_feed(feed_id), decisions_of(lake.home, feed_id)
    episodes = [
        DiarizedEpisode(commit.key, commit.data_version, tuple(map(_speaker, speakers)))
        for commit, speakers in rows.items()
    ]
    links, found = link_feed(feed_id, episodes, _known(feeds, feed_id, episodes), decisions, _former(feeds, feed_id))
    names = _names(lake, decisions)
    link_rows = [
        _link_row(commit, row, link, names)
        for commit, speakers in rows.items()
        for row, link in zip(speakers, links[commit.key], strict=True)
    ]
    voice_rows = _voice_rows(link_rows, found, decisions, names)
    gathered = {"diarization": feeds.versions[feed_id]}
    return Landing(feed_id, {"voices": voice_rows, "speaker_links": link_rows}, gathered=gathered)


def _speaker(row: SpeakerRow) -> EpisodeSpeaker:
    embedding = None if row.embedding is None else np.array(row.embedding, np.float32)
    # A lake of an earlier version does not say how much speech an embedding is made from.
    speech_ms = row.speech_ms if row.embedding_speech_ms is None else row.embedding_speech_ms
    return EpisodeSpeaker(row.speaker, embedding, row.embedding_model, speech_ms)


def _known(feeds: _Diarizations, feed_id: str, episodes: Sequence[DiarizedEpisode]) -> dict[str, list[Link]]:
    """Episode → its links, where all its speakers have been linked since it was diarized."""
    by_episode: dict[str, dict[str, SpeakerLinkRow]] = defaultdict(dict)
    for row in SPEAKER_LINKS.rows_of(feeds.links[feed_id]) if feed_id in feeds.links else ():
        by_episode[row.episode_id][row.speaker] = row
    known = {}
    for episode in episodes:
        before = by_episode.get(episode.episode_id, {})
        rows = [before.get(one.speaker) for one in episode.speakers]
        linked = [row for row in rows if row and row.diarization_version == episode.diarization_version]
        if len(linked) == len(rows):
            known[episode.episode_id] = [
                Link(row.speaker, row.voice_id, row.similarity, row.margin, row.method, row.reason) for row in linked
            ]
    return known


def _former(feeds: _Diarizations, feed_id: str) -> list[Voice]:
    rows = VOICES.rows_of(feeds.voices[feed_id]) if feed_id in feeds.voices else []
    return [
        Voice(row.voice_id, np.array(row.embedding, np.float32))
        for row in rows
        if row.embedding is not None and row.embedding_model == EMBEDDING_MODEL
    ]


def _names(lake: Lake, decisions: Decisions) -> dict[str, str]:
    """Voice → its name, or the name of the voice that it is the same as."""
    feeds = {feed_of_voice(same.voice_id) for same in decisions.same_as.values()}
    others = {name: text for feed_id in feeds for name, text in decisions_of(lake.home, feed_id).names.items()}
    of_others = {
        voice_id: others[same.voice_id] for voice_id, same in decisions.same_as.items() if same.voice_id in others
    }
    return {**of_others, **decisions.names}


def _link_row(commit: Commit, row: SpeakerRow, link: Link, names: Mapping[str, str]) -> SpeakerLinkRow:
    return SpeakerLinkRow(
        episode_id=commit.key, audio_sha256=row.audio_sha256, speaker=row.speaker, voice_id=link.voice_id,
        name=names.get(link.voice_id or ""), similarity=link.similarity, margin=link.margin, method=link.method,
        reason=link.reason, speech_ms=row.speech_ms, diarization_version=commit.data_version,
        engine_fingerprint=row.engine_fingerprint,
    )  # fmt: skip


def _voice_rows(
    links: Collection[SpeakerLinkRow], found: Sequence[Voice], decisions: Decisions, names: Mapping[str, str]
) -> list[VoiceRow]:
    centroids = {voice.voice_id: voice for voice in found}
    members: dict[str, list[SpeakerLinkRow]] = defaultdict(list)
    for link in links:
        if link.voice_id is not None:
            members[link.voice_id].append(link)
    decided = {*decisions.names, *decisions.merged.values()}
    rows = []
    for voice_id, own in sorted(members.items()):
        centroid, same = centroids.get(voice_id), decisions.same_as.get(voice_id)
        is_manual = voice_id in decided or any(link.method == MANUAL for link in own)
        rows.append(VoiceRow(
            voice_id=voice_id, name=names.get(voice_id), decided_by=MANUAL if is_manual else "automatic",
            n_episodes=len({link.episode_id for link in own}), speech_ms=sum(link.speech_ms for link in own),
            embedding=tuple(centroid.embedding.tolist()) if centroid else None,
            embedding_model=EMBEDDING_MODEL if centroid else None,
            same_as=same.voice_id if same else None, same_as_similarity=same.similarity if same else None,
            same_as_margin=same.margin if same else None, same_as_method=same.method if same else None,
        ))  # fmt: skip
    return rows
