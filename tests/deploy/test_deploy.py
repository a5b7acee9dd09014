"""The files of deploy/: units, compose and Helm values that name real commands, settings and keys."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pytest
import yaml

from dagster_project.cli import main
from dagster_project.instance import DEFAULTS
from dagster_project.settings import ROOT, Settings
from tests.instances import instance_for_test
from tests.object_store import s3_server
from tests.postgres import postgres_storage

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
BIN = Path(sys.executable).parent
MOST_EXPOSED = 4.5
"""The worst score that `systemd-analyze security` may give, of 10."""

# Keys of the values of Dagster's chart 1.13, where our file sets them; `...` is free configuration.
IMAGE = {"repository", "tag", "pullPolicy"}
POD: dict[str, Any] = {"env": ..., "envSecrets": ..., "resources": ..., "image": IMAGE}
CHART: dict[str, Any] = {
    "global": {"dagsterHome", "postgresqlSecretName"},
    "generatePostgresqlPasswordSecret": ...,
    "postgresql": {"enabled", "postgresqlHost", "postgresqlUsername", "postgresqlDatabase", "postgresqlScheme"},
    "dagsterWebserver": {**POD, "replicaCount": ..., "enableReadOnly": ..., "service": {"type", "port"}},
    "dagsterDaemon": {
        **POD, "enabled": ..., "heartbeatTolerance": ...,
        "runMonitoring": {"enabled", "startTimeoutSeconds", "cancelTimeoutSeconds", "maxResumeRunAttempts", "pollIntervalSeconds"},
        "runRetries": {"enabled", "maxRetries"}, "sensors": {"useThreads", "numWorkers"}, "schedules": {"useThreads", "numWorkers"},
        "runCoordinator": {"enabled": ..., "type": ..., "config": {"queuedRunCoordinator": ...}},
    },
    "dagster-user-deployments": {
        "enabled": ..., "enableSubchart": ..., "deployments": {**POD, "name": ..., "dagsterApiGrpcArgs": ..., "port": ...},
    },
    "runLauncher": {"type": ..., "config": {"customRunLauncher": {"module": ..., "class": ..., "config": ...}}},
    "computeLogManager": {"type": ..., "config": {"s3ComputeLogManager": {"bucket", "prefix", "skipEmptyFiles"}}},
    "retention": {"enabled": ..., "schedule": {"purgeAfterDays": ...}, "sensor": {"purgeAfterDays": {"skipped", "success", "failure", "started"}}},
    "telemetry": {"enabled"},
    "additionalInstanceConfig": ...,
}  # fmt: skip


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units with the programs of this environment."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/podlake/bin", str(BIN)))
    return sorted(tmp_path.glob("*.service"))


def test_systemd_accepts_the_units(units: list[Path]) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "podlake-" in line]
    assert not ours, done.stderr
    assert [unit.name for unit in units] == [
        f"podlake-{name}.service" for name in ("daemon", "serve", "webserver", "worker")
    ]


def test_the_units_are_hardened(units: list[Path]) -> None:
    for unit in units:
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        score = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout + done.stderr)
        assert score, done.stderr
        assert float(score[1]) <= MOST_EXPOSED, unit.name


def test_units_and_containers_start_real_commands() -> None:
    commands = [
        line.split("bin/")[1].split()
        for unit in UNITS
        for line in unit.read_text().splitlines()
        if line.startswith("ExecStart=")
    ]
    services = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())["services"]
    for service in services.values():
        if "command" in service:
            entrypoint = service.get("entrypoint", ["tini", "--", "podlake"])
            commands.append([entrypoint[-1], *service["command"]])
    (deployment, _) = yaml.safe_load_all((DEPLOY / "helm" / "service.yaml").read_text())
    commands.append(["podlake", *deployment["spec"]["template"]["spec"]["containers"][0]["args"]])
    assert len(commands) == 8
    for program, *arguments in commands:
        assert (BIN / program).exists()
        if program == "podlake":
            command = main.commands[arguments[0]]
            assert isinstance(command, click.Command)
            known = {option for parameter in command.params for option in parameter.opts}
            assert {argument for argument in arguments if argument.startswith("--")} <= known


def test_settings_in_the_files_exist() -> None:
    known = {f"PODLAKE_{name.upper()}" for name in Settings.model_fields} | {"PODLAKE_SERVER", "PODLAKE_WORKER_TOKEN"}
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            assert set(re.findall(r"\bPODLAKE_[A-Z_]+\b", path.read_text())) <= known, path.name


def test_the_dagster_yaml_opens_an_instance_with_pools(
    postgres: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_storage(postgres, f"deploy_{time.monotonic_ns()}")["storage"]["postgres"]["postgres_url"]
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
    shutil.copy(DEPLOY / "dagster.yaml", tmp_path / "dagster.yaml")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert type(instance.run_storage).__name__ == "PostgresRunStorage"
        assert instance.run_monitoring_enabled
        assert instance.run_retries_max_retries == 3
    ours, default = (yaml.safe_load(path.read_text()) for path in (DEPLOY / "dagster.yaml", DEFAULTS))
    assert {name: value for name, value in ours.items() if name != "storage"} == default


def test_logs_of_runs_go_to_s3_as_the_files_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the configuration that is commented out in dagster.yaml, and that of the Helm values."""
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("dagster_aws")
    text = (DEPLOY / "dagster.yaml").read_text()
    logs = yaml.safe_load(re.sub(r"(?m)^# ", "", text[text.index("# compute_logs") : text.index("\ntelemetry")]))
    with s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="podlake")
        with instance_for_test({**logs, "telemetry": {"enabled": False}}) as instance:

            @dg.op
            def speaks() -> None:
                print("a line of the run")  # noqa: T201

            @dg.job
            def speaking() -> None:
                speaks()

            run = speaking.execute_in_process(instance=instance)
            with instance.compute_log_manager.capture_logs([run.run_id, "compute_logs", "test"]):
                os.write(1, b"a line of the run\n")
        found = boto3.client("s3").list_objects_v2(Bucket="podlake", Prefix="logs/")
        assert any(one["Key"].endswith("test.out") for one in found["Contents"])


def test_the_values_have_only_keys_of_the_chart() -> None:
    values = yaml.safe_load((DEPLOY / "helm" / "values.yaml").read_text())
    assert list(_unknown(values, CHART, "")) == []
    assert list(_unknown({"dagsterDaemon": {"image": {"name": "x"}}}, CHART, "")) == ["dagsterDaemon.image.name"]


def test_helm_renders_the_values() -> None:
    if not shutil.which("helm"):
        pytest.skip("needs helm and Dagster's chart")
    chart = os.environ.get("DAGSTER_CHART")
    if not chart:
        pytest.skip("DAGSTER_CHART names no copy of Dagster's chart")
    command = ["helm", "template", "podlake", chart, "-f", DEPLOY / "helm" / "values.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "RayRunLauncher" in done.stdout


def _unknown(values: Any, known: Any, path: str) -> Any:
    """Paths of keys that the chart does not have."""
    if known is ...:
        return
    for value in values if isinstance(values, list) else [values]:
        for key, below in value.items():
            if key not in known:
                yield f"{path}{key}"
            elif isinstance(known, dict):
                yield from _unknown(below, known[key], f"{path}{key}.")
