"""What the lakes of released schema versions hold: tests/resources/lake/test_schema_versions.py opens each of them.

`v1` was written by the code of version 1, whose open files had no stamps. A lake of the current version is made with
`python -m tests.lakes.make tests/lakes/v2` when the version is released.
"""

from __future__ import annotations

import sys
from pathlib import Path

from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.migration import migrate
from resources.lake.tables import FAILURES, SUBSCRIPTIONS
from tests.landings import land, land_failed_try, land_stage, seal_settled

SEALED, OPEN, LANDED_AGAIN, FAILED = (
    "a-20260101-00000001", "a-20260102-00000002", "b-20260103-00000003", "b-20260104-00000004",
)  # fmt: skip
"""Four episodes of two feeds."""
EPISODE_STAGES = {
    "audio": ("acquisitions",),
    "hashes": ("hashes",),
    "diarization": ("segments", "speakers"),
    "transcript": ("words",),
    "turns": ("word_speakers", "turns"),
    "utterances": ("utterances",),
    "publisher_transcript": ("publisher_segments", "chapters"),
    "quality": ("quality",),
}


def make(folder: Path) -> None:
    lake = Lake(Home.at(str(folder)))
    migrate(lake.home)
    land(lake, SUBSCRIPTIONS, "all", [{"feed_id": "a"}, {"feed_id": "b"}])
    for feed_id, keys in {"a": (SEALED, OPEN), "b": (LANDED_AGAIN, FAILED)}.items():
        rows = {"episodes": [{"episode_id": key, "feed_id": feed_id} for key in keys], "polls": [{"n_episodes": 2}]}
        land_stage(lake, "episodes", feed_id, rows, run_id="poll")
    for key in (SEALED, LANDED_AGAIN):
        land_stages(lake, key, "first")
    seal_settled(lake)
    land_stages(lake, OPEN, "first")
    land_stages(lake, LANDED_AGAIN, "second")
    land_failed_try(lake, "audio", FAILED, run_id="first")
    land(lake, FAILURES, f"{FAILED}.audio", [{"error_class": "http_not_found", "attempts": 1}])


def land_stages(lake: Lake, key: str, run_id: str) -> None:
    """Every stage of the episode, made by that run from the same audio."""
    made = {"run_id": run_id, "root_run_id": run_id, "audio_sha256": "a" * 64, "engine_fingerprint": "f" * 16}
    row = {**made, "word": f"{run_id} word", "text": f"{run_id} word", "speaker": "S1"}
    for stage, tables in EPISODE_STAGES.items():
        land_stage(lake, stage, key, {name: [row] for name in tables}, **made)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
