"""Tables of audio that occurs more than once: near copies of episodes, and stretches that recur within a feed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from resources.lake.tables.table import FILLED, AudioSha256, EpisodeId, FeedId, Float32, Int32, LandedAt, RunId, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class SameAudioRow:
    """An episode whose audio another episode has too. The original of a group, published first, has no row."""

    episode_id: Annotated[str, "The copy."]
    audio_sha256: AudioSha256
    original_episode_id: Annotated[str, "The original: the episode of the group that was published first."]
    original_audio_sha256: Annotated[str, "The acquisition of the original."]
    method: Annotated[str, "bytes (equal files), samples (equal after decoding) or chromaprint (similar by ear)."]
    similarity: Annotated[Float32, "Share of equal bits of the fingerprints where both have the same audio; else 1."]
    share: Annotated[Float32, "Share of the longer episode that both have."]
    offset_ms: Annotated[Int32, "Time in the copy minus time in the original, in the longest common stretch."]
    common_ms: Annotated[Int32 | None, "What both have; NULL: all."] = None
    run_id: RunId
    landed_at: Annotated[datetime, "When the copies were last searched for."]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedAudioRow:
    """An occurrence of an ad, a jingle or an intro: audio that recurs in a feed. Near copies do not count."""

    feed_id: FeedId = FILLED
    episode_id: EpisodeId
    audio_sha256: AudioSha256
    start_ms: Annotated[Int32, "Start, to about half a second."]
    end_ms: Annotated[Int32, "End, to about half a second."]
    repeat_id: Annotated[str, "What recurs. Landings of the feed number it anew."]
    n_episodes: Annotated[Int32, "Episodes of the feed in which it occurs; 1: more than once in this one."]
    n_occurrences: Annotated[Int32, "How often it occurs in the feed."]
    similarity: Annotated[Float32, "Mean share of equal bits of its fingerprint and those of other occurrences."]
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED


SAME_AUDIO = Table("same_audio", "same_audio", ("audio_sha256", "episode_id"), SameAudioRow, landing=())
REPEATED_AUDIO = Table(
    "repeated_audio", "repeated_audio", ("audio_sha256", "episode_id", "start_ms"), RepeatedAudioRow,
    landing=("feed_id",),
)  # fmt: skip
