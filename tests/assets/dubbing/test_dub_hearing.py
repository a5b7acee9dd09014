"""`dub_hearing`: a dub in a language that our transcriber knows gives its lines back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from assets.dubbing.dub_hearing import dub_hearing
from dagster_project.build_resources import build_resources
from dagster_project.settings import Settings
from demo.make_lesson import make_lesson
from pipeline.stage import Batch, Landing
from resources.lake.tables.lessons import DUB_AUDIO, DUB_TIMES, LESSONS, DubHearingRow
from tests.landings import land

KEY = "lesson-20261127-00000001"
SAID = [("S1", "Welcome to the lesson."), ("S1", "Today we learn how plants drink water.")]


def test_the_words_of_a_dub_are_compared_with_its_lines(tmp_path: Path) -> None:
    given = build_resources(Settings(home=str(tmp_path / "home")))
    lake, files = given["lake"], given["lesson_files"]
    make_lesson(tmp_path / "dub.mp4", SAID)
    languages = {"source_language": "es", "target_language": "en"}
    land(lake, LESSONS, KEY, [{**languages, "added_at": datetime.now(UTC)}])
    land(lake, DUB_AUDIO, KEY, [{"uri": files.add(KEY, "dub.mp4", tmp_path / "dub.mp4"), "sha256": "d" * 64}])
    for missing in ([], [("S1", "And so it ends here, with words that nobody says.")]):
        texts = [text for _, text in (*SAID, *missing)]
        land(lake, DUB_TIMES, KEY, [{"sentence_idx": index, "text": text} for index, text in enumerate(texts)])
        land(lake, DUB_AUDIO, KEY, lake.read(DUB_AUDIO, KEY).to_pylist())
        batch = Batch((KEY,), {name: lake.runs(name, [KEY]) for name in dub_hearing.inputs})
        (outcome,) = dub_hearing.work(batch, lake=lake, engines=given["engines"], lesson_files=files)
        assert isinstance(outcome, Landing)
        (row,) = outcome.rows["dub_hearings"]
        assert isinstance(row, DubHearingRow)
        assert row.n_words == (21 if missing else 11)
        assert row.word_error_rate == pytest.approx(10 / 21 if missing else 0, abs=0.1)
        assert "learn how" in str(row.heard_text)
