"""A home whose name has characters that SQL, globs and shells treat specially."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from assets.stages import EPISODE_GRAPH
from dagster_project.cli import main
from resources.lake.compaction import reopen, sealed_episodes
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import QUALITY, WORDS
from tests.landings import land, land_last, open_keys, seal_settled

KEYS = ["show-20260101-00000001", "show-20260102-00000002"]
NAMES = ["a [b]? *c\\d 'e\"", "back\\slash", "{x,y}", "50% $HOME ~", "ümlaut"]


@pytest.mark.parametrize("name", NAMES)
def test_lands_compacts_and_answers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / name))
    lake = Lake(Home.at(str(tmp_path / name)))
    for key in KEYS:
        land(lake, WORDS, key, [{"word": "hear", "word_idx": n} for n in (0, 1)])
        land_last(lake, key)
    expected = [{"episode_id": key, "n": 2} for key in KEYS]
    assert answer() == expected
    seal_settled(lake)
    assert (open_keys(lake, WORDS), sealed_episodes(lake, EPISODE_GRAPH.terminal)) == ([], KEYS)
    assert all(lake.read(QUALITY, key) is not None for key in KEYS)
    assert answer() == expected
    assert reopen(lake, KEYS[:1])
    assert open_keys(lake, WORDS) == KEYS[:1]
    assert answer() == expected


def answer() -> list[dict[str, object]]:
    sql = "select episode_id, count(*) as n from words group by all order by all"
    result = CliRunner().invoke(main, ["sql", "--format", "json", sql], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)
