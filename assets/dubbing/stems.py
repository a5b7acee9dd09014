"""`stems`: the voices and the background of a lesson, as far as they can be told apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.lake.lake import Lake
from resources.lake.tables.lessons import LESSON_STEMS, LESSONS, LessonStemsRow
from resources.studio.lesson_files import LessonFiles
from speech.separation import Separation
from speech.stems import separate


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["lesson_stems"].to_pylist()
    return {"method": row["method"], "model": row["model"] or "none", "background": row["background_uri"] or "ducked"}


@Stage(
    tables=(LESSON_STEMS,), ui_metadata=_ui_metadata, group="dubbing", batch_size=1, version="1",
    inputs=("lesson_video", "lesson_transcript"), partition_kind="lesson", pool="gpu",
)  # fmt: skip
def stems(batch: Batch, lake: Lake, lesson_files: LessonFiles, separation: Separation) -> Iterator[Outcome]:
    """Separates voices from music and noise with Demucs, where it is installed. Else the whole sound is the
    background, and is made soft while somebody speaks.
    """
    return each(batch.keys, lambda key: _stems(key, batch, lake, lesson_files, separation))


def _stems(key: str, batch: Batch, lake: Lake, files: LessonFiles, separation: Separation) -> Landing:
    method = separation.method
    if method == "duck":
        return Landing(key, {"lesson_stems": [LessonStemsRow(method="duck")]})
    (lesson,) = batch.rows(lake, LESSONS, key)
    vocals, background = files.work(key, "vocals.flac"), files.work(key, "background.flac")
    separate(files.local(lesson.source_uri), vocals, background, separation.model)
    row = LessonStemsRow(
        method=method, model=separation.model, vocals_uri=files.add(key, vocals.name, vocals),
        background_uri=files.add(key, background.name, background),
    )  # fmt: skip
    return Landing(
        key, {"lesson_stems": [row]}, Cost(engine="demucs", model=separation.model, audio_ms=lesson.duration_ms)
    )
