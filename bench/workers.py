"""Workers that claim jobs from a real gateway at once, a fifth of which is killed: each job has to land once.

python -m bench.workers [--workers 200] [--jobs 1000] [--database postgresql+psycopg2://…]

The workers are threads of five processes that speak the protocol through podlake's client; the engine is a pause. One
process is ended by SIGKILL when half of its workers have a job. Their leases end, and the jobs go to others.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

from bench.gateway import free_port, start_server
from bench.worker_group import SPEC, work
from resources.accounts import Accounts
from resources.engines.routing import Audio
from resources.fetch.audio_store import AudioStore
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import ACQUISITIONS, STAGE_RUNS
from resources.workers.host import WorkerHost
from resources.workers.jobs import JobQueue, Work
from speech.engines.protocols import EngineChoice
from speech.types import Transcript
from tests.landings import land, land_stage

CHOICE = EngineChoice("toy")
CONTENT = b"sound" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
GROUPS = 5
"""Processes of workers, of which one is killed."""


@dataclass(frozen=True)
class Result:
    """What came of the jobs."""

    landed: Counter[str]
    """Episode → landings, as the lake has them."""
    seconds: float
    lost_leases: int
    """Jobs that the killed workers had."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--engine-s", type=float, default=0.5, help="Seconds that a job takes.")
    parser.add_argument("--database", default="", help="SQLAlchemy URL. Default: SQLite.")
    asked = parser.parse_args()
    print("load before:", *(f"{one:.1f}" for one in os.getloadavg()))
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        database = asked.database or f"sqlite:///{folder}/service.db"
        os.environ["PODLAKE_DATABASE_URL"] = database
        server = start_server(folder, port)
        try:
            url = f"http://127.0.0.1:{port}"
            found = measure(folder, url, database, asked.workers, asked.jobs, asked.engine_s)
        finally:
            server.terminate()
            server.wait(30)
    wrong = {key: count for key, count in found.landed.items() if count != 1}
    print(f"{asked.workers} workers, {asked.workers // GROUPS} of them killed while they had {found.lost_leases} jobs; "
          f"{asked.jobs} jobs in {found.seconds:.1f} s; {len(found.landed) - len(wrong)} landed once, {len(wrong)} twice, "
          f"{asked.jobs - len(found.landed)} never")  # fmt: skip
    print("load after:", *(f"{one:.1f}" for one in os.getloadavg()))
    if wrong or len(found.landed) != asked.jobs:
        raise SystemExit(1)


def measure(home: Path, url: str, database: str, n_workers: int, n_jobs: int, engine_s: float) -> Result:
    """Queue the jobs, start the workers, kill one group of them, and land what comes back."""
    lake, keys = Lake(Home.at(str(home))), [f"bench-20260101-{n:08x}" for n in range(n_jobs)]
    _store_audio(lake, home, keys)
    queue, accounts = JobQueue.at(database), Accounts.at(database)
    queue.submit("earlier", [Work("transcriber", CHOICE, SPEC.fingerprint, key, SHA256, "en") for key in keys])
    tokens = {f"worker-{n}": accounts.add_key(f"worker-{n}", "operator", ("work",)) for n in range(n_workers)}
    groups = [list(tokens)[start::GROUPS] for start in range(GROUPS)]
    lost: list[int] = []

    def kill_first() -> None:
        """End the first group when half of its workers have a job."""
        while sum(job.worker in groups[0] for job in queue.running()) < len(groups[0]) / 2:
            time.sleep(0.02)
        os.kill(processes[0].pid or 0, signal.SIGKILL)
        processes[0].join()
        lost.append(sum(job.worker in groups[0] for job in queue.running()))

    with _started(url, [[tokens[name] for name in group] for group in groups], engine_s) as processes:
        started_s = time.monotonic()
        killing = Thread(target=kill_first, daemon=True)
        killing.start()
        audio = (Audio(key, SHA256, Path("at the service"), "en") for key in keys)
        for done in WorkerHost(database, poll_s=0.05).run("transcriber", CHOICE, SPEC, audio):
            assert isinstance(done.result, Transcript), done.error
            words = [{"word": word.text, "word_idx": index} for index, word in enumerate(done.result.words)]
            land_stage(lake, "transcript", done.audio.episode_id, {"words": words})
        seconds = time.monotonic() - started_s
        killing.join()
    assert queue.counts() == {"queued": 0, "leased": 0, "finished": 0}, queue.counts()
    landings = {key: STAGE_RUNS.rows_of(lake.history("transcript", key)) for key in keys}
    return Result(Counter({key: len(rows) for key, rows in landings.items() if rows}), seconds, lost[0])


@contextmanager
def _started(url: str, groups: Sequence[Sequence[str]], engine_s: float) -> Iterator[list[BaseProcess]]:
    """A process for each group of tokens, until the block ends."""
    made: list[BaseProcess] = [
        multiprocessing.get_context("spawn").Process(target=work, args=(url, tokens, engine_s), daemon=True)
        for tokens in groups
    ]
    for process in made:
        process.start()
    try:
        yield made
    finally:
        for process in made:
            process.kill()
            process.join()


def _store_audio(lake: Lake, home: Path, keys: Sequence[str]) -> None:
    copy = home / "fetched"
    copy.write_bytes(CONTENT)
    uri = AudioStore(lake.home, home, 10**9).keep(copy, SHA256, "https://a.test/rain.flac", "audio/flac")
    row = {"audio_sha256": SHA256, "storage_uri": uri, "content_type": "audio/flac"}
    for key in keys:
        land(lake, ACQUISITIONS, key, [row])


if __name__ == "__main__":
    main()
