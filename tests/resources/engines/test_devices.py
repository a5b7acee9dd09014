"""A device belongs to one holder at a time, and to nobody once its holder is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resources.engines.devices import CPU, Devices, visible

HOLD = """
import sys, time
from pathlib import Path
from resources.engines.devices import Devices
with Devices(("cuda:0", "cuda:1"), Path(sys.argv[1])).lease(wants_gpu=True) as device:
    print(device, flush=True)
    time.sleep(600)
"""


def holder(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert process.stdout is not None
    return process, process.stdout.readline().decode().strip()


def test_two_holders_never_share_a_device_and_a_killed_one_frees_it(tmp_path: Path) -> None:
    devices = Devices(("cuda:0", "cuda:1"), tmp_path)
    first, first_device = holder(tmp_path)
    second, second_device = holder(tmp_path)
    try:
        assert {first_device, second_device} == {"cuda:0", "cuda:1"}
        assert devices.holders() == {first_device: first.pid, second_device: second.pid}
        with pytest.raises(TimeoutError, match="stayed taken"), devices.lease(wants_gpu=True, wait_s=0.1):
            pass
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        with devices.lease(wants_gpu=True, wait_s=5) as device:
            assert device == first_device
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
    assert devices.holders() == {}


def test_no_wish_or_no_gpu_is_the_cpu(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Devices(("cuda:0",), tmp_path).lease(wants_gpu=False) as device:
        assert device == CPU
    with Devices((), tmp_path).lease(wants_gpu=True) as device:
        assert device == CPU
    assert "No GPU here" in caplog.text


@pytest.mark.parametrize(
    ("setting", "names"),
    [("none", ()), ("0", ("cuda:0",)), ("0, 1,3", ("cuda:0", "cuda:1", "cuda:3")), ("1,1", ("cuda:1",))],
)
def test_the_setting_names_devices(setting: str, names: tuple[str, ...]) -> None:
    assert visible(setting) == names


def test_all_is_what_the_environment_lets_us_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert visible("all") == ("cuda:0", "cuda:1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible("all") == ()


def test_a_setting_that_cannot_be_read_says_what_can() -> None:
    with pytest.raises(ValueError, match="`all`, `none` or device numbers"):
        visible("gpu0")
