"""A wheel, installed where no checkout is importable, runs the main job."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from dagster_project.settings import ROOT

NOT_COPIED = shutil.ignore_patterns(
    ".*", "data", "build", "bench", "tests", "demo", "docs", "*.egg-info", "__pycache__"
)


def output(*command: object, cwd: Path) -> str:
    own = ("PODLAKE_", "DAGSTER_", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment | {"PODLAKE_GPUS": "none"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def podlake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment that has podlake from its wheel, and the other packages of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT, folder / "source", symlinks=True, ignore=NOT_COPIED)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    output(*pip, "wheel", "--no-deps", "--wheel-dir", folder, folder / "source", cwd=folder)
    shutil.rmtree(folder / "source")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = folder.glob("podlake-*.whl")
    output(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (site_packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # The line adds the folder without its .pth files, so an editable podlake in it is not importable.
    (site_packages / "others.pth").write_text(sysconfig.get_paths()["purelib"])
    return python.with_name("podlake")


def test_the_main_job_runs_in_an_empty_folder(podlake: Path, tmp_path: Path) -> None:
    where = "import dagster_project, sql, sys; print(dagster_project.__file__, *sql.__path__)"
    for path in output(podlake.with_name("python"), "-c", where, cwd=tmp_path).split():
        assert Path(path).is_relative_to(podlake.parents[1])

    audio = shutil.copy(ROOT / "tests" / "audio" / "tone.flac", tmp_path.parent / "tone.flac")
    output(podlake, "add", audio, "--title", "Tone", "--language", "en", cwd=tmp_path)
    output(podlake, "run", cwd=tmp_path)
    query = "select title, n_words from quality join episodes using (episode_id)"
    assert output(podlake, "sql", query, "--format", "csv", cwd=tmp_path) == "title,n_words\nTone,0\n"
    assert "talk_time_share" in output(podlake, "sql", cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert "telemetry" in (tmp_path / "data" / "dagster" / "dagster.yaml").read_text()
