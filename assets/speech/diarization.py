"""`diarization`: find who speaks when."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.speech.engine_outcomes import engine_outcomes
from pipeline.stage import Batch, Outcome, Stage
from resources.engines.routing import Audio, Engines
from resources.fetch.audio_store import AudioStore
from resources.lake.catalogue import Catalogue
from resources.lake.tables.speech import SEGMENTS, SPEAKERS, SegmentRow, SpeakerRow
from speech.overlaps import overlap_of_each, union_ms
from speech.timeline import timeline_png
from speech.types import Diarization, Segment


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    rows = SEGMENTS.rows_of(tables["segments"])
    segments = [Segment(row.speaker, row.start_ms, row.end_ms, row.confidence) for row in rows]
    speakers = sorted(SPEAKERS.rows_of(tables["speakers"]), key=lambda row: row.speech_ms, reverse=True)
    end_ms = max((segment.end_ms for segment in segments), default=0)
    picture = base64.b64encode(timeline_png(segments, end_ms)).decode()
    total_ms = sum(row.speech_ms for row in speakers) or 1
    records = [
        dg.TableRecord(
            {
                "speaker": row.speaker,
                "seconds": round(row.speech_ms / 1000, 1),
                "share": f"{row.speech_ms / total_ms:.0%}",
                "segments": row.n_segments,
            }
        )
        for row in speakers
    ]
    return {
        "timeline": dg.MetadataValue.md(f"![who speaks when](data:image/png;base64,{picture})"),
        "speakers": len(speakers),
        "speaker_table": dg.MetadataValue.table(records, schema=_SPEAKER_TABLE),
        "speech_seconds": union_ms(segments) / 1000,
        "dagster/row_count": len(segments),
    }


_SPEAKER_TABLE = dg.TableSchema(
    [
        dg.TableColumn("speaker", "string"),
        dg.TableColumn("seconds", "float"),
        dg.TableColumn("share", "string"),
        dg.TableColumn("segments", "int"),
    ]
)


@Stage(
    tables=(SEGMENTS, SPEAKERS), ui_metadata=_ui_metadata, group="speech", batch_size=32, version="1", inputs=("audio",), pool="gpu",
    engine_slot="diarizer",
)  # fmt: skip
def diarization(batch: Batch, catalogue: Catalogue, audio_store: AudioStore, engines: Engines) -> Iterator[Outcome]:
    """Finds who speaks when: segments with their overlap, and the speakers of the episode."""
    return engine_outcomes(
        diarization,
        batch,
        catalogue,
        audio_store,
        engines.diarize,
        _rows,
        lambda _: engines.diarizer_spec().fingerprint,
    )


def _rows(_: Audio, found: Diarization) -> dict[str, list[SegmentRow] | list[SpeakerRow]]:
    segments = sorted(found.segments, key=lambda segment: (segment.start_ms, segment.end_ms, segment.speaker))
    of_speaker: dict[str, list[Segment]] = {}
    for segment in segments:
        of_speaker.setdefault(segment.speaker, []).append(segment)
    segment_rows = [
        SegmentRow(
            segment_idx=index, speaker=segment.speaker, start_ms=segment.start_ms, end_ms=segment.end_ms,
            confidence=segment.confidence, overlap_ms=overlap_ms,
        )
        for index, (segment, overlap_ms) in enumerate(zip(segments, overlap_of_each(segments), strict=True))
    ]  # fmt: skip
    speaker_rows = [
        SpeakerRow(
            speaker=speaker, speech_ms=union_ms(own), n_segments=len(own), first_ms=own[0].start_ms,
            embedding=tuple(found.embeddings[speaker].tolist()) if speaker in found.embeddings else None,
            embedding_model=found.embedding_model if speaker in found.embeddings else None,
            embedding_speech_ms=found.embedding_speech_ms.get(speaker),
        )
        for speaker, own in of_speaker.items()
    ]  # fmt: skip
    return {"segments": segment_rows, "speakers": speaker_rows}
