"""`transcript`: write down the words with their times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.speech.engine_outcomes import engine_outcomes
from pipeline.stage import Batch, Outcome, Stage
from resources.engines.routing import ASSUMED_LANGUAGE, Audio, Engines
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
        "excerpt": dg.MetadataValue.md(f"> {excerpt} …" if excerpt else "*No words: there is no speech.*"),
        "dagster/row_count": words.num_rows,
    }
    if confidences:
        shown["mean_confidence"] = sum(confidences) / len(confidences)
    return shown


@Stage(
    tables=(WORDS,), ui_metadata=_ui_metadata, group="speech", batch_size=24, version="1", inputs=("audio",), pool="gpu",
    engine_slot="transcriber",
)  # fmt: skip
def transcript(batch: Batch, catalogue: Catalogue, audio_store: AudioStore, engines: Engines) -> Iterator[Outcome]:
    """Writes down the words of silence-bounded chunks, with times and, where the engine gives one, a confidence."""
    return engine_outcomes(
        transcript, batch, catalogue, audio_store, engines.transcribe, _rows, engines.transcriber_fingerprint
    )


def _rows(audio: Audio, found: Transcript) -> dict[str, list[WordRow]]:
    language = found.language or audio.language or ASSUMED_LANGUAGE
    absent = found.confidence_absent or "the engine gave none"
    rows = [
        WordRow(
            word_idx=index, word=word.text, start_ms=word.start_ms, end_ms=word.end_ms, chunk_idx=word.chunk_idx,
            times_estimated=word.times_estimated, confidence=word.confidence, language=language,
            confidence_absent_reason=absent if word.confidence is None else None,
        )
        for index, word in enumerate(found.words)
    ]  # fmt: skip
    return {"words": rows}
