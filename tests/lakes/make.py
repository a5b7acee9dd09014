"""Makes the lake of one schema version: `python -m tests.lakes.make tests/lakes/v1`, run once, when that version is released.

Later versions keep the folder and must open it (tests/resources/lake/test_schema_versions.py).
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from resources.lake.compaction import seal
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES as CATALOGUE
from resources.lake.tables import FAILURES, POLLS, STAGE_RUNS, SUBSCRIPTIONS, TABLES
from tests.landings import land

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
    "quality": ("quality",),
}


def make(folder: Path) -> None:
    lake = Lake(Home.at(str(folder)))
    land(lake, SUBSCRIPTIONS, "all", [{"feed_id": "a"}, {"feed_id": "b"}])
    for feed_id, keys in {"a": (SEALED, OPEN), "b": (LANDED_AGAIN, FAILED)}.items():
        land(lake, CATALOGUE, feed_id, [{"episode_id": key} for key in keys])
        land(lake, POLLS, feed_id, [{"n_episodes": 2}])
        land(lake, STAGE_RUNS, f"{feed_id}.episodes", [{"outcome": "landed", "run_id": "poll"}])
    for key in (SEALED, LANDED_AGAIN):
        land_stages(lake, key, "first")
    for _ in seal(lake, older_than=timedelta(0)):
        pass
    land_stages(lake, OPEN, "first")
    land_stages(lake, LANDED_AGAIN, "second")
    run = {"outcome": "failed_permanent", "run_id": "first"}
    land(lake, STAGE_RUNS, f"{FAILED}.audio", [run])
    land(lake, FAILURES, f"{FAILED}.audio", [{"error_class": "http_not_found", "attempts": 1}])


def land_stages(lake: Lake, key: str, run_id: str) -> None:
    """Every stage of the episode, made by that run from the same audio."""
    made = {"run_id": run_id, "root_run_id": run_id, "audio_sha256": "a" * 64, "engine_fingerprint": "f" * 16}
    for stage, tables in EPISODE_STAGES.items():
        for name in tables:
            land(
                lake, TABLES[name], key, [{**made, "word": f"{run_id} word", "text": f"{run_id} word", "speaker": "S1"}]
            )
        land(lake, STAGE_RUNS, f"{key}.{stage}", [{**made, "outcome": "landed", "stage": stage}])


if __name__ == "__main__":
    make(Path(sys.argv[1]))
