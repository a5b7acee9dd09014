"""`podcast_audio`: the lines with pauses, at the loudness of podcasts, as MP3 and Opus with tags and chapters."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.lake.lake import Lake
from resources.lake.tables.studio import (
    PODCAST_AUDIO,
    PODCAST_TURNS,
    SCRIPT_TURNS,
    SCRIPTS,
    SPEECH_LINES,
    PodcastAudioRow,
    PodcastTurnRow,
)
from resources.studio.feed import FeedSettings
from resources.studio.files import StudioFiles
from resources.studio.ledger import Ledger
from speech.engines.line_synthesizer import read_wav
from speech.mastering import SAMPLE_RATE_HZ, assemble
from speech.podcast_files import encode_podcast
from speech.spoken_turns import SpokenTurn, chapters_of


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["podcast_audio"].to_pylist()
    return {
        "duration_s": row["duration_ms"] / 1000,
        "loudness_lufs": row["loudness_lufs"],
        "true_peak_dbtp": row["true_peak_dbtp"],
        "mp3": row["mp3_path"],
        "opus": row["opus_path"],
        "dagster/row_count": tables["podcast_turns"].num_rows,
    }


@Stage(
    tables=(PODCAST_AUDIO, PODCAST_TURNS), ui_metadata=_ui_metadata, group="studio", batch_size=1, version="1",
    inputs=("script", "speech_lines"), partition_kind="podcast", kinds=frozenset({"mp3", "opus", "parquet"}),
)  # fmt: skip
def podcast_audio(
    batch: Batch, lake: Lake, studio_files: StudioFiles, podcast_feed: FeedSettings, ledger: Ledger
) -> Iterator[Outcome]:
    """Assembles the lines, brings them to -19 LUFS in mono with no peak above -1 dBTP, and encodes them."""
    return each(batch.keys, lambda key: _audio(key, batch, lake, studio_files, podcast_feed, ledger))


def _audio(key: str, batch: Batch, lake: Lake, files: StudioFiles, feed: FeedSettings, ledger: Ledger) -> Landing:
    ledger.check_wanted(key)
    (script,) = batch.rows(lake, SCRIPTS, key)
    written, lines = batch.rows(lake, SCRIPT_TURNS, key), batch.rows(lake, SPEECH_LINES, key)
    assembled = assemble([(line.speaker, read_wav(io.BytesIO(files.read(line.path)))) for line in lines])
    turns = [
        SpokenTurn(turn.speaker, span.start_ms, span.end_ms, turn.text)
        for turn, span in zip(written, assembled.turns, strict=True)
    ]
    chapters = chapters_of(turns, round(1000 * len(assembled.samples) / SAMPLE_RATE_HZ))
    tags = {
        "title": script.title, "artist": feed.title, "album": feed.title, "genre": "Podcast",
        "date": f"{script.requested_at:%Y-%m-%d}", "language": script.language, "comment": key,
    }  # fmt: skip
    encoded = encode_podcast(assembled.samples, tags, chapters)
    row = PodcastAudioRow(
        title=script.title, duration_ms=encoded.duration_ms, loudness_lufs=encoded.loudness_lufs,
        true_peak_dbtp=encoded.true_peak_dbtp, channels=1, sample_rate_hz=SAMPLE_RATE_HZ,
        mp3_path=files.publish(key, f"{key}.mp3", encoded.mp3), mp3_bytes=len(encoded.mp3),
        mp3_sha256=hashlib.sha256(encoded.mp3).hexdigest(),
        opus_path=files.publish(key, f"{key}.opus", encoded.opus), opus_bytes=len(encoded.opus),
        opus_sha256=hashlib.sha256(encoded.opus).hexdigest(), n_chapters=len(chapters),
    )  # fmt: skip
    turn_rows = [
        PodcastTurnRow(turn_idx=index, speaker=turn.speaker, start_ms=turn.start_ms, end_ms=turn.end_ms, text=turn.text)
        for index, turn in enumerate(turns)
    ]
    cost = Cost(audio_ms=encoded.duration_ms)
    return Landing(key, {"podcast_audio": [row], "podcast_turns": turn_rows}, cost, _links(feed, row))


def _links(feed: FeedSettings, row: PodcastAudioRow) -> dict[str, str]:
    return {"listen": f"{feed.url}/{row.mp3_path}"}
