"""`speech_text`: the text of a requested video, as it is written and as it is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.studio.reference_audio import requested
from pipeline.stage import Batch, Landing, Outcome, Stage, each
from resources.lake.tables.studio import SpokenChange
from resources.lake.tables.videos import SPEECH_TEXTS, SpeechTextRow
from resources.studio.video_ledger import VideoLedger
from speech.spoken_formulas import spoken_formulas
from speech.spoken_text import spoken_text

_SHOWN_CHARACTERS = 2_000


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["speech_texts"].to_pylist()
    changes = "\n".join(f"* {one['before']} → {one['after']}" for one in row["changes"])
    return {
        "title": row["title"],
        "said": row["spoken_text"][:_SHOWN_CHARACTERS],
        "changes": dg.MetadataValue.md(changes or "none"),
    }


@Stage(
    tables=(SPEECH_TEXTS,), ui_metadata=_ui_metadata, group="studio", batch_size=1, version="1",
    partition_kind="video",
)  # fmt: skip
def speech_text(batch: Batch, video_ledger: VideoLedger) -> Iterator[Outcome]:
    """Writes formulas, numbers, units, dates and abbreviations as they are spoken, and lists every change."""
    return each(batch.keys, lambda key: _text(key, video_ledger))


def _text(key: str, ledger: VideoLedger) -> Landing:
    request = requested(key, ledger)
    with_formulas, formulas = spoken_formulas(request.text, request.language)
    said, others = spoken_text(with_formulas, request.language)
    row = SpeechTextRow(
        title=request.title, language=request.language, user_id=request.user_id, requested_at=request.admitted_at,
        text=request.text, spoken_text=said,
        changes=tuple(SpokenChange(one.before, one.after) for one in (*formulas, *others)),
    )  # fmt: skip
    return Landing(key, {"speech_texts": [row]})
