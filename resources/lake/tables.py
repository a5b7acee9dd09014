"""Every table of the lake: its grain, its key, its columns, and the asset that writes it.

Times on the audio are INT32 milliseconds on the decoded timeline of `audio_sha256`; moments are UTC;
what is not known is NULL, and where the reason is not plain from the column it stands in a column of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

UTC = pa.timestamp("us", tz="UTC")
MS = pa.int32()
TEXTS = pa.list_(pa.string())


@dataclass(frozen=True)
class Table:
    """One table of the lake."""

    name: str
    asset: str
    """The only asset that writes it; the batch contract where it says so."""
    key: tuple[str, ...]
    """Primary key."""
    landing: tuple[str, ...]
    """The columns that name one landing, and so its file; none: the table is one landing."""
    description: str
    schema: pa.Schema

    @property
    def is_sealable(self) -> bool:
        """Whether stages commit its landings, so that compaction seals them."""
        return self.name == "stage_runs" or len(self.landing) == 1

    def landing_key(self, *values: str) -> str:
        """The name of a landing: `my-show-20260102-1a2b3c4d`, `my-show-20260102-1a2b3c4d.audio`, `all`."""
        if len(values) != len(self.landing):
            raise ValueError(f"a landing of {self.name} is named by {self.landing}, not by {values}")
        return ".".join(values) or "all"

    def of(self, rows: Iterable[object], **constants: object) -> pa.Table:
        """Rows as an Arrow table of this schema.

        Each column comes from `constants`, else from the row's attribute (or key) of that name.
        """
        rows = list(rows)
        columns = [
            [constants[field.name]] * len(rows)
            if field.name in constants
            else [_value(row, field.name) for row in rows]
            for field in self.schema
        ]
        arrays = [pa.array(values, type=field.type) for values, field in zip(columns, self.schema, strict=True)]
        return pa.Table.from_arrays(arrays, schema=self.schema)

    def conform(self, rows: pa.Table) -> pa.Table:
        """Rows that another version of podlake wrote, in this schema: columns by name, NULL for one that is missing."""
        columns = [
            rows[field.name].cast(field.type)
            if field.name in rows.column_names
            else pa.nulls(rows.num_rows, field.type)
            for field in self.schema
        ]
        return pa.Table.from_arrays(columns, schema=self.schema)


def _value(row: object, name: str) -> object:
    return row[name] if isinstance(row, Mapping) else getattr(row, name)


def _table(name: str, asset: str, key: str, description: str, *columns: pa.Field, landing: str = "episode_id") -> Table:
    return Table(name, asset, tuple(key.split()), tuple(landing.split()), description, pa.schema(columns))


def _col(name: str, kind: pa.DataType, description: str) -> pa.Field:
    """A column that always has a value."""
    return pa.field(name, kind, nullable=False, metadata={"description": description})


def _may(name: str, kind: pa.DataType, description: str) -> pa.Field:
    """A column that may be NULL; its description says when."""
    return pa.field(name, kind, nullable=True, metadata={"description": description})


_EPISODE = _col("episode_id", pa.string(), "The episode, which is its Dagster partition key.")
_SHA = _col("audio_sha256", pa.string(), "The acquisition (SHA-256 of the bytes) that the row was made from.")
_PROVENANCE = (
    _col("run_id", pa.string(), "The Dagster run that landed the row."),
    _col("landed_at", UTC, "When the row was landed."),
)
_DERIVED = (
    _EPISODE,
    _SHA,
    _col("engine_fingerprint", pa.string(), "Engine, model revision and settings, hashed: what makes rows stale."),
    *_PROVENANCE,
)

SUBSCRIPTIONS = _table(
    "subscriptions", "feeds", "feed_id",
    "What is subscribed to: a row per feed. `singles` holds the audio that was added by URL.",
    _col("feed_id", pa.string(), "Readable and made once: the feed's Dagster partition key."),
    _col("url", pa.string(), "Where the feed is read from."),
    _may("title", pa.string(), "Title given when it was added (by OPML, say); NULL where none was."),
    _may("language", pa.string(), "Language given when it was added, which outranks the feed's own; NULL where none was."),
    _col("n_items", pa.int32(), "Audio URLs added by hand to `singles`; 0 for feeds."),
    _col("added_at", UTC, "When it was added."),
    *_PROVENANCE,
    landing="",
)  # fmt: skip

POLLS = _table(
    "polls", "episodes", "feed_id",
    "What each feed said of itself at its last poll that worked. The view `feeds` joins it to the subscriptions.",
    _col("feed_id", pa.string(), "The feed."),
    _may("canonical_url", pa.string(), "Where the feed says that it lives; NULL where it does not say."),
    _may("podcast_guid", pa.string(), "podcast:guid, the same wherever the feed is hosted."),
    _may("title", pa.string(), "The feed's title."),
    _may("author", pa.string(), "The feed's author."),
    _may("language_declared", pa.string(), "The language as the feed writes it."),
    _may("language", pa.string(), "The same, normalised to its primary tag (`en-US` → `en`); NULL where it is none."),
    _col("categories", TEXTS, "itunes:category and category, as written."),
    _may("license", pa.string(), "podcast:license or the feed's copyright line."),
    _may("etag", pa.string(), "For the next conditional GET."),
    _may("last_modified", pa.string(), "For the next conditional GET."),
    _may("http_status", pa.int16(), "200, or 304 when nothing had changed; NULL for a local file."),
    _col("last_polled_at", UTC, "When it was polled."),
    _col("n_episodes", pa.int32(), "Episodes that the feed lists now."),
    _col("problems", TEXTS, "What was mended or left out while reading the feed, in words."),
    *_PROVENANCE,
    landing="feed_id",
)  # fmt: skip

_LINK = pa.struct([pa.field("url", pa.string()), pa.field("type", pa.string()), pa.field("language", pa.string())])

EPISODES = _table(
    "episodes", "episodes", "episode_id",
    "The catalogue: every episode that a feed has ever listed. A landing is a feed.",
    _EPISODE,
    _col("feed_id", pa.string(), "The feed it belongs to."),
    _col("guid", pa.string(), "The feed's own identifier; the enclosure's URL where the feed gives none."),
    _may("title", pa.string(), "Title."),
    _may("published_at", UTC, "pubDate; NULL where it is missing or unreadable."),
    _may("duration_declared_ms", pa.int64(), "itunes:duration; NULL where it is missing or unreadable."),
    _col("enclosure_url", pa.string(), "The audio's URL."),
    _may("enclosure_type", pa.string(), "Its MIME type, as the feed says."),
    _may("enclosure_length", pa.int64(), "Its length in bytes, as the feed says."),
    _may("season", pa.int32(), "itunes:season."),
    _may("episode_no", pa.int32(), "itunes:episode."),
    _may("language_declared", pa.string(), "Language as written: by the user, the item or the feed, in that order."),
    _may("language", pa.string(), "The same, normalised; NULL where nobody said."),
    _col("transcript_urls", pa.list_(_LINK), "podcast:transcript links."),
    _may("chapters_url", pa.string(), "podcast:chapters link."),
    _col("listed", pa.bool_(), "Whether the feed still lists it."),
    _col("first_seen_at", UTC, "When a poll first saw it."),
    _col("last_changed_at", UTC, "When a poll last saw it changed."),
    *_PROVENANCE,
    landing="feed_id",
)  # fmt: skip

_HOP = pa.struct([pa.field("url", pa.string()), pa.field("status", pa.int16())])

ACQUISITIONS = _table(
    "acquisitions", "audio", "audio_sha256 episode_id",
    "Bytes fetched for an episode. The same URL can answer with other bytes tomorrow.",
    _EPISODE,
    _SHA,
    _col("md5", pa.string(), "MD5 of the bytes, for matching other archives."),
    _col("requested_url", pa.string(), "The URL that was asked."),
    _col("final_url", pa.string(), "The URL that answered, after redirects."),
    _col("redirect_chain", pa.list_(_HOP), "Each redirect on the way: URL and status."),
    _col("fetched_at", UTC, "When the answer began."),
    _may("http_status", pa.int16(), "200 or 206; 304 when the stored bytes were still current; NULL for a local file."),
    _may("etag", pa.string(), "The answer's ETag."),
    _may("last_modified", pa.string(), "The answer's Last-Modified."),
    _may("content_type", pa.string(), "The answer's Content-Type, which may be wrong: `hashes` has the container."),
    _col("bytes", pa.int64(), "Length."),
    _col("attempts", pa.int16(), "Tries within the run."),
    _col("resumed", pa.bool_(), "Whether a part fetched earlier was continued."),
    _col("storage_uri", pa.string(), "Where the bytes lie, relative to the home: audio/ab/<sha256>.<ext>."),
    *_PROVENANCE,
)  # fmt: skip

HASHES = _table(
    "hashes", "hashes", "audio_sha256 episode_id",
    "What the bytes are: hashes, container facts, loudness. The same bytes under two episodes are two rows.",
    *_DERIVED,
    _col("sha256", pa.string(), "SHA-256 of the bytes."),
    _col("md5", pa.string(), "MD5 of the bytes."),
    _col("pcm16k_sha256", pa.string(), "SHA-256 of the decoded 16 kHz mono int16 samples: equal for the same audio in another container of a lossless codec."),
    _may("chromaprint", pa.string(), "Chromaprint fingerprint, as fpcalc writes it."),
    _may("chromaprint_absent_reason", pa.string(), "Why there is none."),
    _col("container", pa.string(), "Container format, from the bytes."),
    _col("codec", pa.string(), "Audio codec."),
    _may("bitrate", pa.int32(), "Bits per second, as the container says."),
    _col("sample_rate", pa.int32(), "Hz, before resampling."),
    _col("channels", pa.int16(), "Channels, before mixing down."),
    _may("duration_header_ms", MS, "Duration that the container claims; NULL where it claims none."),
    _col("duration_ms", MS, "Duration of the decoded samples: the timeline."),
    _col("decode_errors", pa.int32(), "Packets that could not be decoded."),
    _col("truncated", pa.bool_(), "Whether the file promises more audio than it holds."),
    _may("loudness_lufs", pa.float32(), "Integrated loudness, ITU-R BS.1770."),
    _may("loudness_absent_reason", pa.string(), "Why there is none."),
    _may("peak_dbfs", pa.float32(), "Peak sample; NULL for digital silence."),
    _col("clip_rate", pa.float32(), "Share of samples at full scale."),
    _col("silence_ratio", pa.float32(), "Share of 20 ms frames below -50 dBFS."),
)  # fmt: skip

SEGMENTS = _table(
    "segments", "diarization", "audio_sha256 episode_id segment_idx",
    "Who speaks when. Segments of two speakers may overlap.",
    *_DERIVED,
    _col("segment_idx", pa.int32(), "Order by start."),
    _col("speaker", pa.string(), "Speaker label, known within the episode only."),
    _col("start_ms", MS, "Start."),
    _col("end_ms", MS, "End."),
    _may("confidence", pa.float32(), "Mean posterior, 0–1; NULL where the engine gives none."),
    _col("overlap_ms", MS, "How much of it another speaker's segments cover."),
)  # fmt: skip

SPEAKERS = _table(
    "speakers", "diarization", "audio_sha256 episode_id speaker",
    "The voices of an episode. Labels are the episode's own, not people.",
    *_DERIVED,
    _col("speaker", pa.string(), "Speaker label."),
    _col("speech_ms", MS, "Total length of the speaker's segments."),
    _col("n_segments", pa.int32(), "Segments."),
    _col("first_ms", MS, "First start."),
    _may("embedding", pa.list_(pa.float32()), "Unit vector of the voice; NULL where the engine gives none."),
    _may("embedding_model", pa.string(), "What made the embedding."),
    _may("embedding_speech_ms", MS, "Speech that the embedding is made from."),
)  # fmt: skip

WORDS = _table(
    "words", "transcript", "audio_sha256 episode_id word_idx",
    "The words, with times and confidence.",
    *_DERIVED,
    _col("word_idx", pa.int32(), "Order by start."),
    _col("word", pa.string(), "The word as the engine writes it."),
    _col("start_ms", MS, "Start."),
    _col("end_ms", MS, "End."),
    _col("times_estimated", pa.bool_(), "Whether the times were spread over the chunk, because the engine gives none."),
    _may("confidence", pa.float32(), "Posterior, 0–1."),
    _may("confidence_absent_reason", pa.string(), "Why there is no confidence."),
    _col("chunk_idx", pa.int32(), "The silence-bounded chunk that it was decoded in."),
    _col("language", pa.string(), "Language of the transcriber that wrote it."),
)  # fmt: skip

WORD_SPEAKERS = _table(
    "word_speakers", "turns", "audio_sha256 episode_id word_idx",
    "Each word's speaker and the rule that chose it. The view `spoken_words` joins it to `words`.",
    *_DERIVED,
    _col("word_idx", pa.int32(), "The word."),
    _may("speaker", pa.string(), "Speaker; NULL where `rule` is `none`: nobody speaks near the word."),
    _col("rule", pa.string(), "inside, most_overlap, nearest or none."),
    _col("in_overlap", pa.bool_(), "Whether several speakers speak during the word."),
    _col("turn_idx", pa.int32(), "The turn that the word belongs to."),
)  # fmt: skip

TURNS = _table(
    "turns", "turns", "audio_sha256 episode_id turn_idx",
    "Consecutive words of one speaker.",
    *_DERIVED,
    _col("turn_idx", pa.int32(), "Order by start."),
    _may("speaker", pa.string(), "Speaker; NULL for words that nobody was found for."),
    _col("start_ms", MS, "Start of the first word."),
    _col("end_ms", MS, "End of the last word."),
    _col("text", pa.string(), "The words, joined."),
    _col("n_words", pa.int32(), "Words."),
    _may("mean_confidence", pa.float32(), "Mean confidence of the words; NULL where they have none."),
    _col("has_overlap", pa.bool_(), "Whether a word in it is spoken over."),
    _may("gap_before_ms", MS, "Silence since the previous turn, negative where it was interrupted; NULL for the first."),
)  # fmt: skip

QUALITY = _table(
    "quality", "quality", "audio_sha256 episode_id",
    "One row per episode: what came out, and what to be careful about.",
    *_DERIVED,
    _col("duration_ms", MS, "Decoded duration."),
    _col("speech_ms", MS, "Time in which somebody speaks."),
    _may("overlap_ratio", pa.float32(), "Share of speech in which two or more speak; NULL where nobody speaks."),
    _col("n_speakers", pa.int32(), "Speakers found."),
    _may("speaker_capacity", pa.int32(), "The most that the diarizer can tell apart; NULL where it has no limit."),
    _may("speakers_saturated", pa.bool_(), "Whether that limit was reached: there may be more speakers. NULL without a limit."),
    _col("n_words", pa.int32(), "Words."),
    _col("words_unassigned", pa.int32(), "Words that no speaker was found for."),
    _may("language_declared", pa.string(), "Normalised language from the catalogue; NULL where nobody said."),
    _may("language_detected", pa.string(), "Language of the text; NULL where there is too little of it."),
    _may("language_agrees", pa.bool_(), "Whether the two agree; NULL where either is NULL."),
    _may("mean_confidence", pa.float32(), "Mean confidence of the words; NULL where they have none."),
    _may("words_per_minute", pa.float32(), "Words per minute of speech; NULL where nobody speaks."),
    _col("usable_ms", MS, "Length of the turns of a known speaker in which nobody speaks over a word."),
    _col("flags", TEXTS, "What to be careful about: the flags stand in assets/speech/quality.py."),
)  # fmt: skip

_INPUT = pa.struct([pa.field("stage", pa.string()), pa.field("data_version", pa.string())])

STAGE_RUNS = _table(
    "stage_runs", "every stage (batch contract)", "run_id episode_id stage",
    "What each try at each stage did and cost. For the stage `episodes` the id is the feed's.",
    _col("run_id", pa.string(), "The Dagster run."),
    _col("root_run_id", pa.string(), "The run that it re-executes, or itself."),
    _EPISODE,
    _col("stage", pa.string(), "The asset."),
    _col("outcome", pa.string(), "landed, failed_permanent or failed_retryable."),
    _may("audio_sha256", pa.string(), "The acquisition worked on; NULL where it did not come so far."),
    _may("engine_fingerprint", pa.string(), "Fingerprint that the rows carry; NULL where it did not come so far."),
    _may("engine", pa.string(), "Engine's name; NULL for stages without one."),
    _may("model", pa.string(), "Model."),
    _may("device", pa.string(), "Device that it ran on, by name."),
    _may("peak_device_mb", pa.float32(), "Peak memory on the device during the batch; NULL on a CPU."),
    _may("speaker_capacity", pa.int32(), "The most speakers that the diarizer can tell apart; NULL without a limit or a diarizer."),
    _may("speech_ms", MS, "Speech that the transcriber's voice detector found; NULL for other stages."),
    _col("started_at", UTC, "When work on the batch began."),
    _col("finished_at", UTC, "When this episode was done."),
    _may("download_ms", pa.int32(), "Time downloading."),
    _may("decode_ms", pa.int32(), "Time decoding; 0 where the waveform was in the cache."),
    _may("engine_ms", pa.int32(), "The engine's own time on the episode."),
    _may("write_ms", pa.int32(), "Time landing the rows."),
    _may("audio_ms", MS, "Length of the audio."),
    _may("rtfx", pa.float32(), "Audio time ÷ engine time: times real time."),
    _may("batch_busy", pa.float32(), "Share of the batch so far in which the engine waited neither for audio nor to be rid of results; NULL for stages without one."),
    _col("batch_episodes", pa.int32(), "Episodes in the batch."),
    _col("attempts", pa.int16(), "Tries within the run."),
    _may("stamp", pa.string(), "The landing's stamp, which its files are named by; NULL for rows older than version 2."),
    _may("inputs", pa.list_(_INPUT), "The data version of each input that the rows were made from; NULL before version 2."),
    landing="episode_id stage",
)  # fmt: skip

FAILURES = _table(
    "failures", "every stage (batch contract)", "episode_id stage",
    "What has failed and not landed since. For the stage `episodes` the id is the feed's.",
    _EPISODE,
    _col("feed_id", pa.string(), "The feed."),
    _col("stage", pa.string(), "The asset."),
    _col("error_class", pa.string(), "What kind of error: the classes stand in speech/errors.py."),
    _col("retryable", pa.bool_(), "Whether another try can succeed by itself."),
    _col("attempts", pa.int16(), "Runs that have failed in a row."),
    _col("message", pa.string(), "What happened, to what, and what to do."),
    _col("first_at", UTC, "First failure in the row."),
    _col("last_at", UTC, "Last failure."),
    _may("next_retry_at", UTC, "When automation tries again; NULL where it will not."),
    _col("run_id", pa.string(), "The Dagster run that failed last."),
    _col("landed_at", UTC, "When the row was landed."),
    landing="episode_id stage",
)  # fmt: skip

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        SUBSCRIPTIONS, POLLS, EPISODES, ACQUISITIONS, HASHES, SEGMENTS, SPEAKERS, WORDS, WORD_SPEAKERS, TURNS, QUALITY,
        STAGE_RUNS, FAILURES,
    )
}  # fmt: skip


def describe(table: Table) -> Mapping[str, Any]:
    """Name → (type, description, nullable) of every column, in order."""
    return {
        field.name: (str(field.type), (field.metadata or {}).get(b"description", b"").decode(), field.nullable)
        for field in table.schema
    }
