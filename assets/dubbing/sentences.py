"""`sentences`: the units that are translated and spoken, as spans of words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg
import pyarrow as pa

from pipeline.stage import Batch, Landing, Outcome, Stage, each
from resources.lake.lake import Lake
from resources.lake.tables.lessons import LESSON_SENTENCES, LESSON_TRANSCRIPTS, LESSON_WORDS, LessonSentenceRow
from speech.errors import BadLesson
from speech.sentences import build_sentences
from speech.types import Word

_SHOWN = 12


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    rows = tables["lesson_sentences"]
    shown = [f"**{row['speaker'] or '?'}** {row['text']}" for row in rows.slice(0, _SHOWN).to_pylist()]
    return {
        "sentences": rows.num_rows,
        "excerpt": dg.MetadataValue.md("\n\n".join(shown)),
        "dagster/row_count": rows.num_rows,
    }


@Stage(
    tables=(LESSON_SENTENCES,), ui_metadata=_ui_metadata, group="dubbing", batch_size=1, version="1",
    inputs=("lesson_transcript",), partition_kind="lesson",
)  # fmt: skip
def sentences(batch: Batch, lake: Lake) -> Iterator[Outcome]:
    """Divides the words at punctuation, pauses and changes of the speaker; what is too long is cut at a clause."""
    return each(batch.keys, lambda key: _sentences(key, batch, lake))


def _sentences(key: str, batch: Batch, lake: Lake) -> Landing:
    (transcript,) = batch.rows(lake, LESSON_TRANSCRIPTS, key)
    words = batch.rows(lake, LESSON_WORDS, key)
    found = build_sentences(
        [Word(row.word, row.start_ms, row.end_ms, row.confidence) for row in words],
        [row.speaker for row in words], language=transcript.language,
    )  # fmt: skip
    if not found:
        raise BadLesson(f"{key} has no speech, so there is nothing to dub.")
    rows = [LessonSentenceRow(**asdict(one)) for one in found]
    return Landing(key, {"lesson_sentences": rows})
