"""`transcript`: write down the words with their times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.speech.engine_cost import cost_of
from pipeline.audio_inputs import audio_inputs
from pipeline.stage import Batch, Failure, Landing, Outcome, stage
from resources.engines.routing import ASSUMED_LANGUAGE, Done, Engines
from resources.fetch.audio_store import AudioStore
from resources.lake.catalogue import Catalogue
from resources.lake.tables.speech import WORDS, WordRow
from speech.turns import join_words
from speech.types import Transcript

EXCERPT_WORDS = 120


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    words = tables["words"]
    excerpt = join_words(words["word"].slice(0, EXCERPT_WORDS).to_pylist())
    confidences = [value for value in words["confidence"].to_pylist() if value is not None]
    shown: dict[str, Any] = {
        "words": words.num_rows,
        "excerpt": dg.MetadataValue.md(f"> {excerpt} …" if excerpt else "*No words: nobody speaks.*"),
        "dagster/row_count": words.num_rows,
    }
    if confidences:
        shown["mean_confidence"] = sum(confidences) / len(confidences)
    return shown


@stage(
    tables=[WORDS], ui_metadata=_ui_metadata, group="speech", batch_size=24, version="1", inputs=("audio",), pool="gpu",
    engine_slot="transcriber",
)  # fmt: skip
def transcript(batch: Batch, catalogue: Catalogue, audio_store: AudioStore, engines: Engines) -> Iterator[Outcome]:
    """Writes down the words of silence-bounded chunks, with times and, where the engine gives one, a confidence."""
    unreadable: list[Failure] = []
    for done in engines.transcribe(audio_inputs(batch, catalogue, audio_store, unreadable)):
        cost = cost_of(done)
        if not isinstance(done.result, Transcript):
            yield Failure(done.audio.episode_id, done.error or RuntimeError("The engine gave no result."), cost)
        else:
            yield Landing(done.audio.episode_id, {"words": _rows(done, done.result)}, cost)
    yield from unreadable


def _rows(done: Done, found: Transcript) -> list[WordRow]:
    language = found.language or done.audio.language or ASSUMED_LANGUAGE
    absent = found.confidence_absent or "the engine gave none"
    return [
        WordRow(
            word_idx=index, word=word.text, start_ms=word.start_ms, end_ms=word.end_ms, chunk_idx=word.chunk_idx,
            times_estimated=word.times_estimated, confidence=word.confidence, language=language,
            confidence_absent_reason=absent if word.confidence is None else None,
        )
        for index, word in enumerate(found.words)
    ]  # fmt: skip
