"""`podlake run` beside a bare worker with the same NeMo models: `python -m bench.side_by_side [episodes]`.

The models are the tests' small ones. Both take the same feed of 35 s episodes, 72 by default, which are 42 minutes, from
a local server. Both start cold: `bench.bare_worker` loads both models in one process and then works through the list;
podlake makes its instance, its catalogue, its tables and its engines' host process. Afterwards 12 new episodes come, and
the same home runs again on the warm engines. What one more episode takes is computed from both runs; it is an upper
limit, because only the first run starts the engines. Needs the environment of `make nemo`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np

from bench.engines import recordings_of, write_mp3
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.warehouse import connect

ROOT = Path(__file__).parents[1]
AUDIO_S = 35
NEW_EPISODES = 12
SORTFORMER, PARAKEET = (ROOT / "tests" / "nemo" / f"{name}_tiny.nemo" for name in ("sortformer", "parakeet_tdt"))
NEMO_PYTHON = ROOT / ".venv-nemo" / "bin" / "python"
ITEM = '<item><title>{n}</title><guid>{n}</guid><enclosure url="{base}/{n}.mp3" length="1" type="audio/mpeg"/></item>'
LANDED = "select count(*) from quality"
STAGES = """
select stage, count(*), min(started_at), max(finished_at), sum(engine_ms) / 1000.0
from lake.stage_runs where outcome = 'landed' and started_at >= $since::timestamptz group by stage order by min(started_at)
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Not needed."""


def main(n_episodes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site, home = Path(folder) / "site", Home.at(str(Path(folder) / "home"))
        _write_episodes(site, n_episodes + NEW_EPISODES)
        load = os.getloadavg()[0]
        with _serving(site) as base:
            _publish(site, base, n_episodes)
            bare_s, loaded_s = bare_worker([f"{base}/{n}.mp3" for n in range(n_episodes)])
            minutes = n_episodes * AUDIO_S / 60
            print(f"{n_episodes} episodes, {minutes:.0f} min; load before: {load:.1f} on {os.cpu_count()} cores")
            print(f"bare worker: {bare_s:.1f} s, of which {loaded_s:.1f} s until both models were loaded", flush=True)
            Catalogue(Lake(home)).subscribe([(f"{base}/feed.xml", "Side by side")], language="en")
            environment = _environment(home)
            try:
                cold_s = podlake_run(home, environment, n_episodes)
                print(f"podlake run, cold: {cold_s:.1f} s, {cold_s / bare_s:.2f} × the bare worker", flush=True)
                _publish(site, base, n_episodes + NEW_EPISODES)
                warm_s = podlake_run(home, environment, n_episodes + NEW_EPISODES)
                each_s = (cold_s - warm_s) / (n_episodes - NEW_EPISODES)
                print(
                    f"podlake run, {NEW_EPISODES} new episodes, warm: {warm_s:.1f} s; one more: {each_s:.2f} s at most"
                )
            finally:
                _podlake(environment, "engines", "stop")


def bare_worker(urls: Sequence[str]) -> tuple[float, float]:
    """Its wall time, and how long it took until the models were loaded."""
    began_s = time.monotonic()
    command = [str(NEMO_PYTHON), "-m", "bench.bare_worker", str(SORTFORMER), str(PARAKEET), *urls]
    done = subprocess.run(command, cwd=ROOT, env=_threads(), capture_output=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.decode(errors="replace"))
    return time.monotonic() - began_s, json.loads(done.stdout.splitlines()[-1])["loaded_s"]


def podlake_run(home: Home, environment: Mapping[str, str], n_landed: int) -> float:
    """The wall time of the command, after which so many episodes have their last row."""
    began_s, since = time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    log = _podlake(environment, "run")
    took_s = time.monotonic() - began_s
    with connect(home) as lake:
        ((landed,),) = lake.execute(LANDED).fetchall()
        stages = lake.execute(STAGES, {"since": since}).fetchall()
    if landed != n_landed:
        sys.exit(f"{landed} of {n_landed} episodes have landed:\n{log}")
    first = min(stage[2] for stage in stages)
    for name, count, start, end, engine_s in stages:
        engine = f", {engine_s:.1f} s of its engine" if engine_s else ""
        begun_s, ended_s = ((at - first).total_seconds() for at in (start, end))
        print(f"  {name:<14}{count:>5} from {begun_s:5.1f} to {ended_s:5.1f} s{engine}")
    return took_s


def _podlake(environment: Mapping[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "dagster_project.cli", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    said = done.stdout.decode(errors="replace")
    if done.returncode:
        sys.exit(said)
    return said


def _environment(home: Home) -> dict[str, str]:
    return {
        **_threads(), "PODLAKE_HOME": home.root, "TMPDIR": str(Path(home.root).parent),
        "PODLAKE_ALLOW_HOSTS": "127.0.0.1", "PODLAKE_GPUS": "none", "PODLAKE_NEMO_PYTHON": str(NEMO_PYTHON),
        "PODLAKE_DIARIZER": f"nemo:{SORTFORMER}", "PODLAKE_TRANSCRIBER": f"nemo:{PARAKEET}",
    }  # fmt: skip


def _threads() -> dict[str, str]:
    """The variables of this process without a limit of threads: both sides run as they are installed."""
    return {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "DAGSTER_HOME")}


def _write_episodes(site: Path, count: int) -> None:
    site.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        (recording,) = recordings_of(Path(folder), episodes=1, minutes=5)
        samples = np.array(recording.samples())
    for n in range(count):
        write_mp3(site / f"{n}.mp3", np.roll(samples, n * 7 * 16_000)[: AUDIO_S * 16_000])


def _publish(site: Path, base: str, count: int) -> None:
    items = "".join(ITEM.format(n=n, base=base) for n in range(count))
    (site / "feed.xml").write_text(
        f'<rss version="2.0"><channel><title>Side by side</title><language>en</language>{items}</channel></rss>'
    )


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 72)
