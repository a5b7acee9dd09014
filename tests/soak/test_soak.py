"""`make soak`: everything at once under faults for SOAK_MINUTES; then nothing has leaked, and every row is accounted for.

A growing feed behind a proxy that refuses, resets, truncates and delays. `podlake run` polls and lands, is killed now and
then, and stages land again; meanwhile this process compacts, searches, exports, and serves the API to clients. At the
end the faults stop, the work is completed, and memory, file descriptors, threads, processes and temporary files of
this process are compared with those after the first minute's round.
"""

from __future__ import annotations

import ctypes
import gc
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
import psutil
import pyarrow as pa
import pytest

from assets.stages import EPISODE_GRAPH, FEED_GRAPH
from dagster_project.instance import open_instance
from dagster_project.settings import ROOT, Settings
from demo.serve import serving
from gateway.allocators import limit_allocators
from pipeline.live_window import archive
from podlake.client import Client
from resources.exports.transcripts import episodes_with_turns, write_transcripts
from resources.lake.catalogue import Catalogue
from resources.lake.compaction import seal, settled
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import TABLES
from resources.lake.warehouse import ask, connect
from resources.search import SearchIndex, SearchQuery
from speech.engines.hosts import MODULE as HOSTS
from tests.faulty_proxy import Fault, Faults, faulty_proxy
from tests.gateway.serving import ADMIN, served

MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
CHAOS = Path(__file__).parents[1] / "chaos"
FIRST_EPISODES, MORE_EVERY_S, MORE_EPISODES = 8, 15.0, 4
FAULT_SHARE, SLOW_SHARE, SLOW_S = 0.2, 0.1, 1.5
KILL_SHARE = 0.3
"""Of the runs."""
PATIENCE_S = 900
CONNECTIONS_KEPT = 5
"""To the database of the service, by SQLAlchemy."""
POOL_THREADS, THREADS_KEPT = ("uvloop_", "AnyIO worker thread"), min(32, (os.cpu_count() or 1) + 4)
"""Threads for calls that block. Of the event loop's, Python keeps so many; AnyIO's end when they are idle."""
WORDS_EACH = 10
ITEM = '<item><title>{name}</title><guid>{name}</guid><enclosure url="http://demo.invalid/{name}" length="1" type="audio/flac"/></item>'
GROWTH_MB = 150
"""Memory that caches and the allocator may keep beyond the first round."""


@dataclass(frozen=True)
class Usage:
    """What this process holds."""

    memory_mb: float
    files: Counter[str]
    """What descriptors are of, such as `socket` or a file's name → their number."""
    threads: Counter[str]
    """By name, without their numbers."""
    children: int
    temporary: int

    @classmethod
    def now(cls, temporary: Path) -> Usage:
        process = psutil.Process()
        children = [child for child in process.children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
        names = [path for path in temporary.iterdir() if not path.name.endswith(".lock")]
        names = [path for path in names if path.name not in ("podlake-devices", "home", "cache", "site", "out", "log")]
        threads = Counter(re.sub(r"[\d-]+.*", "", thread.name) for thread in threading.enumerate())
        return cls(_memory_mb(), _open_files(), threads, len(children), len(names))


def _open_files() -> Counter[str]:
    found: Counter[str] = Counter()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found[descriptor.readlink().name.partition(":")[0]] += 1
    return found


def _memory_mb() -> float:
    """Without free memory, which allocators keep for later: the more threads there are, the more of it."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return float(psutil.Process().memory_info().rss) / 1e6


class _MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later, in bytes."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


def _malloc_report() -> str:
    """Used memory that grows is a leak or a cache; arenas that grow while it stays are fragmented."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return ""
    mallinfo.restype = _MallocInfo
    found = mallinfo()
    return f"; malloc uses {(found.uordblks + found.hblkhd) / 1e6:.0f} MB, its arenas have {found.arena / 1e6:.0f} MB"


class Site:
    """A feed that grows."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.count, self._noise = folder, 0, np.random.default_rng(SEED)

    def grow(self, count: int) -> None:
        for name in (f"{n:03}.flac" for n in range(self.count, self.count + count)):
            with av.open(str(self.folder / name), "w", format="flac") as container:
                stream = container.add_stream("flac", rate=16_000, layout="mono")
                samples = self._noise.integers(-3000, 3000, (1, 16_000), np.int16)
                frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                frame.sample_rate, frame.pts = 16_000, 0
                for packet in [*stream.encode(frame), *stream.encode(None)]:
                    container.mux(packet)
        self.count += count
        items = "".join(ITEM.format(name=f"{n:03}.flac") for n in range(self.count))
        new = self.folder / ".feed"
        new.write_text(
            f'<rss version="2.0"><channel><title>Noises</title><language>en</language>{items}</channel></rss>'
        )
        new.replace(self.folder / "feed.xml")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process and its children work on a home in the folder, with engines that take a tenth of a second."""
    values = {
        "PODLAKE_HOME": tmp_path / "home", "PODLAKE_CACHE": tmp_path / "cache", "DAGSTER_HOME": tmp_path / "cache" / "dagster",
        "PODLAKE_DIARIZER": "chaos", "PODLAKE_TRANSCRIBER": "chaos", "PODLAKE_GPUS": "0", "PODLAKE_ENGINE_IDLE_S": "5",
        "TMPDIR": tmp_path, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(CHAOS / "node"), str(ROOT)]),
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(not MINUTES, reason="make soak runs it for SOAK_MINUTES")
@pytest.mark.timeout(int(60 * MINUTES) + 3 * PATIENCE_S)
def test_nothing_leaks_and_every_row_is_accounted_for(environment: Path) -> None:
    limit_allocators()  # as `podlake serve` does; for Arrow it is too late, so that `make soak` sets the variable
    assert pa.default_memory_pool().backend_name == "system", "Start it with `make soak`."
    site, faults, done = Site(environment / "site"), Faults(), Counter[str]()
    site.grow(FIRST_EPISODES)
    lake, stop, errors = Lake(Home.at(str(environment / "home"))), threading.Event(), []
    with ExitStack() as open_now:
        # The proxy passes the feed through as it is: its URLs have to name the proxy.
        base = open_now.enter_context(serving(site.folder))
        proxy = open_now.enter_context(faulty_proxy(base, faults))
        _name_proxy(site, proxy)
        Catalogue(lake).subscribe([(f"{proxy}/feed.xml", "Noises")], language="en")
        assert _run(environment, done) == 0, _log(environment)
        service = open_now.enter_context(served(environment / "home"))
        parts = _parts(environment, lake, service.api(ADMIN), done)
        for part in parts.values():  # caches are filled, modules are imported
            part()
        _wait_for_engines_to_exit(environment)
        before = Usage.now(environment)
        _inject(faults)
        threads = [threading.Thread(target=_repeat, args=(name, part, stop, errors)) for name, part in parts.items()]
        threads.append(
            threading.Thread(target=_repeat, args=("runs", _runs(environment, site, proxy, done), stop, errors))
        )
        for thread in threads:
            thread.start()
        for minute in range(1, int(MINUTES) + 1):
            if not stop.wait(60):
                sys.stderr.write(f"{minute} min: {_memory_mb():.0f} MB{_malloc_report()}\n")
        stop.wait(60 * (MINUTES % 1))
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        faults.choose = lambda method, path: None
        assert not errors, errors[0]
        assert _run(environment, done, "--failed-too") == 0, _log(environment)
        _wait_for_engines_to_exit(environment)
        after = Usage.now(environment)
        sys.stderr.write(
            f"{MINUTES:g} min: {dict(done)}; faults {dict(faults.injected)}; {site.count} episodes\n{before}\n{after}\n"
        )
        _assert_every_row(lake, site.count)
    assert sum(faults.injected.values()) > 0
    assert set(done) >= {*parts, "runs", "kills", "landings again"}
    # Pools grow to what was needed at once, up to their size.
    assert after.files["service.db"] <= CONNECTIONS_KEPT
    assert sum(after.threads[name] for name in POOL_THREADS) <= 2 * THREADS_KEPT
    files, threads = after.files - before.files, after.threads - before.threads
    assert sum(count for name, count in files.items() if not name.startswith("service.db")) <= 2, files
    assert sum(count for name, count in threads.items() if name not in POOL_THREADS) <= 2, threads
    assert after.children <= before.children
    assert after.temporary <= before.temporary
    assert after.memory_mb <= before.memory_mb + GROWTH_MB


def _parts(folder: Path, lake: Lake, api: Client, done: Counter[str]) -> dict[str, Callable[[], None]]:
    """What this process does again and again."""
    settings, index = Settings(), SearchIndex(folder / "cache" / "search")

    def compact() -> None:
        now = datetime.now(UTC)
        finished = settled(lake, EPISODE_GRAPH, now)
        with open_instance(settings) as instance:
            archive(instance, finished)
        list(seal(lake, finished | settled(lake, FEED_GRAPH, now)))
        done["compactions"] += 1

    def search() -> None:
        with connect(lake.home) as connection:
            (word,) = ask(connection, "select word from words join turns using (episode_id) limit 1")[0]
            index.update(connection)
            assert index.search(connection, SearchQuery(word), limit=5).total >= 1
        done["searches"] += 1

    def export() -> None:
        with connect(lake.home) as connection:
            list(write_transcripts(connection, "srt", episodes_with_turns(connection)[:20], folder / "out"))
        done["exports"] += 1

    def call() -> None:
        assert api.statistics() is not None
        page = list(api.feeds())
        assert page
        for (key,) in _some_keys(lake):
            assert api.episode(key).episode_id == key
            assert api.transcript(key, "vtt").startswith("WEBVTT")
        done["api clients"] += 1

    return {"compactions": compact, "searches": search, "exports": export, "api clients": call}


def _some_keys(lake: Lake) -> list[tuple[str]]:
    with connect(lake.home) as connection:
        return ask(connection, "select distinct episode_id from turns order by random() limit 3")


def _runs(folder: Path, site: Site, proxy: str, done: Counter[str]) -> Callable[[], None]:
    """Runs that are killed now and then; the feed grows, and stages land again."""
    chance, grown = random.Random(SEED), [time.monotonic()]

    def once() -> None:
        if time.monotonic() - grown[0] > MORE_EVERY_S:
            site.grow(MORE_EPISODES)
            _name_proxy(site, proxy)
            grown[0] = time.monotonic()
        if chance.random() < KILL_SHARE:
            with _process(folder, ["-m", "dagster_project.cli", "run"]) as run, suppress(subprocess.TimeoutExpired):
                run.wait(chance.uniform(5, 25))
            done["kills"] += 1
        else:
            _run(folder, done)
        with _process(
            folder, [str(Path(__file__).with_name("reland.py")), chance.choice(["turns", "quality"])]
        ) as again:
            again.wait(PATIENCE_S)
        done["landings again"] += 1

    return once


def _run(folder: Path, done: Counter[str], *arguments: str) -> int:
    with _process(folder, ["-m", "dagster_project.cli", "run", *arguments]) as run:
        code = run.wait(PATIENCE_S)
    done["runs"] += 1
    return code


@contextmanager
def _process(folder: Path, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _repeat(name: str, part: Callable[[], None], stop: threading.Event, errors: list[str]) -> None:
    try:
        while not stop.is_set():
            part()
            stop.wait(0.5)
    except BaseException as error:  # noqa: BLE001 - the test fails with it
        errors.append(f"{name}: {type(error).__name__}: {error}")
        stop.set()


def _inject(faults: Faults) -> None:
    chance = random.Random(SEED)
    kinds: tuple[Fault, ...] = ("slow_down", "reset", "truncated", "lost_response")

    def choose(_method: str, _path: str) -> Fault | None:
        if chance.random() < SLOW_SHARE:
            time.sleep(SLOW_S)
            faults.injected["slow"] += 1
        return chance.choice(kinds) if chance.random() < FAULT_SHARE else None

    faults.choose = choose


def _name_proxy(site: Site, proxy: str) -> None:
    feed = site.folder / "feed.xml"
    feed.write_text(feed.read_text().replace("http://demo.invalid", proxy))


def _wait_for_engines_to_exit(folder: Path) -> None:
    """The host processes of engines exit after PODLAKE_ENGINE_IDLE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        alive = 0
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                alive += HOSTS in process.cmdline() and process.environ().get("TMPDIR") == str(folder)
        if not alive:
            return
        time.sleep(1)
    raise AssertionError("engines do not exit")


def _log(folder: Path) -> str:
    return (folder / "log").read_text()[-5000:]


def _assert_every_row(lake: Lake, episodes: int) -> None:
    """Every episode of the feed has landed at every stage, with all its words, and no key is there twice."""
    with connect(lake.home) as connection:
        assert ask(connection, "select count(*) from episodes") == [(episodes,)]
        for table in ("quality", "hashes", "acquisitions"):
            assert ask(connection, f"select count(*) from {table}") == [(episodes,)], table
        words = f"select count(*), count(distinct episode_id) from words having count(*) = {WORDS_EACH} * count(distinct episode_id)"
        assert ask(connection, words) == [(WORDS_EACH * episodes, episodes)]
        assert ask(connection, "select count(*) from word_speakers") == [(WORDS_EACH * episodes,)]
        assert ask(connection, "select * from failures") == []
        for name, table in TABLES.items():
            if table.key:
                twice = f"select {', '.join(table.key)} from lake.{name} group by all having count(*) > 1"
                assert ask(connection, twice) == [], name
