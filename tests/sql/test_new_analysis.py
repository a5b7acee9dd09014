"""An analysis costs one file: `podlake sql -f` runs it, from wherever it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dagster_project.cli import main
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import WORDS
from tests.landings import land

ANALYSIS = """
-- Which words does an episode repeat?
select episode_id, word, count(*) as times
from words
group by all
having count(*) > 1
order by all;
"""


def test_an_analysis_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    lake = Lake(Home.at(str(tmp_path / "home")))
    key = "show-20260101-00000001"
    land(lake, WORDS, key, [{"word": word, "word_idx": index} for index, word in enumerate(("yes", "no", "yes"))])
    path = tmp_path / "repeated_words.sql"
    path.write_text(ANALYSIS)
    result = CliRunner().invoke(main, ["sql", "-f", str(path), "--format", "json"])
    assert json.loads(result.output) == [{"episode_id": key, "word": "yes", "times": 2}]
