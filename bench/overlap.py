"""Engine utilization of `podlake run`: 100 short episodes, a server that answers in 0.2 s, two engines of 2 s each.

    python -m bench.overlap [episodes]

Each engine takes 2 s per episode, and both share one device, which no GPU needs to back. All episodes are one batch
of each engine. Prints the share of the engines' time in
which they did not wait for audio (loading included), the time from the first download to the last engine's last row,
the time of the whole command, and its CPU time: a busy machine stretches the other times.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np

from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.warehouse import connect

ROOT = Path(__file__).parents[1]
LATENCY_S, PACE_MS, AUDIO_S = 0.2, 2000, 2.0

ITEM = '<item><title>{n}</title><guid>{n}</guid><enclosure url="{base}/{n}.wav" length="1" type="audio/wav"/></item>'

TRIES = """
select stage, count(*), count(distinct run_id), sum(engine_ms) / 1000, sum(engine_utilization * engine_ms) / sum(engine_ms),
       epoch(min(started_at)), epoch(max(finished_at))
from lake.stage_runs where outcome = 'landed' and stage <> 'episodes' group by stage order by min(started_at)
"""


def main(n_episodes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(str(Path(folder) / "home"))
        with _serving(Path(folder) / "site", n_episodes) as base:
            Catalogue(Lake(home)).subscribe([(f"{base}/feed.xml", "Paced")], language="en")
            load, started_s = os.getloadavg()[0], time.monotonic()
            _podlake_run(home, n_episodes)
            wall_s = time.monotonic() - started_s
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        with connect(home) as lake:
            rows = lake.execute(TRIES).fetchall()
    _report(rows, n_episodes, wall_s, used.ru_utime + used.ru_stime, load)


def _report(rows: list[tuple], n_episodes: int, wall_s: float, cpu_s: float, load: float) -> None:
    print(f"{'stage':<14}{'landed':>7}{'runs':>6}{'engine':>10}{'util':>7}{'from':>9}{'to':>9}")
    begin_s = min(row[5] for row in rows)
    for stage, landed, runs, engine_s, utilization, start_s, end_s in rows:
        engine = f"{engine_s:>8.1f} s{utilization:>7.3f}" if engine_s else " " * 17
        print(f"{stage:<14}{landed:>7}{runs:>6}{engine}{start_s - begin_s:>7.1f} s{end_s - begin_s:>7.1f} s")
    engine_s = sum(row[3] for row in rows if row[3])
    span_s = max(row[6] for row in rows if row[3]) - begin_s
    print(f"\nfrom the first download to the last engine's last row: {span_s:.1f} s, "
          f"{span_s / engine_s:.3f} × the engines' {engine_s:.1f} s")  # fmt: skip
    print(f"the whole command: {wall_s:.1f} s, {wall_s / engine_s:.3f} × the engines' time")
    print(f"without the engines: {1000 * cpu_s / n_episodes:.0f} CPU-ms an episode for {len(rows)} stages, "
          f"{cpu_s:.1f} s of CPU in all; load of the machine before: {load:.1f} on {os.cpu_count()} cores")  # fmt: skip


def _podlake_run(home: Home, n_episodes: int) -> None:
    paths = os.pathsep.join([str(ROOT / "bench" / "paced"), str(ROOT)])
    settings = {
        "PODLAKE_HOME": home.root, "PODLAKE_DIARIZER": "paced", "PODLAKE_TRANSCRIBER": "paced",
        "PODLAKE_PACE_MS": str(PACE_MS), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1",
        "PODLAKE_GPUS": "0", "PODLAKE_ALLOW_HOSTS": "127.0.0.1", "TMPDIR": str(Path(home.root).parent),
        "PODLAKE_BATCH_DIARIZATION": str(n_episodes), "PODLAKE_BATCH_TRANSCRIPT": str(n_episodes),
    }  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    log = Path(home.root).parent / "run.log"
    with log.open("wb") as stream:
        ended = subprocess.run(
            [sys.executable, "-m", "dagster_project.cli", "run"],
            cwd=ROOT, env={**environment, **settings}, stdout=stream, stderr=stream, check=False,
        )  # fmt: skip
    if ended.returncode:
        sys.exit(log.read_text())


@contextmanager
def _serving(folder: Path, n_episodes: int) -> Iterator[str]:
    """A server of a feed with short episodes of noise; every answer takes `LATENCY_S`."""
    folder.mkdir()

    class Slow(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            time.sleep(LATENCY_S)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            """Not needed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        base = f"http://127.0.0.1:{server.server_port}"
        _write_site(folder, base, n_episodes)
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield base
        finally:
            server.shutdown()
            thread.join()


def _write_site(folder: Path, base: str, n_episodes: int) -> None:
    noise = np.random.default_rng(1)
    for n in range(n_episodes):
        with wave.open(str(folder / f"{n}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
            file.writeframes(noise.integers(-3000, 3000, round(16_000 * AUDIO_S), np.int16).tobytes())
    items = "".join(ITEM.format(n=n, base=base) for n in range(n_episodes))
    (folder / "feed.xml").write_text(
        f'<rss version="2.0"><channel><title>Paced</title><language>en</language>{items}</channel></rss>'
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
