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
    speaker: Annotated[str | None, "S1 for who speaks first, S2, …; NULL: no speaker was found."] = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonTermRow(LessonRowBase):
    """The terms of a lesson: what users have decided, and what the lesson repeats."""

    term_idx: Annotated[Int32, "Order: users' terms first."]
    source: Annotated[str, "In the language of the lesson."]
    target: Annotated[str | None, "Its translation; NULL: the translator chooses."] = None
    note: Annotated[str | None, "What it means."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonTranslationRow(LessonRowBase):
    """The sentences in the target language."""

    sentence_idx: SentenceIdx
    text: Annotated[str, "The translation."]
    n_tries: Annotated[Int32, "Answers until this one; 0: it was in the cache."]
    max_characters: Annotated[Int32 | None, "Characters that can be said in the time of the sentence."] = None
    remark: Annotated[str | None, "What is to be known about it: too long, words left as they are."] = None
    translator_fingerprint: Annotated[str, "The translator."]


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonSubtitleRow(LessonRowBase):
    """The files of subtitles."""

    kind: Annotated[str, "source, target or bilingual."]
    format: Annotated[str, "srt or vtt."]
    language: Annotated[str, "Its language; both, joined by +."]
    n_cues: Annotated[Int32, "Cues."]
    n_too_fast: Annotated[Int32, "Cues that are too long to read in their time."]
    uri: Annotated[str, "The file in the home."]


@dataclass(frozen=True, slots=True, kw_only=True)
class DubLineRow(LessonRowBase):
    """The translated sentences as a voice has said them: one WAV file each."""

    sentence_idx: SentenceIdx
    voice: Annotated[str, "S1 to S4: the name for which the voice is set."]
    engine: Annotated[str, "The synthesizer."]
    model: Annotated[str, "Its model."]
    voice_fingerprint: Annotated[str, "Hash of engine, model revision and settings."]
    clone: Annotated[str, "Whose voice it is: none, one, or segment."]
    spoken_text: Annotated[str, "As it is said: numbers, dates and abbreviations in words."]
    duration_ms: Annotated[Int32, "Length, without silence at its ends."]
    sample_rate_hz: Annotated[Int32, "Sample rate of the voice."]
    samples_sha256: Annotated[str, "Hash of the samples."]
    uri: Annotated[str, "The WAV file in the home."]
    engine_ms: Annotated[Int32, "Time that the voice took; 0 where the file was there from an interrupted run."]


@dataclass(frozen=True, slots=True, kw_only=True)
class DubAudioRow(LessonRowBase):
    """The dub: the spoken lines over the background."""

    uri: Annotated[str, "The file in the home."]
    sha256: Annotated[str, "Its hash."]
    duration_ms: Annotated[Int32, "Length."]
    source_ms: Annotated[Int32, "Length of the sound of the lesson."]
    loudness_lufs: Annotated[Float32, "Loudness of the lesson, which the lines have too."]
    unstretched_share: Annotated[Float32, "Share of the lines that are as fast as the voice said them."]
    highest_speed: Annotated[Float32, "Highest speed of a line: at most 1.4."]
    n_shortened: Annotated[Int32, "Lines that were shortened to fit."]
    longest_overflow_ms: Annotated[Int32, "How much a chunk exceeds its time: at most 600."]


@dataclass(frozen=True, slots=True, kw_only=True)
class DubTimeRow(LessonRowBase):
    """When each line is heard, and how fast."""

    sentence_idx: SentenceIdx
    chunk_idx: Annotated[Int32, "The chunk, whose lines have one speed and which begins with its source."]
    text: Annotated[str, "The translation as it is said at last."]
    is_shortened: Annotated[bool, "Whether it was shortened to fit."]
    start_ms: Annotated[Int32, "Start."]
    end_ms: Annotated[Int32, "End."]
    speed: Annotated[Float32, "1.0: not stretched."]
    spoken_ms: Annotated[Int32, "Length as the voice said it."]
    delay_ms: Annotated[Int32, "How much later than its sentence it begins."]


@dataclass(frozen=True, slots=True, kw_only=True)
class DubbedVideoRow(LessonRowBase):
    """The dubbed lesson."""

    uri: Annotated[str, "The file in the home."]
    sha256: Annotated[str, "Its hash."]
    size_bytes: Annotated[Int64, "Its size."]
    container: Annotated[str, "mp4 or mkv."]
    duration_ms: Annotated[Int32, "To the end of its longest stream."]
    source_ms: Annotated[Int32, "The same of the lesson."]
    subtitles: Annotated[str, "muxed, burnt or none."]


@dataclass(frozen=True, slots=True, kw_only=True)
class DubHearingRow(LessonRowBase):
    """What our own transcriber understands of the dub, compared with the lines."""

    word_error_rate: Annotated[Float32 | None, "Wrong, missing and invented words per word of the lines."] = None
    absent_reason: Annotated[str | None, "Why there is none."] = None
    n_words: Annotated[Int32, "Words of the lines, as they are said."]
    heard_text: Annotated[str | None, "What was understood."] = None
    transcriber_fingerprint: Annotated[str | None, "The transcriber."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedVideoRow(LessonRowBase):
    """Where dubbed lessons are published."""

    service: Annotated[str, "folder, s3 or kinescope."]
    location: Annotated[str, "The file, or the page that plays it."]
    video_id: Annotated[str | None, "The id that the service gave it."] = None
    sha256: Annotated[str, "Hash of the file that was published."]


_KEY = ("lesson_id",)


def _table(name: str, asset: str, row: type[LessonRowBase], *more: str) -> Table:
    return Table(name, asset, (*_KEY, *more), row, landing=_KEY)


LESSONS: Table[LessonRow] = _table("lessons", "lesson_video", LessonRow)
CONTENT_REVIEWS: Table[ReviewRow] = _table("content_reviews", "content_review", ReviewRow)
LESSON_TRANSCRIPTS: Table[LessonTranscriptRow] = _table("lesson_transcripts", "lesson_transcript", LessonTranscriptRow)
LESSON_WORDS: Table[LessonWordRow] = _table("lesson_words", "lesson_transcript", LessonWordRow, "word_idx")
LESSON_STEMS: Table[LessonStemsRow] = _table("lesson_stems", "stems", LessonStemsRow)
LESSON_SENTENCES: Table[LessonSentenceRow] = _table("lesson_sentences", "sentences", LessonSentenceRow, "sentence_idx")
LESSON_TERMS: Table[LessonTermRow] = _table("lesson_terms", "terminology", LessonTermRow, "term_idx")
LESSON_TRANSLATIONS: Table[LessonTranslationRow] = _table(
    "lesson_translations", "translation", LessonTranslationRow, "sentence_idx"
)
LESSON_SUBTITLES: Table[LessonSubtitleRow] = _table(
    "lesson_subtitles", "subtitles", LessonSubtitleRow, "kind", "format"
)
DUB_LINES: Table[DubLineRow] = _table("dub_lines", "dub_lines", DubLineRow, "sentence_idx")
DUB_AUDIO: Table[DubAudioRow] = _table("dub_audio", "dub_audio", DubAudioRow)
DUB_TIMES: Table[DubTimeRow] = _table("dub_times", "dub_audio", DubTimeRow, "sentence_idx")
DUBBED_VIDEOS: Table[DubbedVideoRow] = _table("dubbed_videos", "dubbed_video", DubbedVideoRow)
DUB_HEARINGS: Table[DubHearingRow] = _table("dub_hearings", "dub_hearing", DubHearingRow)
VOICEOVER_REVIEWS: Table[ReviewRow] = _table("voiceover_reviews", "voiceover_review", ReviewRow)
PUBLISHED_VIDEOS: Table[PublishedVideoRow] = _table("published_videos", "published_video", PublishedVideoRow)
