"""`podcast_hearing`: what our own transcriber understands of a podcast, compared with its script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.stage import Batch, Cost, Failure, Landing, Outcome, Stage
from resources.engines.routing import Audio, Done, Engines
from resources.lake.lake import Lake
from resources.lake.tables.studio import (
    PODCAST_AUDIO,
    PODCAST_HEARINGS,
    SCRIPT_TURNS,
    SCRIPTS,
    PodcastHearingRow,
)
from resources.studio.files import StudioFiles
from speech.errors import LanguageWithoutEngine, PodlakeError
from speech.script import without_sound_tags
from speech.spoken_text import spoken_text
from speech.turns import join_words
from speech.types import Transcript
from speech.word_errors import normalised_words, word_error_rate


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["podcast_hearings"].to_pylist()
    rate = row["word_error_rate"]
    shown: dict[str, Any] = {"heard": row["heard_text"] or row["absent_reason"], "script_words": row["n_script_words"]}
    return shown if rate is None else {**shown, "word_error_rate": rate}


@Stage(
    tables=(PODCAST_HEARINGS,), ui_metadata=_ui_metadata, group="studio", batch_size=1, version="1",
    inputs=("script", "podcast_audio", "stream_package"), partition_kind="podcast",
)  # fmt: skip
def podcast_hearing(batch: Batch, lake: Lake, engines: Engines, studio_files: StudioFiles) -> Iterator[Outcome]:
    """Transcribes the finished audio, and counts the words that differ from the script as it is said."""
    audio, references, languages = list[Audio](), dict[str, list[str]](), dict[str, str]()
    for key in batch.keys:
        try:
            (script,), (made,) = batch.rows(lake, SCRIPTS, key), batch.rows(lake, PODCAST_AUDIO, key)
            texts = [without_sound_tags(turn.spoken_text) for turn in batch.rows(lake, SCRIPT_TURNS, key)]
            references[key], languages[key] = normalised_words(texts, script.language), script.language
            audio.append(Audio(key, made.mp3_sha256, studio_files.local(made.mp3_path), script.language))
        except (PodlakeError, OSError) as error:
            yield Failure(key, error)
    for done in engines.transcribe(audio):
        key = done.audio.episode_id
        yield _outcome(done, references[key], languages[key])


def _outcome(done: Done, reference: list[str], language: str) -> Outcome:
    key, fingerprint = done.audio.episode_id, done.spec.fingerprint if done.spec else None
    if isinstance(done.error, LanguageWithoutEngine):
        row = PodcastHearingRow(n_script_words=len(reference), absent_reason=str(done.error))
        return Landing(key, {"podcast_hearings": [row]})
    if not isinstance(done.result, Transcript):
        return Failure(key, done.error or RuntimeError("The engine gave no result."))
    heard = join_words(word.text for word in done.result.words)
    said, _ = spoken_text(heard, language)  # the transcriber writes figures; the script has words by now
    row = PodcastHearingRow(
        word_error_rate=word_error_rate(normalised_words([said], language), reference),
        n_script_words=len(reference), heard_text=heard, transcriber_fingerprint=fingerprint,
    )  # fmt: skip
    cost = Cost(
        engine_fingerprint=fingerprint, engine=done.spec.name if done.spec else None, device=done.device,
        engine_ms=done.result.engine_ms, audio_ms=done.audio_ms,
    )  # fmt: skip
    return Landing(key, {"podcast_hearings": [row]}, cost)
