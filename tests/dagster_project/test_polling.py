"""Polls of many feeds in processes of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Event, Thread

import dagster as dg
import pytest

from dagster_project import polling
from dagster_project.instance import open_instance
from dagster_project.planning import Situation
from dagster_project.settings import ROOT, Settings
from partitions.definitions import FEEDS, add_keys
from pipeline.run_process import PROCESS_TAG
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES
from speech.errors import PodlakeError

ITEM = '<item><title>{0}</title><guid>{0}</guid><enclosure url="https://a.test/{0}.mp3" type="audio/mpeg"/></item>'
RSS = '<rss version="2.0"><channel><title>Show</title>{0}</channel></rss>'
N_FEEDS = 3


class Feeds(BaseHTTPRequestHandler):
    """Answers when two requests are there, which is while two processes poll; or, if it holds, when it is released."""

    holds, asked, released = False, Barrier(2), Event()
    both_ask = Event()

    def do_GET(self) -> None:
        try:
            Feeds.asked.wait()
            Feeds.both_ask.set()
        except BrokenBarrierError:
            pass
        if Feeds.holds:
            Feeds.released.wait()
            return
        body = RSS.format(ITEM.format(self.path.strip("/"))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """Subscribed to feeds of a server, which are three batches of polls."""
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PODLAKE_ALLOW_HOSTS", "127.0.0.1")
    monkeypatch.setenv("PODLAKE_BATCH_EPISODES", "1")
    monkeypatch.setenv("DAGSTER_HOME", "")  # put back after what `open_instance` sets
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.setattr(polling, "POLL_RUNS", 2)  # also on a machine with one core
    Feeds.holds, Feeds.asked = False, Barrier(2)
    Feeds.released.clear()
    Feeds.both_ask.clear()
    lake = Lake(Home.at(Settings().home))
    with ThreadingHTTPServer(("127.0.0.1", 0), Feeds) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        Catalogue(lake).subscribe((f"{base}/{n}", f"Feed {n}") for n in range(N_FEEDS))
        yield lake
        Feeds.asked.abort()
        Feeds.released.set()
        server.shutdown()


def poll(instance: dg.DagsterInstance, lake: Lake) -> list[str]:
    keys = [feed.feed_id for feed in Catalogue(lake).subscriptions()]
    add_keys(instance, FEEDS, keys)
    polling.poll_batches(instance, Situation.of_feeds(instance, lake).polls(Settings(), frozenset(keys)))
    return keys


def processes(instance: dg.DagsterInstance) -> set[int]:
    return {int(run.tags[PROCESS_TAG].split(":")[1]) for run in instance.get_runs()}


def test_batches_are_polled_in_two_processes(lake: Lake) -> None:
    Feeds.asked = Barrier(2, timeout=60)  # the third request comes alone
    with open_instance(Settings()) as instance, ThreadPoolExecutor(1) as thread:
        polled = thread.submit(poll, instance, lake)
        assert Feeds.both_ask.wait(120)
        Feeds.asked.abort()
        for key in polled.result(120):
            assert len(lake.rows(EPISODES, key)) == 1
        assert len(instance.get_runs()) == 3
        assert len(processes(instance) - {os.getpid()}) == 2


@pytest.mark.parametrize("which", [0, 1])
def test_the_end_of_one_process_ends_the_other_and_is_reported(lake: Lake, which: int) -> None:
    Feeds.holds = True
    with open_instance(Settings()) as instance, ThreadPoolExecutor(1) as thread:
        polled = thread.submit(poll, instance, lake)
        assert Feeds.both_ask.wait(120)
        found = sorted(processes(instance))
        killed, other = found[which], found[1 - which]
        os.kill(killed, signal.SIGKILL)
        with pytest.raises(PodlakeError, match="status -9; its messages are above"):
            polled.result(120)
        assert not Path(f"/proc/{other}").exists()


def test_a_process_that_does_not_start_is_reported(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling.sys, "executable", shutil.which("false"))
    with open_instance(Settings()) as instance, pytest.raises(PodlakeError, match="status 1; its messages are above"):
        poll(instance, lake)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_processes_end_with_the_command(lake: Lake, sent: signal.Signals) -> None:
    Feeds.holds = True
    command = [sys.executable, "-m", "dagster_project.cli", "refresh"]
    with (
        open_instance(Settings()) as instance,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as refresh,
    ):
        assert Feeds.both_ask.wait(120)
        found = processes(instance) - {refresh.pid}
        assert len(found) == 2
        refresh.send_signal(sent)
        assert refresh.wait(60) != 0
        ends_at = time.monotonic() + 60
        while any(_runs(one) for one in found):
            assert time.monotonic() < ends_at, "a process outlives the command"
            time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
