"""Dagster runs in this process: their tags, their signals, and what they raise."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import dagster as dg
import pytest

from dagster_project.in_process import materialize
from dagster_project.instance import open_instance
from dagster_project.settings import ROOT, Settings
from pipeline.run_process import PROCESS_TAG, process_tags
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake

DOWNLOADS = """
from dagster_project.in_process import materialize, materialize_range
from dagster_project.instance import open_instance
from dagster_project.settings import Settings

with open_instance(Settings()) as instance:
    materialize(instance, "feeds")
    materialize_range(instance, "episodes", ["singles"])
    materialize_range(instance, "audio", instance.get_dynamic_partitions("episodes"))
"""


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", "")  # put back after what `open_instance` sets
    monkeypatch.delenv("DAGSTER_HOME")
    with open_instance(Settings()) as opened:
        yield opened


def test_a_run_is_tagged_with_this_process_and_waits_for_no_pool(instance: dg.DagsterInstance) -> None:
    slots = instance.event_log_storage
    slots.set_concurrency_slots("sealing", 1)
    assert slots.claim_concurrency_slot("sealing", "another run", "sealed_tables").is_claimed
    materialize(instance, "sealed_tables")
    (run,) = instance.get_runs()
    assert run.is_success
    assert run.tags[PROCESS_TAG] == process_tags()[PROCESS_TAG]


def test_sigterm_keeps_its_handler_if_sigint_is_ignored(instance: dg.DagsterInstance) -> None:
    """A shell ignores SIGINT for background processes."""
    sigterm = signal.getsignal(signal.SIGTERM)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        materialize(instance, "feeds")
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) == sigterm


class Stalls(BaseHTTPRequestHandler):
    """Sends the head of an answer and nothing more, until it is released."""

    asked, released = Event(), Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.send_header("Content-Type", "audio/mpeg")
        self.end_headers()
        self.wfile.flush()
        Stalls.asked.set()
        Stalls.released.wait()

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_ends_a_download(instance: dg.DagsterInstance, sent: signal.Signals) -> None:
    Stalls.asked.clear()
    Stalls.released.clear()
    catalogue = Catalogue(Lake(Home.at(Settings().home)))
    with ThreadingHTTPServer(("127.0.0.1", 0), Stalls) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        for n in range(12):
            catalogue.add_single(f"http://127.0.0.1:{server.server_port}/{n}.mp3", f"Part {n}", "en")
        with subprocess.Popen([sys.executable, "-c", DOWNLOADS], cwd=ROOT, stderr=subprocess.PIPE) as process:
            assert Stalls.asked.wait(120)
            process.send_signal(sent)
            try:
                assert process.wait(timeout=120) != 0
            finally:
                process.kill()
                Stalls.released.set()
                server.shutdown()
    assert instance.get_runs(limit=1)[0].is_finished
