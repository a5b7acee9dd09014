"""Ctrl-C ends `podlake run` during the work of an engine; what has landed stays, and no episode is a suspect."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import dagster as dg
import pytest

from dagster_project.instance import open_instance
from dagster_project.settings import ROOT, Settings
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.warehouse import connect

ENGINE = '''
"""A diarizer and transcriber that works on a long episode for ever."""
import time
from speech.engines.protocols import ON_CPU, EngineSpec
from speech.types import Diarization, Transcript

def describe(choice):
    return EngineSpec("waits", "waits", "1")

def load(choice, device):
    return Waits()

class Waits:
    spec = describe(None)

    def _each(self, recordings, result):
        for recording in recordings:
            while recording.duration_ms > 2000:
                recording.report(1500)
                time.sleep(0.1)
            yield recording, result

    def diarize(self, recordings):
        return self._each(recordings, Diarization((), None))

    def transcribe(self, recordings):
        return self._each(recordings, Transcript((), speech_ms=0))

    def device_use(self):
        return ON_CPU

    def close(self):
        pass
'''
LANDED = "select stage, count(*) from lake.stage_runs where outcome = 'landed' and stage in ('diarization', 'transcript') group by all"
AT_MOST_S = 120


class _Site(SimpleHTTPRequestHandler):
    """Holds the long episode back until the gate is open: an engine that has it first never comes to the short one."""

    def __init__(self, *arguments: object, gate: Event, directory: Path) -> None:
        self.gate = gate
        super().__init__(*arguments, directory=directory)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if "2-long" in self.path:
            self.gate.wait(AT_MOST_S)
        super().do_GET()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name that it has there
        pass


@pytest.fixture
def gate() -> Iterator[Event]:
    opened = Event()
    yield opened
    opened.set()


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Event) -> Iterator[dict[str, str]]:
    (tmp_path / "waits.py").write_text(ENGINE)
    register = (
        "from speech.engines import registry\nregistry.DIARIZERS['waits'] = registry.TRANSCRIBERS['waits'] = 'waits'\n"
    )
    (tmp_path / "sitecustomize.py").write_text(register)
    monkeypatch.setenv("DAGSTER_HOME", "")  # put back after what `open_instance` sets
    monkeypatch.delenv("DAGSTER_HOME")
    own = {
        "PODLAKE_HOME": str(tmp_path / "home"), "PODLAKE_DIARIZER": "waits", "PODLAKE_TRANSCRIBER": "waits",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "TMPDIR": str(tmp_path), "TERM": "xterm",
    }  # fmt: skip
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    site = tmp_path / "site"
    site.mkdir()
    for name, seconds in (("1-short", 1), ("2-long", 3)):
        with wave.open(str(site / f"{name}.flac"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
            file.writeframes(bytes(32_000 * seconds))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Site, gate=gate, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        item = '<item><guid>{0}</guid><enclosure url="{1}/{0}.flac" length="1" type="audio/flac"/></item>'
        items = "".join(item.format(name, base) for name in ("1-short", "2-long"))
        (site / "feed.xml").write_text(f'<rss version="2.0"><channel><title>Two</title>{items}</channel></rss>')
        Catalogue(Lake(Home.at(own["PODLAKE_HOME"]))).subscribe([(f"{base}/feed.xml", "Two")], language="en")
        yield dict(os.environ)
        gate.set()
        server.shutdown()


def _run(environment: dict[str, str], output: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dagster_project.cli", "run"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True)


def _landed(home: Home) -> dict[str, int]:
    with connect(home) as lake:
        return dict(lake.execute(LANDED).fetchall())


def test_ctrl_c_ends_it_and_keeps_what_has_landed(environment: dict[str, str], gate: Event) -> None:
    home = Home.at(environment["PODLAKE_HOME"])
    terminal, output = pty.openpty()
    process = _run(environment, output)
    os.close(output)
    deadline, screen = time.monotonic() + AT_MOST_S, b""
    while (landed := _landed(home)) != {"diarization": 1, "transcript": 1} or b"0:02 of 0:03" not in screen:
        if landed == {"diarization": 1, "transcript": 1}:
            gate.set()
        assert time.monotonic() < deadline, screen.decode()
        try:
            screen += os.read(terminal, 100_000)  # the bars are drawn twice a second
        except OSError:  # it has exited
            pytest.fail(screen.decode())
    status = subprocess.check_output([sys.executable, "-m", "dagster_project.cli", "status"], env=environment, cwd=ROOT)
    assert b"0:02 of 0:03" in status
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(AT_MOST_S) == 130
    os.close(terminal)
    assert _landed(home) == {"diarization": 1, "transcript": 1}
    assert [path for path in Path(home.root, "working").rglob("*") if path.is_file()] == []
    with open_instance(Settings()) as instance:
        ends = {run.status for run in instance.get_runs() if {dg.AssetKey("transcript")} == run.asset_selection}
        assert dg.DagsterRunStatus.CANCELED in ends
        assert dg.DagsterRunStatus.STARTED not in ends
    subprocess.run(
        [sys.executable, "-m", "dagster_project.cli", "engines", "stop"], env=environment, cwd=ROOT, check=True
    )
