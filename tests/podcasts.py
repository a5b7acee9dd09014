"""Requested podcasts for tests: finished ones with real audio, and lines as a run leaves them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache

import numpy as np

from pipeline.records import land_failure
from pipeline.stage import Failure
from resources.lake.lake import Lake
from resources.studio.files import StudioFiles
from speech.engines.line_synthesizer import Sound, write_wav
from speech.errors import VoiceUnavailable
from speech.mastering import SAMPLE_RATE_HZ
from speech.podcast_files import Encoded, encode_podcast
from tests.landings import land_stage

SCRIPT = "[S1] Welcome to the roof. [S2] I planted seeds. [S1] How many? [S2] Forty."


@cache
def encoded() -> Encoded:
    """Two seconds of noise."""
    samples = np.random.default_rng(1).normal(0, 0.05, 2 * SAMPLE_RATE_HZ).astype(np.float32)
    return encode_podcast(samples, {"title": "A talk"}, [])


def say_lines(files: StudioFiles, podcast_id: str, turns: int) -> None:
    """The lines of the first turns exist, as while a run works."""
    noise = np.random.default_rng(1).normal(0, 3000, 2400).astype("<i2")
    for index in range(turns):
        write_wav(files.line(podcast_id, index, "a text"), Sound(noise, 24_000))


def finish(lake: Lake, files: StudioFiles, podcast_id: str) -> None:
    """The podcast has landed, with its files."""
    made, now = encoded(), datetime.now(UTC)
    audio = {
        "title": "A talk", "duration_ms": made.duration_ms, "requested_at": now,
        "mp3_path": files.publish(podcast_id, f"{podcast_id}.mp3", made.mp3), "mp3_bytes": len(made.mp3),
        "mp3_sha256": hashlib.sha256(made.mp3).hexdigest(),
        "opus_path": files.publish(podcast_id, f"{podcast_id}.opus", made.opus), "opus_bytes": len(made.opus),
    }  # fmt: skip
    turns = [
        {"turn_idx": index, "speaker": "S1", "start_ms": 500 * index, "end_ms": 500 * index + 400, "text": "…"}
        for index in range(4)
    ]
    times = {"started_at": now, "finished_at": now}
    land_stage(lake, "speech_lines", podcast_id, {"speech_lines": []}, **times)
    land_stage(lake, "podcast_audio", podcast_id, {"podcast_audio": [audio], "podcast_turns": turns}, **times)
    land_stage(lake, "stream_package", podcast_id, {"stream_packages": [{}], "stream_clusters": []}, **times)
    files.forget_lines(podcast_id)


def fail(lake: Lake, stage: object, podcast_id: str, run_id: str) -> None:
    """The podcast has failed for ever; its run has to be failed too."""
    land_failure(lake, stage, Failure(podcast_id, VoiceUnavailable("No voice is set for S2.")), run_id)  # type: ignore[arg-type]
