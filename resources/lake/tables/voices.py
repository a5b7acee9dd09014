"""Tables of voices: the speakers of different episodes that are one person. A landing is a feed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from resources.lake.tables.table import FILLED, Float32, Int32, Int64, LandedAt, RunId, Table

FeedOfVoice = Annotated[str, "The feed. Voices of different feeds are linked by `same_as` only."]


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceRow:
    """The voices of each feed: a voice is one person across episodes."""

    voice_id: Annotated[str, "Made of the voice's first speaker; it stays when episodes are added or repeated."]
    feed_id: FeedOfVoice = FILLED
    name: Annotated[str | None, "The name that a user gave it, or the voice that it is the same as."] = None
    decided_by: Annotated[str, "`manual` if a user named it, merged it or moved a speaker to it, else `automatic`."]
    n_episodes: Annotated[Int32, "Episodes with it."]
    speech_ms: Annotated[Int64, "Total length of its speakers' segments."]
    embedding: Annotated[tuple[Float32, ...] | None, "Mean of its speakers' embeddings, a unit vector."] = None
    embedding_model: Annotated[str | None, "The model that made the embeddings."] = None
    same_as: Annotated[str | None, "The voice of another feed that is the same person."] = None
    same_as_similarity: Annotated[Float32 | None, "Cosine similarity to that voice."] = None
    same_as_margin: Annotated[
        Float32 | None, "How much more similar that voice is than the next of its feed, if near."
    ] = None
    same_as_method: Annotated[str | None, "`across` (podlake voices link --across) or `manual`."] = None
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerLinkRow:
    """Each speaker's voice, or why it has none. The views `spoken_words` and `transcript` show the names."""

    feed_id: FeedOfVoice = FILLED
    episode_id: Annotated[str, "The episode."]
    audio_sha256: Annotated[str, "The acquisition (SHA-256 of the bytes) in which the speaker speaks."]
    speaker: Annotated[str, "Speaker label in the episode."]
    voice_id: Annotated[str | None, "The voice; NULL where `reason` says why."] = None
    name: Annotated[str | None, "Name of the voice, if a user gave it one."] = None
    similarity: Annotated[
        Float32 | None,
        "Cosine similarity to the voice when it was linked, without what all voices share; NULL for its first speaker.",
    ] = None
    margin: Annotated[
        Float32 | None, "How much more similar the voice is than any other; negative if that is taken; NULL: no other."
    ] = None
    method: Annotated[str | None, "new (first speaker of a voice), similarity or manual; NULL without a voice."] = None
    reason: Annotated[str | None, "Why it has no voice: too_little_speech, no_embedding or other_model."] = None
    speech_ms: Annotated[Int32, "Total length of the speaker's segments."]
    diarization_version: Annotated[str, "Data version of the diarization that found the speaker."]
    engine_fingerprint: Annotated[str, "Engine of the diarization."]
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED


VOICES = Table("voices", "voices", ("voice_id",), VoiceRow, landing=("feed_id",))
SPEAKER_LINKS = Table(
    "speaker_links", "voices", ("audio_sha256", "episode_id", "speaker"), SpeakerLinkRow, landing=("feed_id",)
)
