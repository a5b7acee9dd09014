"""lhotse and NeMo read the exports in their formats: texts, lengths and every sample."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

from dagster_project.cli import main
from dagster_project.settings import Settings
from tests.exports import land_exportable, talk

pytestmark = [
    pytest.mark.nemo,
    pytest.mark.skipif(not Settings().nemo_python, reason="needs NeMo: make nemo"),
]
FORMS = ("nemo", "nemo-tarred", "lhotse", "lhotse-shar")


def test_they_read_every_utterance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talks = [talk(f"show-2026010{i}-0000000{i}", 30, {"A": "host"}) for i in (1, 2)]
    monkeypatch.setenv("PODLAKE_HOME", land_exportable(tmp_path / "home", talks, {"show": {}}).home.root)
    for form in (*FORMS, "jsonl"):
        options = ("--shard-minutes", "1", "--out", str(tmp_path / form))
        done = CliRunner().invoke(main, ["export", form, *options])
        assert done.exit_code == 0, done.output
    reader = Path(__file__).with_name("read_with_nemo.py")
    # Not with this environment's packages on the path.
    done_there = subprocess.run(
        [Settings().nemo_python, str(reader), str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done_there.returncode == 0, done_there.stderr
    found = json.loads(done_there.stdout.splitlines()[-1])
    rows = [json.loads(line) for line in (tmp_path / "jsonl" / "train.jsonl").read_text().splitlines()]
    expected = [
        {
            "id": row["id"],
            "text": row["text"],
            "language": "en",
            "duration": row["duration_ms"] / 1000,
            "samples": hashlib.sha256(
                soundfile.read(tmp_path / "jsonl" / row["audio"], dtype="int16")[0].tobytes()
            ).hexdigest(),
        }
        for row in rows
    ]
    assert len(expected) == 60
    assert found["shards"] == 2
    for form in FORMS:
        assert sorted(found["cuts"][form], key=lambda cut: cut["id"]) == expected, form
    assert found["lines"] == [[row["text"], row["duration_ms"] / 1000, "en"] for row in rows]
