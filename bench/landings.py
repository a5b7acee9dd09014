"""The cost of landings: a batch of episodes through a stage that computes nothing.

    python -m bench.landings [episodes [words]]

Prints landings per second, and the share of each part of a landing in the time.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from dagster_project.in_process import QUIET
from partitions.definitions import EPISODES, add_keys
from pipeline.asset_definition import as_asset
from pipeline.run_keys import key_tags
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import WORDS

PARTS = {
    "rows into the lake": ("records.py", "write_rows"),
    "the commit": ("records.py", "commit_landing"),
    "Dagster's event": ("", "log_event"),
    "of all these: fsync": ("~", "<built-in method posix.fsync>"),
}
"""Part → the end of the file name and the function in the profile."""

WORD = {
    "word": "word", "start_ms": 0, "end_ms": 100, "times_estimated": False, "confidence": 1.0,
    "confidence_absent_reason": None, "chunk_idx": 0, "language": "en",
}  # fmt: skip


def main(n_episodes: int, n_words: int) -> None:
    print(f"{n_episodes} episodes of {n_words} words, one batch; load {os.getloadavg()[0]:.1f}\n")
    wall_s, cpu_s = _run(n_episodes, n_words)
    each_ms, each_cpu_ms = 1000 * wall_s / n_episodes, 1000 * cpu_s / n_episodes
    print(f"{n_episodes / wall_s:.0f} landings/s, {each_ms:.1f} ms each, {each_cpu_ms:.1f} ms of CPU\n")
    profile = cProfile.Profile()
    profile.runcall(_run, n_episodes, n_words)
    _report(pstats.Stats(profile))


def _run(n_episodes: int, n_words: int) -> tuple[float, float]:
    """Wall and CPU seconds of one run over all episodes, in a new instance and a new lake."""
    rows = [{"word_idx": index, **WORD} for index in range(n_words)]

    @Stage(tables=(WORDS,), ui_metadata=lambda _: {}, group="bench", version="1")
    def nothing(batch: Batch) -> Iterator[Outcome]:
        """The same words for every episode."""
        return each(batch.keys, lambda key: Landing(key, {"words": rows}, Cost(f"{key:0>64}", "f" * 16)))

    keys = [f"feed-20260101-{n:08x}" for n in range(n_episodes)]
    with tempfile.TemporaryDirectory() as folder, dg.instance_for_test(temp_dir=folder) as instance:
        add_keys(instance, EPISODES, keys)
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        dg.materialize(
            [as_asset(nothing, batch_size=n_episodes, code_version="1")],
            instance=instance,
            run_config=QUIET,
            resources={"lake": Lake(Home.at(str(Path(folder) / "home")))},
            tags=key_tags(keys),
        )
        return time.perf_counter() - started_s, time.process_time() - started_cpu_s


def _report(stats: pstats.Stats) -> None:
    whole_s = stats.total_tt  # type: ignore[attr-defined]
    for part, (file_end, function) in PARTS.items():
        found = [row for (file, _, name), row in stats.stats.items() if file.endswith(file_end) and name == function]  # type: ignore[attr-defined]
        spent_s = sum(cumulative for _, _, _, cumulative, _ in found)
        print(f"{part:<40}{100 * spent_s / whole_s:>5.0f} %")


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*(arguments + [200, 300][len(arguments) :]))
