"""The examples of each profile hold, and `podlake profile check` says what each rule costs."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from dagster_project.cli import main
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import UTTERANCES
from resources.lake.warehouse import ask, connect
from resources.profiles import Example, Rule, load_profiles
from tests.landings import land

EXAMPLES = [(name, one) for name, profile in load_profiles().items() for one in profile.examples]


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_examples(tmp_path: Path, name: str, example: Example) -> None:
    lake = Lake(Home.at(str(tmp_path)))
    land(lake, UTTERANCES, "e", [{"audio_sha256": "a", "end_ms": 1_000, **example.row}])
    with connect(lake.home) as connection:
        found = ask(connection, "select drop_reasons, keep from utterance_profiles where profile = ?", [name])
    assert found == [(list(example.drops), not example.drops)]


def test_every_profile_keeps_and_drops_an_example() -> None:
    for profile in load_profiles().values():
        assert {bool(one.drops) for one in profile.examples} == {True, False}


def test_hours_that_rules_drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hour = {"audio_sha256": "a", "end_ms": 3_600_000}
    rows = [{"speech_share": 0.9}, {"speech_share": 0.1}, {"speech_share": 0.1, "repetition": 0.9}]
    lake = Lake(Home.at(str(tmp_path)))
    land(lake, UTTERANCES, "e", [{**hour, "utterance_idx": i, **row} for i, row in enumerate(rows)])
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path))
    lines = CliRunner().invoke(main, ["profile", "check", "research"]).stdout.splitlines()
    assert lines[0] == "research: keeps 1.00 of 3.00 hours."
    assert [line.split()[:3] for line in lines[4:]] == [
        ["speech_share", "2.00", "1.00"],
        ["repetition", "1.00", "0.00"],
    ]


@pytest.mark.parametrize(("name", "text", "said"), [
    ("mine", "description: x\nrules: [{measure: loudness, max: 1, reason: loud}]", "rules.0: Value error, The table utterances has no measure loudness."),
    ("mine", "rules: [", "while parsing a flow node"),
    ("it's", "description: x\nrules: []", "other characters than letters, digits"),
])  # fmt: skip
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, said: str
) -> None:
    (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.setattr("resources.profiles.PROFILES", tmp_path)
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    answer = CliRunner().invoke(main, ["profile", "check", "mine"])
    assert answer.exit_code == 1
    assert f"The profile {tmp_path / name}.yaml cannot be read" in answer.output
    assert said in answer.output


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="no measure loudness"):
        Rule("loudness", "too loud", max=1)
