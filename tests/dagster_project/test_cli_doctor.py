"""`podlake doctor`."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from click.testing import CliRunner

from dagster_project.cli import main
from dagster_project.commands import doctor
from dagster_project.commands.doctor import BAD, DOUBT, OK, Finding, findings
from dagster_project.settings import ROOT, Settings
from resources.lake.home import Home
from speech.engines import registry
from speech.engines.protocols import EngineChoice, EngineSpec

SORTFORMER = ROOT / "tests" / "nemo" / "sortformer_tiny.nemo"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no .env but one of the test's own
    for name in [name for name in os.environ if name.startswith("PODLAKE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PODLAKE_GPUS", "none")
    monkeypatch.setenv("DAGSTER_HOME", "")  # put back after what `prepare_home` sets
    monkeypatch.delenv("DAGSTER_HOME")


def by_subject(found: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in found}


def test_a_machine_that_can_run(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["doctor"])
    lines = result.stdout.splitlines()
    assert f"{OK} data: {tmp_path / 'home'} is writable; files appear whole" in lines
    assert f"{OK} Dagster: DAGSTER_HOME={tmp_path / 'home' / 'dagster'}, 0 runs" in lines
    assert any(line.startswith(f"{OK} versions: podlake {version('podlake')}, dagster ") for line in lines)
    assert any(line.startswith(f"{OK} lake: format ") for line in lines)
    assert f"{OK} GPU: none, and the chosen engines want none" in lines
    assert result.exit_code == (1 if any(line.startswith(BAD) for line in lines) else 0)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["dagster"]


def test_engines_that_cannot_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLAKE_DIARIZER", f"nemo:{tmp_path / 'none.nemo'}")
    monkeypatch.setenv("PODLAKE_TRANSCRIBER", "en=nemo,zh=hearsay")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    found = by_subject(list(doctor._engines(Settings())))
    assert found["diarizer, weights"] == Finding(
        BAD, "diarizer, weights", f"{tmp_path / 'none.nemo'} is not there", "Set the engine as nemo:/path/to/its/model."
    )
    assert found["transcriber for en, weights"].mark == DOUBT
    assert found["transcriber for zh"].mark == BAD
    assert found["transcriber for zh"].mend.startswith(
        "PODLAKE_TRANSCRIBER names the transcriber 'hearsay', which does not exist."
    )
    assert found["GPU"].mark == DOUBT
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODLAKE_DIARIZER", f"nemo:{SORTFORMER}")
        assert by_subject(list(doctor._engines(Settings())))["diarizer, weights"].mark == OK


@pytest.mark.parametrize(
    ("transcriber", "package", "remedy"),
    [("nemo", "torch", "the driver's CUDA version"), ("whisper:large-v3-turbo", "ctranslate2", "CUDA 12 and cuDNN 9")],
)
@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a GPU")
def test_a_gpu_that_the_engine_s_package_cannot_use(transcriber: str, package: str, remedy: str) -> None:
    (gpu,) = doctor._devices(Settings(gpus="0"), [(sys.executable, spec_of(transcriber).gpu_package)])
    assert gpu.mark == BAD
    assert f"which {package} cannot use in {sys.executable}" in gpu.found
    assert remedy in gpu.mend


def spec_of(transcriber: str) -> EngineSpec:
    return registry.describe_transcriber(EngineChoice.parse(transcriber))


def test_packages_are_held_against_our_own_metadata() -> None:
    (core,) = doctor._packages("the core", "")
    assert core == Finding(OK, "the core", "has the packages of podlake")
    (nemo,) = doctor._packages("engine", "nemo")
    try:
        version("nemo_toolkit")
    except PackageNotFoundError:
        assert "nemo_toolkit==3.0.0 (not installed)" in nemo.found
        assert nemo.mend == "pip install -e '.[nemo]'"


def test_a_ray_cluster_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs the extra `ray`")
    monkeypatch.setenv("PODLAKE_ENGINE_HOST", "ray")
    monkeypatch.setenv("PODLAKE_RAY_ADDRESS", "127.0.0.1:1")
    found = by_subject(list(findings(Settings())))
    assert (found["Ray"].mark, found["Ray cluster"].mark) == (OK, BAD)
    assert "PODLAKE_ENGINE_HOST=local" in found["Ray cluster"].mend


def test_a_home_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert doctor._home(Home.at(str(tmp_path / "file" / "home"))).mark == BAD


def test_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(doctor, "UI_PORT", taken.getsockname()[1])
        assert doctor._port().mark == DOUBT


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free_gb = shutil.disk_usage(tmp_path).free / 1e9
    monkeypatch.setattr(doctor, "TOO_FEW_GB", free_gb + 100)
    assert doctor._disk(Settings()).mark == BAD


def test_every_finding_says_what_to_do_unless_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLAKE_TRANSCRIBER", "firered")
    for finding in findings(Settings()):
        assert bool(finding.mend) == (finding.mark != OK), finding
