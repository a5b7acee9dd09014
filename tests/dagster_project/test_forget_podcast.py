"""`podlake podcast forget` leaves no byte of a podcast in the home and in the databases, and the others as they are."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from assets.stages import PODCAST_GRAPH
from dagster_project.build_resources import build_resources
from dagster_project.cli import main
from dagster_project.instance import open_instance
from dagster_project.settings import Settings
from partitions.definitions import PODCASTS, add_keys
from resources.lake.compaction import seal
from resources.lake.tables import SCRIPTS
from resources.studio.feed import write_feed
from resources.studio.ledger import Asked, Limits
from tests.landings import land_stage


def test_a_podcast_goes_with_its_request_files_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    resources = build_resources(Settings())
    lake, files, ledger = resources["lake"], resources["studio_files"], resources["ledger"]
    keys = []
    for word in ("secret", "public"):
        answer = ledger.admit(
            Asked("ana", f"[S1] {word} words", f"{word} title"), Limits(at_once=9, per_day=9), lambda _own: []
        )
        keys.append(key := answer.podcast_id)
        _land(lake, key, word)
        files.publish(key, f"{key}.mp3", word.encode())
        files.publish(key, f"{key}/0000.wav", word.encode())
        files.line(key, 0, word).parent.mkdir(parents=True)
        files.line(key, 0, word).write_text(word)
    list(seal(lake, set(keys)))
    for key, word in zip(keys, ("secret", "public"), strict=True):
        _land(lake, key, word)
    write_feed(lake, files, resources["podcast_feed"])
    with open_instance(Settings()) as instance:
        add_keys(instance, PODCASTS, keys)
    secret, public = keys
    assert len(_holding(tmp_path, secret)) > 15

    done = CliRunner().invoke(main, ["podcast", "forget", secret, "--yes"], catch_exceptions=False)
    assert done.output == "Removed, with 2 files.\n"
    assert _holding(tmp_path, secret) == _holding(tmp_path, "secret words") == _holding(tmp_path, "secret title") == []
    assert [row.title for row in lake.rows(SCRIPTS, public)] == ["public title"]
    assert files.read(f"{'/'.join((public.split('-')[-2][:4], public.split('-')[-2][4:6]))}/{public}.mp3") == b"public"
    assert ledger.request(public).title == "public title"
    assert "public title" in files.read("feed.xml").decode()
    with open_instance(Settings()) as instance:
        assert instance.get_dynamic_partitions("podcasts") == [public]
    again = CliRunner().invoke(main, ["podcast", "forget", secret, "--yes"])
    assert "There is no requested podcast" in again.output


def _land(lake, key: str, word: str) -> None:
    rows = {"scripts": [{"title": f"{word} title", "script": f"{word} words", "language": "en"}]}
    for stage in PODCAST_GRAPH:
        land_stage(lake, stage.name, key, {table.name: rows.get(table.name, [{}]) for table in stage.tables})


def _holding(folder: Path, text: str) -> list[Path]:
    """The files that contain the text, in their names too; Parquet decoded."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            content = str(path).encode() + path.read_bytes()
            if path.suffix == ".parquet":
                content += str(pq.ParquetFile(path).read().to_pylist()).encode()
            if text.encode() in content:
                found.append(path)
    return sorted(found)
