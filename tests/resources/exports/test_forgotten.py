"""`podlake forget` finds exports outside the home, removes those that contain the episode, and names the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from dagster_project.cli import main
from resources.exports.dataset import export_dataset
from resources.exports.known import FOLDER
from resources.exports.selection import Choice
from resources.fetch.audio_store import AudioStore
from resources.lake.lake import Lake
from speech.errors import PodlakeError
from speech.waveforms import WaveformCache
from tests.exports import land_exportable, talk

SECRET, PUBLIC = "show-20260101-00000001", "radio-20260101-00000002"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    made = land_exportable(tmp_path / "home", [talk(SECRET, 8), talk(PUBLIC, 8)], {"show": {}, "radio": {}})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PODLAKE_HOME", made.home.root)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    return made


def podlake(*arguments: str) -> str:
    return CliRunner().invoke(main, arguments, catch_exceptions=False).output


def mentions(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and SECRET.encode() in path.name.encode() + path.read_bytes()
    ]


def test_exports_of_an_episode_are_removed_and_named(lake: Lake, tmp_path: Path) -> None:
    podlake("export", "jsonl", "--out", "both", "--split", "50/50")
    podlake("export", "parquet", "--feed", "radio", "--out", "radio-only")
    podlake("export", "webdataset", "--episode", SECRET, "--out", "home/exports/secret")
    podlake("export", "srt", "--out", "captions")
    (tmp_path / "both" / "notes.txt").write_text("mine")
    told = podlake("forget", SECRET, "--dry-run")
    assert f"{tmp_path}/both: what has them is removed. To write it again: podlake export jsonl --split 50/50/0" in told
    assert "radio-only" not in told
    assert mentions(tmp_path / "both")
    podlake("forget", SECRET, "--yes")
    assert [path.name for path in (tmp_path / "both").iterdir()] == ["notes.txt"]
    assert (tmp_path / "radio-only" / "SHA256SUMS").exists()
    assert mentions(tmp_path) == []
    commands = [json.loads(lake.home.read(FOLDER, name))["command"] for name in lake.home.names(FOLDER)]
    assert len(commands) == 3
    (tmp_path / "both" / "notes.txt").unlink()
    assert "8 utterances" in podlake("export", "jsonl", "--out", "both")


def export_and_then(lake: Lake, folder: Path, act: Callable[..., None]) -> None:
    """Export both episodes as JSONL, and call this after the first clips have been written."""
    cache = Path(lake.home.root)
    store, waveforms = AudioStore(lake.home, cache, 10**9), WaveformCache(cache / "waveforms", 10**9)
    export_dataset(lake, store, waveforms, "jsonl", Choice(), str(folder), progress=act)


def test_an_unfinished_export_is_removed_too(lake: Lake, tmp_path: Path) -> None:
    def interrupt(*_: int) -> None:
        if mentions(tmp_path / "both" / "audio"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_and_then(lake, tmp_path / "both", interrupt)
    assert not (tmp_path / "both" / "SHA256SUMS").exists()
    podlake("forget", SECRET, "--yes")
    assert list((tmp_path / "both").iterdir()) == []


def test_an_export_that_runs_meanwhile_keeps_nothing(lake: Lake, tmp_path: Path) -> None:
    def forget(*_: int) -> None:
        podlake("forget", SECRET, "--yes")

    with pytest.raises(PodlakeError, match=f"{SECRET} was forgotten during the export, so its files are removed"):
        export_and_then(lake, tmp_path / "both", forget)
    assert list((tmp_path / "both").iterdir()) == []


def test_exports_on_other_machines_are_named(lake: Lake) -> None:
    podlake("export", "jsonl", "--out", "both")
    (name,) = lake.home.names(FOLDER)
    known = json.loads(lake.home.read(FOLDER, name))
    with lake.home.writing(FOLDER, name) as stream:
        stream.write(json.dumps(known | {"host": "laptop", "folder": "/nowhere/both"}).encode())
    assert "export /nowhere/both on laptop: not seen from here. Remove it there." in podlake(
        "forget", SECRET, "--dry-run"
    )
