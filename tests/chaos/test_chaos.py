"""kill -9 at random moments of a backfill: the tables end up as those of an undisturbed backfill.

Lap after lap, each in a home of its own, until so many processes have been killed: CHAOS_KILLS with a home on the local
disk and SQLite (a few in every run of the suite, 100 in `make chaos`), CHAOS_KILLS_S3 with one on S3 and Dagster's
storage in PostgreSQL (none; 20). CHAOS_EPISODES says of how many episodes (16; 40). CHAOS_SEED decides which processes
are killed, and when. The two servers are not killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import av
import dagster as dg
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from pyarrow import fs

from assets.stages import EPISODE_GRAPH
from dagster_project.backfills import request_backfill
from dagster_project.instance import DEFAULTS, open_instance
from dagster_project.planning import Situation, plan_settings
from dagster_project.settings import ROOT, Settings
from demo.serve import serving
from pipeline.in_flight import in_flight
from pipeline.readiness import InFlight
from pipeline.run_process import PROCESS_TAG
from resources.engines.devices import Devices
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import TABLES
from resources.lake.warehouse import connect
from speech.engines.hosts import MODULE as HOSTS
from tests.object_store import s3_server
from tests.postgres import postgres_storage

KILLS = {"local": int(os.environ.get("CHAOS_KILLS", "5")), "s3": int(os.environ.get("CHAOS_KILLS_S3", "0"))}
SEED = int(os.environ.get("CHAOS_SEED", "1"))
VICTIMS = ("worker", "daemon", "daemon", "sealing", "engines")
"""In turn, so that a few kills are of all kinds:

* worker: `podlake run` with all processes that it started;
* daemon: Dagster's daemon with the runs of a backfill; the second time, the daemon that continues the backfill;
* sealing: a process that compacts while a run works, and then the run;
* engines: the host process of a run's engines, which the run starts again.
"""
DELAY_S = {"worker": (6, 12), "daemon": (0, 10), "sealing": (3, 8), "engines": (3, 8)}
"""After the start of the process; for the daemon, after the start of its first run."""

PATIENCE_S = 600
"""Longer than any step takes."""

EPISODES = int(os.environ.get("CHAOS_EPISODES", "16"))
BATCHES = 3
ENGINE_S = 4
"""How long the engine works on all episodes: a run is killed while it works, however few there are."""
BAD = {"http_not_found": "gone.flac", "not_audio": "page.flac"}
STAGES = list(EPISODE_GRAPH.names)
ITEM = '<item><title>{name}</title><guid>{name}</guid><enclosure url="http://demo.invalid/{name}" length="1" type="audio/flac"/></item>'

MAY_DIFFER = {
    "run_id", "root_run_id", "landed_at", "fetched_at", "started_at", "finished_at", "first_at", "last_at",
    "next_retry_at", "attempts", "added_at", "last_polled_at", "first_seen_at", "last_changed_at", "batch_size",
    "engine_utilization", "device", "gpu_peak_mb", "download_ms", "decode_ms", "engine_ms", "write_ms", "host", "message",
    "http_status",  # 304 where the audio had landed and its record had not
}  # fmt: skip
"""Columns that say when, where and how fast."""
COMPARED = [
    name for name in TABLES if name not in ("subscriptions", "polls", "unchanged_polls", "stage_runs", "failures")
]


@pytest.fixture(params=sorted(KILLS))
def homes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int, int]]:
    """The URI below which homes are made (none: beside the test's other files), the port of PostgreSQL, and the kills."""
    kills = KILLS[request.param]
    if not kills:
        pytest.skip(f"make chaos kills processes with a home on {request.param}")
    if request.param == "local":
        yield "", 0, kills
        return
    port = request.getfixturevalue("postgres")
    with s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        filesystem, bucket = fs.FileSystem.from_uri("s3://chaos?allow_bucket_creation=true")
        filesystem.create_dir(bucket)
        yield "s3://chaos/", port, kills


@pytest.mark.timeout(7200)
def test_after_any_kills_every_episode_has_landed_once_with_the_same_rows(
    tmp_path: Path, homes: tuple[str, int, int]
) -> None:
    below, port, kills = homes
    chance = random.Random(SEED)
    _write_site(tmp_path / "site")
    killed: Counter[str] = Counter()
    with serving(tmp_path / "site") as base:
        calm = Place(tmp_path / "calm", base, below, port)
        with calm.podlake_run() as run:
            assert run.wait(PATIENCE_S) == 0, calm.log()
        expected = calm.rows()
        _assert_complete(calm)
        lap = 0
        while killed.total() < kills:
            lap += 1
            place = Place(tmp_path / f"lap{lap}", base, below, port)
            killed += _lap(place, chance, kills - killed.total(), killed.total())
            sys.stderr.write(f"lap {lap} (seed {SEED}): {dict(killed)}\n")
            for name, rows in place.rows().items():
                assert rows == expected[name], name
            assert place.failed() == calm.failed()
            _assert_complete(place)
    assert killed.total() == kills


def _lap(place: Place, chance: random.Random, most: int, before: int) -> Counter[str]:
    """Work on an empty home until all is done, with as many kills as that takes, at most so many."""
    killed: Counter[str] = Counter()
    while killed.total() < most and place.is_work_left():
        victim = VICTIMS[(before + killed.total()) % len(VICTIMS)]
        if victim == "daemon" and not place.left():  # the last daemon was killed before it had polled
            with place.poll() as poll:
                assert poll.wait(PATIENCE_S) == 0, place.log()
            if not place.left():  # what is left has failed, and no retry is due
                break
        if _kill(place, victim, chance.uniform(*DELAY_S[victim])):
            killed[victim] += 1
        else:
            break
        place.assert_no_file_is_torn()
        place.assert_nothing_is_there_twice()
    place.cancel_backfills()
    with place.sealing(), place.podlake_run("--failed-too") as run:
        assert run.wait(PATIENCE_S) == 0, place.log()
    return killed


def _kill(place: Place, victim: str, delay_s: float) -> bool:
    """Start the work and kill a process of it. False: the work was done before."""
    if victim == "daemon":
        with place.daemon() as daemon, place.sealing():
            place.wait_for_a_run()
            time.sleep(delay_s)
            place.kill_runs()
            _kill_group(daemon)
            return True
    place.cancel_backfills()
    with place.podlake_run() as run, place.sealing() as sealing:
        if not _goes_on(run, delay_s):
            return False
        if victim == "worker":
            _kill_group(run)
            return True
        if victim == "sealing":
            _kill_group(sealing)
            _goes_on(run, 1)
            return True
        while not (engines := place.engines()) and run.poll() is None:
            time.sleep(0.1)
        _kill_each(engines)
        return run.wait(PATIENCE_S) == 0 and bool(engines)


class Place:
    """A home and the processes that work on it."""

    def __init__(self, folder: Path, base: str, below: str, port: int) -> None:
        folder.mkdir()
        self._folder = folder
        self.home = Home.at(f"{below}{folder.name}" if below else str(folder / "home"))
        self.lake = Lake(self.home)
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"},
            "PODLAKE_HOME": self.home.uri, "PODLAKE_CACHE": str(folder / "cache"), "PODLAKE_DIARIZER": "chaos", "PODLAKE_TRANSCRIBER": "chaos",
            "PODLAKE_GPUS": "0", "TMPDIR": str(folder), "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "node"), str(ROOT)]),
            "CHAOS_PACE_S": str(ENGINE_S / EPISODES),
            **{f"PODLAKE_BATCH_{name.upper()}": str(ceil((EPISODES + len(BAD)) / BATCHES)) for name in STAGES},
        }  # fmt: skip
        if port:
            self._environment["DAGSTER_HOME"] = str(_home_on_postgres(folder / "dagster", port))
        Catalogue(self.lake).subscribe([(f"{base}/feed.xml", "Noises")], language="en")

    def log(self) -> str:
        return (self._folder / "log").read_text()[-5000:]

    def podlake_run(self, *arguments: str) -> Any:
        return self._process(["-m", "dagster_project.cli", "run", *arguments])

    def poll(self) -> Any:
        return self._process([str(Path(__file__).parent / "poll.py")])

    def sealing(self) -> Any:
        return self._process([str(Path(__file__).parent / "keep_sealing.py")])

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        """Dagster's daemon, and a backfill of what is left and not in flight."""
        wanted = self.left()
        with self._own_environment(), open_instance(Settings()) as instance:
            dagster_home = os.environ["DAGSTER_HOME"]
            named = in_flight(instance, instance.get_dynamic_partitions("episodes")).all_keys()
            wanted = {name: [key for key in keys if key not in named] for name, keys in wanted.items()}
            if any(wanted.values()):
                request_backfill(instance, Settings(), wanted, "chaos")
        with self._process(
            ["-m", "dagster._daemon", "run", "-w", str(ROOT / "workspace.yaml")], DAGSTER_HOME=dagster_home
        ) as process:
            yield process

    def engines(self) -> list[psutil.Process]:
        """The host processes of engines."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it has just exited
                if HOSTS in process.cmdline() and process.environ().get("TMPDIR") == str(self._folder):
                    found.append(process)
        return found

    def wait_for_a_run(self) -> None:
        """A run that is killed before it starts keeps others in the queue until the start timeout of dagster.yaml."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._runs_of_the_daemon():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.5)

    def kill_runs(self) -> None:
        """Kill the runs that a daemon launched."""
        _kill_each(self._runs_of_the_daemon())

    def _runs_of_the_daemon(self) -> list[psutil.Process]:
        with self._own_environment(), open_instance(Settings()) as instance:
            unfinished = [run for run in instance.get_runs() if not run.is_finished]
        processes = [run.tags[PROCESS_TAG] for run in unfinished if PROCESS_TAG in run.tags]
        found = []
        for signature in processes:
            with suppress(psutil.Error):  # it has just exited
                process = psutil.Process(int(signature.split(":")[1]))
                if process.environ().get("PODLAKE_HOME") == self.home.uri:
                    found.append(process)
        return found

    def cancel_backfills(self) -> None:
        """Before `podlake run` does the work, as it advises: two requests for the same work land twice."""
        with self._own_environment(), open_instance(Settings()) as instance:
            for backfill in instance.get_backfills(filters=BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])):
                instance.update_backfill(backfill.with_status(BulkActionStatus.CANCELED))
            for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])):
                instance.report_run_canceled(run)

    def is_work_left(self) -> bool:
        return len(self._complete()) < EPISODES

    def left(self) -> dict[str, list[str]]:
        """Stage → episodes that can run there now."""
        with self._own_environment(), open_instance(Settings()) as instance:
            found = Situation.of_episodes(instance, self.lake)
        ready = replace(found, in_flight=InFlight()).readiness(plan_settings(Settings())).ready
        return {name: list(keys) for name, keys in ready.items() if keys}

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Table → its rows, sorted, without the columns that may differ."""
        found = {}
        with connect(self.home) as lake:
            for name in COMPARED:
                columns = ", ".join(column for column in TABLES[name].schema.names if column not in MAY_DIFFER)
                found[name] = lake.execute(f"select {columns} from lake.{name} order by all").fetchall()
        return found

    def failed(self) -> list[tuple[Any, ...]]:
        """The failures: no good episode is among them, whatever was killed."""
        with connect(self.home) as lake:
            return lake.execute("select stage, episode_id, error_class from failures order by all").fetchall()

    def assert_no_file_is_torn(self) -> None:
        """Files that compaction deletes meanwhile do not count."""
        for name, table in TABLES.items():
            selector = fs.FileSelector(self.home.path("lake", name), recursive=True, allow_not_found=True)
            for info in self.home.filesystem.get_file_info(selector):
                is_rows = info.path.endswith(".parquet") and "/manifest/" not in info.path
                if is_rows and not info.base_name.startswith("."):
                    with suppress(FileNotFoundError), self.home.filesystem.open_input_file(info.path) as file:
                        assert pq.read_table(file).schema.equals(table.schema), info.path

    def assert_nothing_is_there_twice(self) -> None:
        with connect(self.home) as lake:
            for name in COMPARED:
                key = ", ".join(TABLES[name].key)
                twice = lake.execute(f"select {key} from lake.{name} group by all having count(*) > 1").fetchall()
                assert not twice, name

    def devices_held(self) -> dict[str, int]:
        return Devices(("cuda:0",), self._folder / "podlake-devices").holders()

    def _complete(self) -> set[str]:
        with connect(self.home) as lake:
            return {str(key) for (key,) in lake.execute("select episode_id from lake.quality").fetchall()}

    @contextmanager
    def _process(self, arguments: list[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process with a process group of its own, killed at the end of the block."""
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT, env=self._environment | environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            _kill_group(process)

    @contextmanager
    def _own_environment(self) -> Iterator[None]:
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(self._environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _home_on_postgres(folder: Path, port: int) -> Path:
    """A DAGSTER_HOME with podlake's own configuration, and the storage in a database of its own."""
    folder.mkdir()
    storage = json.dumps(postgres_storage(port, f"chaos_{folder.parent.name}_{time.monotonic_ns()}"))
    (folder / "dagster.yaml").write_text(f"{DEFAULTS.read_text()}\n{storage[1:-1]}\n")
    return folder


def _assert_complete(place: Place) -> None:
    with connect(place.home) as lake:
        landed = lake.execute("select stage, count(*), count(distinct episode_id) from stage_runs "
                              "where outcome = 'landed' and stage not in ('episodes', 'voices', 'repeated_audio') group by stage").fetchall()  # fmt: skip
        failures = lake.execute("select distinct error_class from failures where stage = 'audio' or "
                                "error_class = 'not_audio' order by 1").fetchall()  # fmt: skip
    # One bad episode has audio, of which nothing can be made; both have no publisher's transcript, which lands as such.
    more = {"audio": 1, "publisher_transcript": 2}
    assert {stage: episodes for stage, _, episodes in landed} == {name: EPISODES + more.get(name, 0) for name in STAGES}
    assert all(count == episodes for _, count, episodes in landed), landed
    assert [error for (error,) in failures] == sorted(BAD)
    place.assert_no_file_is_torn()
    place.assert_nothing_is_there_twice()
    assert place.devices_held() == {}


def _write_site(folder: Path) -> None:
    folder.mkdir()
    names = [f"{n:02}.flac" for n in range(EPISODES)]
    noise = np.random.default_rng(1)
    for name in names:
        with av.open(str(folder / name), "w", format="flac") as container:
            stream = container.add_stream("flac", rate=16_000, layout="mono")
            samples = noise.integers(-3000, 3000, (1, 16_000), np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
    (folder / BAD["not_audio"]).write_text("<html>not found, but 200</html>")
    items = "".join(ITEM.format(name=name) for name in [*names, *BAD.values()])
    feed = f'<rss version="2.0"><channel><title>Noises</title><language>en</language>{items}</channel></rss>'
    (folder / "feed.xml").write_text(feed)


def _goes_on(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _kill_each(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it has just exited
            process.kill()
