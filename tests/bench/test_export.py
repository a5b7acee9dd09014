"""A small version of the benchmark of exports: what it measures is really done."""

from __future__ import annotations

import json
from pathlib import Path

from bench.export import make_lake, timed, write


def test_all_of_the_audio_is_written(tmp_path: Path) -> None:
    home = tmp_path / "home"
    keys = make_lake(home, 0.5, 2)
    wall_s, cpu_s = timed(home, "webdataset", "flac")
    assert min(wall_s, cpu_s) > 0
    write(home, "jsonl", "flac", tmp_path / "out", (keys[0],))
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["duration_ms"] == 30_000
