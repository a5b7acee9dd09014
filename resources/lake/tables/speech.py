"""Tables of speakers, words, turns and their quality. Times are milliseconds on the decoded timeline of the audio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from resources.lake.tables.table import DerivedRow, Float32, Int32, Table

DataVersion = Annotated[str | None, "Data version of the landing. NULL in lakes of older versions."]
"""The contract fills it. Rows that are made from others name the version of those, so that views join the right ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRow(DerivedRow):
    """Who speaks when. Segments of two speakers may overlap."""

    segment_idx: Annotated[Int32, "Order by start."]
    speaker: Annotated[str, "Speaker label, valid within the episode only."]
    start_ms: Annotated[Int32, "Start."]
    end_ms: Annotated[Int32, "End."]
    confidence: Annotated[Float32 | None, "Mean posterior, 0–1; NULL where the engine gives none."] = None
    overlap_ms: Annotated[Int32, "How much of it segments of other speakers cover."]
    data_version: DataVersion = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerRow(DerivedRow):
    """The voices of an episode. A label is valid in its episode and does not name a person."""

    speaker: Annotated[str, "Speaker label."]
    speech_ms: Annotated[Int32, "Total length of the speaker's segments."]
    n_segments: Annotated[Int32, "Segments."]
    first_ms: Annotated[Int32, "First start."]
    embedding: Annotated[tuple[Float32, ...] | None, "Unit vector of the voice, if the engine gives one."] = None
    embedding_model: Annotated[str | None, "The model that made the embedding."] = None
    embedding_speech_ms: Annotated[Int32 | None, "Speech that the embedding is made from."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WordRow(DerivedRow):
    """The words, with times and confidence."""

    word_idx: Annotated[Int32, "Order by start."]
    word: Annotated[str, "The word as the engine writes it."]
    start_ms: Annotated[Int32, "Start."]
    end_ms: Annotated[Int32, "End."]
    times_estimated: Annotated[bool, "Whether the times were spread over the chunk, because the engine gives none."]
    confidence: Annotated[Float32 | None, "Posterior, 0–1."] = None
    confidence_absent_reason: Annotated[str | None, "Why there is no confidence."] = None
    chunk_idx: Annotated[Int32, "The silence-bounded chunk that it was decoded in."]
    language: Annotated[str, "Language of the transcriber that wrote it."]
    data_version: DataVersion = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WordSpeakerRow(DerivedRow):
    """Each word's speaker and the rule that chose it. The view `spoken_words` joins it to `words`."""

    word_idx: Annotated[Int32, "The word."]
    speaker: Annotated[str | None, "Speaker; NULL where `rule` is `none`: no speaker is near the word."] = None
    rule: Annotated[str, "inside, most_overlap, nearest or none."]
    in_overlap: Annotated[bool, "Whether several speakers speak during the word."]
    turn_idx: Annotated[Int32, "The turn that the word belongs to."]
    transcript_version: Annotated[str | None, "Data version of the words; NULL in lakes of older versions."] = None
    diarization_version: Annotated[str | None, "Data version of the segments; NULL in lakes of older versions."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow(DerivedRow):
    """Consecutive words of one speaker."""

    turn_idx: Annotated[Int32, "Order by start."]
    speaker: Annotated[str | None, "Speaker; NULL for words without one."] = None
    start_ms: Annotated[Int32, "Start of the first word."]
    end_ms: Annotated[Int32, "End of the last word."]
    text: Annotated[str, "The words, joined."]
    n_words: Annotated[Int32, "Words."]
    mean_confidence: Annotated[Float32 | None, "Mean confidence of the words; NULL where they have none."] = None
    has_overlap: Annotated[bool, "Whether another speaker speaks during one of its words."]
    gap_before_ms: Annotated[Int32 | None, "Pause since the turn before, negative for an overlap; NULL: first."] = None
    first_word_idx: Annotated[Int32 | None, "Its first word, of `n_words`; NULL in lakes of older versions."] = None
    diarization_version: Annotated[str | None, "Data version of the segments; NULL in lakes of older versions."] = None


_KEY = ("audio_sha256", "episode_id")
SEGMENTS = Table("segments", "diarization", (*_KEY, "segment_idx"), SegmentRow)
SPEAKERS = Table("speakers", "diarization", (*_KEY, "speaker"), SpeakerRow)
WORDS = Table("words", "transcript", (*_KEY, "word_idx"), WordRow)
WORD_SPEAKERS = Table("word_speakers", "turns", (*_KEY, "word_idx"), WordSpeakerRow)
TURNS = Table("turns", "turns", (*_KEY, "turn_idx"), TurnRow)
