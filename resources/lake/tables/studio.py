"""Tables of podcasts that are made from scripts. Times are milliseconds on the finished audio."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from resources.lake.tables.table import FILLED, Float32, Int32, Int64, LandedAt, RunId, Table

PodcastId = Annotated[str, "The podcast, which is its Dagster partition key."]
Title = Annotated[str, "Title."]
WrittenText = Annotated[str, "As it is written."]
FileBytes = Annotated[Int64, "Its size."]
FileHash = Annotated[str, "Its hash."]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodcastRow:
    """A row of a podcast that is made from a script."""

    podcast_id: PodcastId = FILLED
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow(PodcastRow):
    """A row of a turn of the script."""

    turn_idx: Annotated[Int32, "The turn of the script, from 0."]
    speaker: Annotated[str, "S1 to S4."]


@dataclass(frozen=True, slots=True)
class SpokenChange:
    """A place where a turn is said in other words than it is written in."""

    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptRow(PodcastRow):
    """The scripts, as they were requested."""

    title: Title
    language: Annotated[str, "Language tag."]
    seed: Annotated[Int64, "Seed of the voices."]
    script: Annotated[str, "The script as it was written."]
    n_turns: Annotated[Int32, "Turns."]
    speakers: Annotated[tuple[str, ...], "Speakers, in the order of their first turns."]
    requested_at: Annotated[datetime, "When it was requested."]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptTurnRow(TurnRow):
    """The turns of a script, as they are written and as they are said."""

    text: WrittenText
    spoken_text: Annotated[str, "As it is said: formulas, numbers, dates and abbreviations in words."]
    changes: Annotated[tuple[SpokenChange, ...], "What differs; formulas first."]
    problems: Annotated[tuple[str, ...] | None, "Formulas that cannot be read, and why."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechLineRow(TurnRow):
    """The turns as a voice has said them: one WAV file each."""

    engine: Annotated[str, "The synthesizer."]
    model: Annotated[str, "Its model."]
    voice_fingerprint: Annotated[str, "Hash of engine, model revision and settings."]
    seed: Annotated[Int64, "Seed."]
    duration_ms: Annotated[Int32, "Length, without silence at its ends."]
    sample_rate_hz: Annotated[Int32, "Sample rate of the voice."]
    samples_sha256: Annotated[str, "Hash of the samples."]
    path: Annotated[str, "The WAV file in the home."]
    engine_ms: Annotated[Int32, "Time that the voice took; 0 where the file was there from an interrupted run."]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodcastAudioRow(PodcastRow):
    """The finished audio. Loudness and peak are measured on the decoded MP3."""

    title: Title
    duration_ms: Annotated[Int32, "Length."]
    loudness_lufs: Annotated[Float32, "Integrated loudness, ITU-R BS.1770-4: -19 in mono."]
    true_peak_dbtp: Annotated[Float32, "Peak between samples, four times oversampled: at most -1."]
    channels: Annotated[Int32, "1: mono."]
    sample_rate_hz: Annotated[Int32, "Sample rate."]
    mp3_path: Annotated[str, "The MP3 file in the home."]
    mp3_bytes: FileBytes
    mp3_sha256: FileHash
    opus_path: Annotated[str, "The Opus file in the home."]
    opus_bytes: FileBytes
    opus_sha256: FileHash
    n_chapters: Annotated[Int32, "Chapters in the tags of both files."]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodcastTurnRow(TurnRow):
    """When each turn is said. The times are exact: the audio was assembled from them."""

    start_ms: Annotated[Int32, "Start."]
    end_ms: Annotated[Int32, "End."]
    text: WrittenText


@dataclass(frozen=True, slots=True, kw_only=True)
class PodcastTranscriptRow(PodcastRow):
    """The files that accompany the audio."""

    vtt_path: Annotated[str, "Captions in WebVTT, in the home."]
    json_path: Annotated[str, "The transcript in the JSON format of Podcasting 2.0."]
    chapters_path: Annotated[str, "The chapters in the JSON format of Podcasting 2.0."]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamClusterRow(PodcastRow):
    """The WebM stream in parts that can be sent one by one. The part -1 is the header, which comes first."""

    cluster_idx: Annotated[Int32, "Order; -1: the header."]
    start_ms: Annotated[Int32, "Start of its audio."]
    end_ms: Annotated[Int32, "End of its audio."]
    offset_bytes: Annotated[Int64, "Where it begins in the file."]
    size_bytes: Annotated[Int32, "Its size."]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPackageRow(PodcastRow):
    """The audio as a stream that browsers play while it arrives."""

    path: Annotated[str, "The WebM file in the home."]
    mime: Annotated[str, "Its MIME type, as MediaSource takes it."]
    size_bytes: FileBytes
    n_clusters: Annotated[Int32, "Parts of half a second, without the header."]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodcastHearingRow(PodcastRow):
    """What our own transcriber understands of the finished audio, compared with the script."""

    word_error_rate: Annotated[Float32 | None, "Wrong, missing and invented words per word of the script."] = None
    absent_reason: Annotated[str | None, "Why there is none."] = None
    n_script_words: Annotated[Int32, "Words of the script, as they are said."]
    heard_text: Annotated[str | None, "What was understood."] = None
    transcriber_fingerprint: Annotated[str | None, "The transcriber."] = None


_KEY = ("podcast_id",)


def _table(name: str, asset: str, row: type[PodcastRow], *more: str) -> Table:
    return Table(name, asset, (*_KEY, *more), row, landing=_KEY)


SCRIPTS: Table[ScriptRow] = _table("scripts", "script", ScriptRow)
SCRIPT_TURNS: Table[ScriptTurnRow] = _table("script_turns", "script", ScriptTurnRow, "turn_idx")
SPEECH_LINES: Table[SpeechLineRow] = _table("speech_lines", "speech_lines", SpeechLineRow, "turn_idx")
PODCAST_AUDIO: Table[PodcastAudioRow] = _table("podcast_audio", "podcast_audio", PodcastAudioRow)
PODCAST_TURNS: Table[PodcastTurnRow] = _table("podcast_turns", "podcast_audio", PodcastTurnRow, "turn_idx")
PODCAST_TRANSCRIPTS: Table[PodcastTranscriptRow] = _table(
    "podcast_transcripts", "podcast_transcript", PodcastTranscriptRow
)
STREAM_PACKAGES: Table[StreamPackageRow] = _table("stream_packages", "stream_package", StreamPackageRow)
STREAM_CLUSTERS: Table[StreamClusterRow] = _table("stream_clusters", "stream_package", StreamClusterRow, "cluster_idx")
PODCAST_HEARINGS: Table[PodcastHearingRow] = _table("podcast_hearings", "podcast_hearing", PodcastHearingRow)
