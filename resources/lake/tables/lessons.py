"""Tables of lessons that are dubbed. Times are milliseconds on the timeline of the lesson's file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from resources.lake.tables.table import FILLED, Float32, Int32, Int64, LandedAt, RunId, Table

LessonId = Annotated[str, "The lesson, which is its Dagster partition key."]


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonRowBase:
    """A row of a lesson."""

    lesson_id: LessonId = FILLED
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonRow(LessonRowBase):
    """The lessons, and what their files hold."""

    title: Annotated[str, "Title."]
    course: Annotated[str | None, "The course that it belongs to."] = None
    source_language: Annotated[str, "Language that is spoken in it."]
    target_language: Annotated[str, "Language that it is dubbed in."]
    episode_id: Annotated[str | None, "The episode of the catalogue that it is; NULL: a file that a user gave."] = None
    source_uri: Annotated[str, "Its file in the home."]
    source_sha256: Annotated[str, "Hash of the file."]
    size_bytes: Annotated[Int64, "Its size."]
    container: Annotated[str, "Its format."]
    duration_ms: Annotated[Int32, "To the end of its longest stream."]
    audio_codec: Annotated[str, "Codec of the sound."]
    audio_channels: Annotated[Int32, "Channels of the sound."]
    sample_rate_hz: Annotated[Int32, "Sample rate of the sound."]
    video_codec: Annotated[str | None, "Codec of the picture; NULL: audio only."] = None
    width: Annotated[Int32 | None, "Width of the picture."] = None
    height: Annotated[Int32 | None, "Height of the picture."] = None
    frames_per_s: Annotated[Float32 | None, "Average rate of the picture."] = None
    added_by: Annotated[str, "Who added it."]
    added_at: Annotated[datetime, "When it was added."]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRow(LessonRowBase):
    """What a person decided at a gate, and about which version."""

    is_approved: Annotated[bool, "Whether the gate is open."]
    decided_by: Annotated[str, "Who decided."]
    note: Annotated[str | None, "Why."] = None
    decided_at: Annotated[datetime, "When."]
    review_no: Annotated[Int32, "Number of the decision in the ledger."]
    subject_version: Annotated[str, "Data version of what was reviewed."]


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonTranscriptRow(LessonRowBase):
    """The transcript of a lesson as a whole."""

    language: Annotated[str | None, "The language that it was decoded in."] = None
    n_words: Annotated[Int32, "Words."]
    n_speakers: Annotated[Int32, "Speakers that say them."]
    audio_ms: Annotated[Int32, "Length of the decoded sound."]
    transcriber_fingerprint: Annotated[str, "The transcriber."]
    diarizer_fingerprint: Annotated[str, "The diarizer."]


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonWordRow(LessonRowBase):
    """The words of a lesson, and who says them."""

    word_idx: Annotated[Int32, "The word, from 0."]
    word: Annotated[str, "As it was written down."]
    start_ms: Annotated[Int32, "Start."]
    end_ms: Annotated[Int32, "End."]
    confidence: Annotated[Float32 | None, "Of the transcriber, 0 to 1."] = None
    speaker: Annotated[str | None, "S1 for who speaks first, S2, …; NULL: nobody was found."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonStemsRow(LessonRowBase):
    """Voices and background of a lesson."""

    method: Annotated[str, "demucs, or duck: the whole sound is the background, and soft while somebody speaks."]
    model: Annotated[str | None, "The model that separated them."] = None
    vocals_uri: Annotated[str | None, "The voices alone, in the home."] = None
    background_uri: Annotated[str | None, "The sound without the voices, in the home."] = None


SentenceIdx = Annotated[Int32, "The sentence, from 0."]


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonSentenceRow(LessonRowBase):
    """The sentences of a lesson: the units that are translated and spoken."""

    sentence_idx: SentenceIdx
    first_word_idx: Annotated[Int32, "Its first word."]
    n_words: Annotated[Int32, "Its words, which follow each other."]
    speaker: Annotated[str | None, "Who says it."] = None
    start_ms: Annotated[Int32, "Start of its first word."]
    end_ms: Annotated[Int32, "End of its last word."]
    text: Annotated[str, "Its words."]


_KEY = ("lesson_id",)


def _table(name: str, asset: str, row: type[LessonRowBase], *more: str) -> Table:
    return Table(name, asset, (*_KEY, *more), row, landing=_KEY)


LESSONS: Table[LessonRow] = _table("lessons", "lesson_video", LessonRow)
CONTENT_REVIEWS: Table[ReviewRow] = _table("content_reviews", "content_review", ReviewRow)
LESSON_TRANSCRIPTS: Table[LessonTranscriptRow] = _table("lesson_transcripts", "lesson_transcript", LessonTranscriptRow)
LESSON_WORDS: Table[LessonWordRow] = _table("lesson_words", "lesson_transcript", LessonWordRow, "word_idx")
LESSON_STEMS: Table[LessonStemsRow] = _table("lesson_stems", "stems", LessonStemsRow)
LESSON_SENTENCES: Table[LessonSentenceRow] = _table("lesson_sentences", "sentences", LessonSentenceRow, "sentence_idx")
