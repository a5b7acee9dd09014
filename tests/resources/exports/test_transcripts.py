"""`podlake export` writes a file for each episode that has a transcript."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dagster_project.cli import main
from resources.exports.registry import DATASETS
from resources.exports.registry import TRANSCRIPTS as FORMATS
from resources.exports.transcripts import episodes_with_turns, write_transcripts
from resources.lake.catalogue import Catalogue
from resources.lake.forgetting import forget_episodes
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES
from resources.lake.warehouse import connect
from speech.errors import PodlakeError
from tests.landings import land, land_stage

ONE, TWO, BARE = "show-20260101-00000001", "other-20260102-00000002", "show-20260103-00000003"


@pytest.fixture(autouse=True)
def _lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two episodes with a transcript, in two feeds, and one without."""
    lake = Lake(Home.at(str(tmp_path / "home")))
    Catalogue(lake).subscribe([("https://a.test/rss", "Show"), ("https://b.test/rss", "Other")])
    land(
        lake,
        EPISODES,
        "show",
        [{"episode_id": key, "feed_id": "show", "title": "T", "language": "en"} for key in (ONE, BARE)],
    )
    land(lake, EPISODES, "other", [{"episode_id": TWO, "feed_id": "other"}])
    for key in (ONE, TWO):
        of = {"audio_sha256": "a" * 64}
        words = [{**of, "word_idx": i, "word": f"w{i}", "start_ms": 500 * i, "end_ms": 500 * i + 400} for i in range(4)]
        who = [{**of, "word_idx": i, "speaker": "AABB"[i], "turn_idx": i // 2} for i in range(4)]
        turns = [{**of, "turn_idx": i, "speaker": "AB"[i], "first_word_idx": 2 * i, "n_words": 2} for i in range(2)]
        segments = [{**of, "segment_idx": 0, "speaker": "A", "start_ms": 0, "end_ms": 950}]
        land_stage(lake, "transcript", key, {"words": words})
        land_stage(lake, "diarization", key, {"segments": segments})
        land_stage(lake, "turns", key, {"word_speakers": who, "turns": turns})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PODLAKE_HOME", lake.home.root)


def podlake(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", *arguments])


def test_every_episode_with_a_transcript_is_written(tmp_path: Path) -> None:
    assert podlake("srt").stdout == "export/srt: 2 episodes.\n"
    assert sorted(path.name for path in (tmp_path / "export" / "srt").iterdir()) == [f"{TWO}.srt", f"{ONE}.srt"]
    assert (tmp_path / "export" / "srt" / f"{ONE}.srt").read_text() == (
        "1\n00:00:00,000 --> 00:00:00,900\nA: w0 w1\n\n2\n00:00:01,000 --> 00:00:01,900\nB: w2 w3\n"
    )


def test_a_transcript_that_is_removed_during_the_export_is_no_empty_file(tmp_path: Path) -> None:
    home = Home.at(str(tmp_path / "home"))
    with connect(home) as connection:
        files = write_transcripts(connection, "json", episodes_with_turns(connection), tmp_path / "out")
        next(files)
        forget_episodes(Lake(home), [ONE])
        with pytest.raises(PodlakeError, match=f"The transcript of {ONE} was removed"):
            next(files)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{TWO}.json"]


def test_a_feed_or_an_episode_into_a_folder(tmp_path: Path) -> None:
    assert podlake("json", "--feed", "other", "--out", "o").stdout == "o: 1 episode.\n"
    content = json.loads((tmp_path / "o" / f"{TWO}.json").read_text())
    assert [turn["text"] for turn in content["turns"]] == ["w0 w1", "w2 w3"]
    assert content["segments"] == [{"speaker": "A", "start_ms": 0, "end_ms": 950}]
    assert podlake("rttm", "--episode", ONE, "--out", "r").stdout == "r: 1 episode.\n"


def test_every_format_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in FORMATS:
        for folder in ("x", "y"):
            assert podlake(name, "--out", folder).exit_code == 0
    names = sorted(path.name for path in (tmp_path / "x").iterdir())
    assert len(names) == 2 * len(FORMATS)
    assert all((tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes() for name in names)


def test_what_cannot_be_exported_is_named() -> None:
    assert "There is no format doc. Choose among: srt, vtt," in podlake("doc").stderr
    assert podlake("srt", "--episode", BARE).stderr.endswith(
        f"Error: {BARE} has no transcript. `podlake status {BARE}` says how far it is.\n"
    )
    assert "There is no feed nothing." in podlake("srt", "--feed", "nothing").stderr


def test_without_a_format_they_are_listed() -> None:
    assert [line.split()[0] for line in podlake().stdout.splitlines()] == [*FORMATS, *DATASETS]
