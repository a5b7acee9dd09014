"""Tables that the batch contract writes about every stage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from resources.lake.commits import UNKNOWN, Commit, digest, engine_version, new_commit
from resources.lake.tables.table import FILLED, EpisodeId, FeedId, Float32, Int16, Int32, LandedAt, RunId, Table
from speech.types import SpokenLanguage


@dataclass(frozen=True, slots=True)
class InputVersion:
    """An input of a landing."""

    stage: str
    data_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRunRow:
    """What each try at each stage did and cost. For the stage `episodes` the id is the feed's."""

    run_id: Annotated[str, "The Dagster run."]
    root_run_id: Annotated[str, "The run that it re-executes, or itself."]
    episode_id: EpisodeId
    stage: Annotated[str, "The asset."]
    outcome: Annotated[str, "landed, failed_permanent or failed_retryable."]
    audio_sha256: Annotated[str | None, "The acquisition that was used; NULL where the try failed before."] = None
    engine_fingerprint: Annotated[str | None, "Fingerprint of the rows; NULL where the try failed before."] = None
    engine: Annotated[str | None, "Engine's name; NULL for stages without one."] = None
    model: Annotated[str | None, "Model."] = None
    device: Annotated[str | None, "Device that it ran on, by name."] = None
    peak_device_mb: Annotated[Float32 | None, "Peak memory on the device during the batch; NULL on a CPU."] = None
    speaker_capacity: Annotated[Int32 | None, "Most speakers that the diarizer tells apart; NULL: no limit."] = None
    speech_ms: Annotated[Int32 | None, "Speech that the transcriber found; NULL for other stages."] = None
    started_at: Annotated[datetime, "When work on the batch began."]
    finished_at: Annotated[datetime, "When this episode was done."]
    download_ms: Annotated[Int32 | None, "Time downloading."] = None
    decode_ms: Annotated[Int32 | None, "Time decoding; 0 where the waveform was in the cache."] = None
    engine_ms: Annotated[Int32 | None, "The engine's own time on the episode."] = None
    write_ms: Annotated[Int32 | None, "Time landing the rows."] = None
    audio_ms: Annotated[Int32 | None, "Length of the audio."] = None
    rtfx: Annotated[Float32 | None, "Audio time ÷ engine time: times real time."] = None
    batch_episodes: Annotated[Int32, "Episodes in the batch."]
    attempts: Annotated[Int16, "Tries within the run."]
    stamp: Annotated[str | None, "Stamp in the landing's file names; NULL before version 2."] = None
    inputs: Annotated[tuple[InputVersion, ...] | None, "Data version of each input; NULL before version 2."] = None
    dropped_words: Annotated[Int32 | None, "Words that the transcriber removed: loops, text in noise."] = None
    engine_utilization: Annotated[
        Float32 | None, "Share of the time since the engine began to load in which it worked; NULL without an engine."
    ] = None
    spoken_languages: Annotated[
        tuple[SpokenLanguage, ...] | None, "Languages by sound, the likeliest first; NULL for other stages."
    ] = None
    spoken_language_absent_reason: Annotated[str | None, "Why the transcriber identified no language."] = None
    reused_from: Annotated[
        str | None,
        "The episode with the same audio from whose landing the rows are; NULL: they were made for this one.",
    ] = None
    worker: Annotated[str | None, "Worker that the engine ran on; NULL: in the run itself."] = None
    worker_host: Annotated[str | None, "The worker's machine."] = None
    worker_version: Annotated[str | None, "The worker's version of podlake."] = None
    redone_from: Annotated[
        str | None,
        "The diarizer whose result `engine` has replaced, because it found as many speakers as it can; NULL otherwise.",
    ] = None

    @property
    def commit(self) -> Commit:
        """The landing. One of lake version 1 has no stamp, and gets one that is always the same."""
        if self.stamp is not None:
            return Commit(self.episode_id, self.stage, self.stamp)
        return new_commit(
            self.episode_id,
            self.stage,
            data=digest([self.stage, self.audio_sha256 or "", self.engine_fingerprint or ""]),
            inputs=UNKNOWN,
            engine=engine_version(self.engine_fingerprint, "1"),
            at=self.finished_at,
        )

    @property
    def data_version(self) -> str:
        """Changes when the content of the landed rows does."""
        return self.commit.data_version


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow:
    """What has failed and not landed since. For the stage `episodes` the id is the feed's."""

    episode_id: EpisodeId
    feed_id: FeedId
    stage: Annotated[str, "The asset."]
    error_class: Annotated[str, "What kind of error: speech/errors.py defines the classes."]
    retryable: Annotated[bool, "Whether another try can succeed without a change."]
    attempts: Annotated[Int16, "Runs that have failed in succession."]
    message: Annotated[str, "What happened, to what, and what to do."]
    first_at: Annotated[datetime, "First of these failures."]
    last_at: Annotated[datetime, "Last failure."]
    next_retry_at: Annotated[datetime | None, "When automation tries again; NULL where it will not."] = None
    run_id: Annotated[str, "The Dagster run that failed last."]
    landed_at: Annotated[datetime, "When the row was landed."]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResultRow:
    """What the last run of the checks found. The checks are in sql/checks."""

    check_name: Annotated[str, "Its name."]
    asset: Annotated[str, "The asset whose rows it checks."]
    description: Annotated[str, "What holds where it passes."]
    is_error: Annotated[bool, "Whether later results are wrong where it fails; else it is a warning."]
    n_wrong: Annotated[Int32, "Rows or partitions for which it does not hold; 0: it passes."]
    examples: Annotated[tuple[str, ...], "The first of them: partition and what is wrong."]
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED


_WRITER = "every stage (batch contract)"
_BY_STAGE = ("episode_id", "stage")
STAGE_RUNS = Table("stage_runs", _WRITER, ("run_id", *_BY_STAGE), StageRunRow, landing=_BY_STAGE)
FAILURES = Table("failures", _WRITER, _BY_STAGE, FailureRow, landing=_BY_STAGE)
CHECK_RESULTS = Table("check_results", "checks", ("check_name",), CheckResultRow, landing=())
