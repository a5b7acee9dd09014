"""`terminology`: the terms of a lesson, which every line translates in the same way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from pipeline.stage import Batch, Landing, Outcome, Stage, each
from resources.engines.translators import Translators
from resources.lake.lake import Lake
from resources.lake.tables.lessons import LESSON_SENTENCES, LESSON_TERMS, LESSONS, LessonTermRow
from speech.errors import BadLesson
from speech.terminology import TermsRefused, candidate_terms, course_terms


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    rows = tables["lesson_terms"].to_pylist()
    lines = [f"{row['source']} → {row['target'] or '?'}" for row in rows]
    return {
        "terms": len(rows),
        "list": dg.MetadataValue.md("\n\n".join(lines) or "*none*"),
        "dagster/row_count": len(rows),
    }


@Stage(
    tables=(LESSON_TERMS,), ui_metadata=_ui_metadata, group="dubbing", batch_size=1, version="1",
    inputs=("lesson_video", "sentences"), partition_kind="lesson",
)  # fmt: skip
def terminology(batch: Batch, lake: Lake, translators: Translators) -> Iterator[Outcome]:
    """Finds names and phrases that the lesson repeats. The users' list of terms goes before them."""
    return each(batch.keys, lambda key: _terms(key, batch, lake, translators))


def _terms(key: str, batch: Batch, lake: Lake, translators: Translators) -> Landing:
    (lesson,) = batch.rows(lake, LESSONS, key)
    lines = [row.text for row in batch.rows(lake, LESSON_SENTENCES, key)]
    try:
        own = translators.terms()
    except TermsRefused as error:
        raise BadLesson(f"PODLAKE_TERMS: {error}") from error
    found = course_terms(own, candidate_terms(lines, lesson.source_language))
    rows = [
        LessonTermRow(term_idx=index, source=one.source, target=one.target or None, note=one.note or None)
        for index, one in enumerate(found)
    ]
    return Landing(key, {"lesson_terms": rows})
