"""`translation`: each sentence in the target language, or the failure that names the sentences without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import dagster as dg
import pyarrow as pa

from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.engines.translators import Translators
from resources.lake.lake import Lake
from resources.lake.tables.lessons import (
    LESSON_SENTENCES,
    LESSON_TERMS,
    LESSON_TRANSLATIONS,
    LESSONS,
    LessonRow,
    LessonSentenceRow,
    LessonTermRow,
    LessonTranslationRow,
)
from speech.errors import BadOutput
from speech.speaking_rate import max_characters
from speech.types import Term, TranslatedLine, TranslationRequest

_SHOWN = 12
_NAMED = 5


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    rows = tables["lesson_translations"]
    shown = rows.slice(0, _SHOWN).to_pylist()
    return {
        "lines": rows.num_rows,
        "remarks": rows.num_rows - rows["remark"].null_count,
        "excerpt": dg.MetadataValue.md("\n\n".join(row["text"] for row in shown)),
        "dagster/row_count": rows.num_rows,
    }


@Stage(
    tables=(LESSON_TRANSLATIONS,), ui_metadata=_ui_metadata, group="dubbing", batch_size=1, version="1",
    inputs=("lesson_video", "sentences", "terminology"), partition_kind="lesson", engine_slot="translator",
)  # fmt: skip
def translation(batch: Batch, lake: Lake, translators: Translators) -> Iterator[Outcome]:
    """Translates the sentences. A line that cannot be translated is no line of the source: it fails the lesson."""
    return each(batch.keys, lambda key: _translation(key, batch, lake, translators))


def _translation(key: str, batch: Batch, lake: Lake, translators: Translators) -> Landing:
    (lesson,) = batch.rows(lake, LESSONS, key)
    sentences = batch.rows(lake, LESSON_SENTENCES, key)
    asked = request(lesson, sentences, batch.rows(lake, LESSON_TERMS, key))
    with translators.loaded() as translator:
        spec, found = translator.spec, translator.translate(asked)
    texts = _texts(key, sentences, found)
    rows = [
        LessonTranslationRow(
            sentence_idx=index, text=text, n_tries=one.n_tries, max_characters=asked.limit(index), remark=one.problem,
            translator_fingerprint=spec.fingerprint,
        )
        for index, (text, one) in enumerate(zip(texts, found, strict=True))
    ]  # fmt: skip
    cost = Cost(engine_fingerprint=spec.fingerprint, engine=spec.name, model=spec.model)
    return Landing(key, {"lesson_translations": rows}, cost)


def request(
    lesson: LessonRow, sentences: list[LessonSentenceRow], terms: list[LessonTermRow]
) -> TranslationRequest:  # fmt: skip
    """The sentences of a lesson, each with the characters that can be said until the next one begins."""
    ends_ms = [after.start_ms for _, after in pairwise(sentences)] + [lesson.duration_ms]
    times_ms = [max(end_ms, one.end_ms) - one.start_ms for one, end_ms in zip(sentences, ends_ms, strict=True)]
    return TranslationRequest(
        lines=tuple(one.text for one in sentences),
        source_language=lesson.source_language,
        target_language=lesson.target_language,
        terms=tuple(Term(one.source, one.target or "", one.note or "") for one in terms),
        max_chars=tuple(max_characters(time_ms, lesson.target_language) for time_ms in times_ms),
        owner=lesson.lesson_id,
    )


def _texts(key: str, sentences: list[LessonSentenceRow], found: list[TranslatedLine]) -> list[str]:
    """Raises `BadOutput` unless each sentence has a translation."""
    if [one.line_idx for one in found] != list(range(len(sentences))):
        raise BadOutput(f"{key}: the translator gave {len(found)} lines for {len(sentences)} sentences.")
    missing = [one for one in found if not (one.text or "").strip()]
    if missing:
        named = "; ".join(
            f"{one.line_idx} ({sentences[one.line_idx].text[:60]!r}): {one.problem}" for one in missing[:_NAMED]
        )
        raise BadOutput(f"{key}: {len(missing)} of {len(sentences)} sentences have no translation: {named}")
    return [str(one.text) for one in found]
