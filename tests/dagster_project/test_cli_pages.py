"""`podlake page`, `site`, `search` and `report` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dagster_project.cli import main
from tests.talks import BREAD, RAIN, land_talks


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    land_talks(folder)
    return folder


def podlake(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"PODLAKE_HOME": str(home)})


def test_a_page_carries_its_audio_or_links_to_it(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    answer = podlake(home, "page", RAIN, "--out", str(out))
    assert answer.output.startswith(f"{out}: 15 words")
    assert 'src="data:audio/ogg;base64,' in out.read_text()
    podlake(home, "page", RAIN, "--out", str(out), "--audio", "link")
    assert f'src="https://show.test/{RAIN}.mp3"' in out.read_text()
    podlake(home, "page", RAIN, "--out", str(out), "--audio", "none")
    assert "<audio" not in out.read_text()


def test_a_page_says_why_it_cannot_be_written(home: Path, tmp_path: Path) -> None:
    answer = podlake(home, "page", BREAD, "--audio", "embed", "--out", str(tmp_path / "page.html"))
    assert (answer.exit_code, "use --audio link" in answer.output) == (1, True)
    answer = podlake(home, "page", "nothing")
    assert (answer.exit_code, answer.output) == (
        1, "Error: There is no episode nothing. `podlake list --episodes` shows the episodes.\n",
    )  # fmt: skip


def test_an_audiogram_is_written_with_the_words_of_its_range(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "clip.mp4"
    answer = podlake(home, "audiogram", RAIN, "--from", "0", "--to", "0:01.5", "--out", str(out))
    assert answer.exit_code == 0, answer.output
    assert answer.output.startswith(f"{out}: h264, 1080 × 1080, 1.5 s, ")
    assert int(answer.output.split()[-2]) in range(1, 15)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_an_audiogram_says_why_it_cannot_be_made(home: Path) -> None:
    assert "is not in it" in podlake(home, "audiogram", RAIN, "--from", "5", "--to", "2").output
    assert "is not in it" in podlake(home, "audiogram", RAIN, "--from", "0", "--to", "9:00:00").output
    assert "is not kept" in podlake(home, "audiogram", BREAD, "--from", "0", "--to", "1").output
    nowhere = podlake(home, "audiogram", RAIN, "--from", "0", "--to", "1", "--out", "/nowhere/a.mp4")
    assert "There is no folder /nowhere." in nowhere.output
    cover = podlake(home, "audiogram", RAIN, "--from", "0", "--to", "1", "--cover", __file__)
    assert (cover.exit_code, "no picture that podlake reads" in cover.output) == (2, True)
    wrong = podlake(home, "audiogram", RAIN, "--from", "soon", "--to", "1")
    assert (wrong.exit_code, "write 75, 12:00 or 1:02:03.5" in wrong.output) == (2, True)


def test_the_site_is_written_with_small_copies_of_the_audio(home: Path, tmp_path: Path) -> None:
    answer = podlake(home, "site", "--out", str(tmp_path / "site"), "--audio", "copy")
    assert "3 episodes" in answer.output
    assert [path.name for path in (tmp_path / "site" / "audio").iterdir()] == [f"{RAIN}.ogg"]
    assert f'src="../audio/{RAIN}.ogg"' in (tmp_path / "site" / "episodes" / f"{RAIN}.html").read_text()


def test_search_prints_places_and_json(home: Path) -> None:
    answer = podlake(home, "search", "on roof")
    assert answer.stdout.splitlines()[0].startswith(f"{RAIN}  0:01  S1")
    assert answer.stdout.splitlines()[-1] == "1 turn."
    found = json.loads(podlake(home, "search", "rain", "--json", "--limit", "1").stdout)
    assert (found["total"], len(found["hits"])) == (3, 1)
    assert "No turn matches" in podlake(home, "search", "snow").stdout
    assert podlake(home, "search", "rain", "--since", "soon").exit_code == 2


def test_the_report_of_a_feed_is_printed_and_written(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    text = podlake(home, "report", "show", "--out", str(out)).output
    assert [line for line in text.splitlines() if line in ("show", "Episodes", "Languages", "Speakers", "Quality", "Cost")] == [
        "show", "Episodes", "Languages", "Speakers", "Quality", "Cost",
    ]  # fmt: skip
    episodes = text.split("Episodes\n")[1].splitlines()[2].split()
    assert episodes[:2] == ["2", "2"]
    assert "<h2>Quality</h2>" in out.read_text()
    assert podlake(home, "report", "--all").output.startswith("All feeds\n")
    assert "There is no feed nothing" in podlake(home, "report", "nothing").output
    assert podlake(home, "report").exit_code == 2
