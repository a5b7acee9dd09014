"""Child processes end at SIGTERM, even if their parent ignores it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from speech.engines.hosts import Place, statuses
from speech.engines.wire import HungUp
from speech.signals import reset_signals, sigterm_kept

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _ignored() -> None:
    """Both signals are ignored here, as in a background process of a shell after a Dagster run."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield  # type: ignore[misc]
    signal.signal(signal.SIGINT, before)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_a_plain_child_inherits_that_and_one_that_resets_does_not() -> None:
    script = "import signal, sys; {}; print(signal.getsignal(signal.SIGTERM).name)"
    resets = "from speech.signals import reset_signals; reset_signals()"
    said = [
        subprocess.run([sys.executable, "-c", script.format(first)], cwd=ROOT, capture_output=True, check=True).stdout
        for first in ("pass", resets)
    ]
    assert [line.strip() for line in said] == [b"SIG_IGN", b"SIG_DFL"]


def test_a_host_process_of_engines_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    place = Place(sys.executable, "cpu", threads=1)
    with closing(place.connect()) as connection:
        (status,) = statuses()
        os.kill(status["pid"], signal.SIGTERM)
        with pytest.raises(HungUp):
            connection.receive()
    assert place.last_error() == "signal SIGTERM"


def test_the_pool_of_a_test_ends() -> None:
    with multiprocessing.get_context("spawn").Pool(1, reset_signals) as pool:
        assert pool.apply(_sigterm) == signal.SIG_DFL


def _sigterm() -> object:
    return signal.getsignal(signal.SIGTERM)


def test_sigterm_is_restored() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with sigterm_kept():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
