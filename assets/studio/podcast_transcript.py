"""`podcast_transcript`: captions, transcript and chapters. Times of turns are exact, because the audio was made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.stage import Batch, Landing, Outcome, Stage, each
from resources.lake.lake import Lake
from resources.lake.tables.studio import PODCAST_AUDIO, PODCAST_TRANSCRIPTS, PODCAST_TURNS, PodcastTranscriptRow
from resources.studio.files import StudioFiles
from speech.formats import podcast_json, vtt
from speech.formats.chapters import write_chapters
from speech.formats.document import Document
from speech.spoken_turns import SpokenTurn, chapters_of, passage


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["podcast_transcripts"].to_pylist()
    return {"captions": row["vtt_path"], "chapters": row["chapters_path"]}


@Stage(
    tables=(PODCAST_TRANSCRIPTS,), ui_metadata=_ui_metadata, group="studio", batch_size=1, version="1",
    inputs=("podcast_audio",), partition_kind="podcast",
)  # fmt: skip
def podcast_transcript(batch: Batch, lake: Lake, studio_files: StudioFiles) -> Iterator[Outcome]:
    """Writes captions as WebVTT, and transcript and chapters in the JSON formats of Podcasting 2.0."""
    return each(batch.keys, lambda key: _transcript(key, batch, lake, studio_files))


def _transcript(key: str, batch: Batch, lake: Lake, files: StudioFiles) -> Landing:
    (audio,) = batch.rows(lake, PODCAST_AUDIO, key)
    turns = [
        SpokenTurn(row.speaker, row.start_ms, row.end_ms, row.text) for row in batch.rows(lake, PODCAST_TURNS, key)
    ]
    document = Document(
        key, audio.mp3_sha256, audio.title, None, None, audio.duration_ms, tuple(map(passage, turns)), ()
    )
    chapters = write_chapters(chapters_of(turns, audio.duration_ms))
    row = PodcastTranscriptRow(
        vtt_path=files.publish(key, f"{key}.vtt", vtt.write(document).encode()),
        json_path=files.publish(key, f"{key}.json", podcast_json.write(document).encode()),
        chapters_path=files.publish(key, f"{key}.chapters.json", chapters.encode()),
    )
    return Landing(key, {"podcast_transcripts": [row]})
