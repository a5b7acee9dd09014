"""The examples of each profile hold, and `podlake profile check` says what each rule costs."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from dagster_project.cli import main
from resources.exports.selection import Choice, select
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import UTTERANCES
from resources.lake.warehouse import ask, connect
from resources.profiles import PROFILES, Example, Rule, load_profile
from speech.errors import PodlakeError
from tests.landings import land

NOWHERE = Home.at("/nowhere")
PACKAGED = {path.stem: load_profile(NOWHERE, path.stem) for path in PROFILES.glob("*.yaml")}
EXAMPLES = [(name, one) for name, profile in PACKAGED.items() for one in profile.examples]
LOUD = "description: Mine.\nrules: [{measure: loudness_lufs, max: -10, reason: too loud}]"


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_examples(tmp_path: Path, name: str, example: Example) -> None:
    lake = Lake(Home.at(str(tmp_path)))
    land(lake, UTTERANCES, "e", [{"audio_sha256": "a", "end_ms": 1_000, **example.row}])
    with connect(lake.home) as connection:
        found = ask(connection, "select drop_reasons, keep from utterance_profiles where profile = ?", [name])
    assert found == [(list(example.drops), not example.drops)]


def test_every_profile_keeps_and_drops_an_example() -> None:
    assert set(PACKAGED) == {"asr", "research", "tts"}
    for profile in PACKAGED.values():
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


def test_profiles_of_the_home_are_added_and_replace_packaged_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(Home.at(str(tmp_path)))
    land(lake, UTTERANCES, "e", [{"audio_sha256": "a", "end_ms": 1_000, "loudness_lufs": -5.0, "mean_confidence": 0.1}])
    of_all = "select profile, drop_reasons from utterance_profiles order by profile"
    with connect(lake.home) as connection:
        assert [name for name, _ in ask(connection, of_all)] == ["asr", "research", "tts"]
    (tmp_path / "profiles").mkdir()
    for name in ("mine", "asr"):
        (tmp_path / "profiles" / f"{name}.yaml").write_text(LOUD)
    (tmp_path / "profiles" / "notes.txt").write_text("Not a profile.")
    with connect(lake.home) as connection:
        found = dict(ask(connection, of_all))
    assert set(found) == {"asr", "mine", "research", "tts"}
    assert found["asr"] == found["mine"] == ["loudness_lufs"]
    assert load_profile(lake.home, "asr").description == "Mine."
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path))
    answer = CliRunner().invoke(main, ["profile", "check", "mine"])
    assert answer.stdout.splitlines()[0] == "mine: keeps 0.00 of 0.00 hours."
    unknown = CliRunner().invoke(main, ["profile", "check", "best"])
    assert "There is no profile best. Choose among: asr, research, tts, mine; or write" in unknown.output
    assert f"{tmp_path}/profiles/best.yaml" in unknown.output


@pytest.mark.parametrize(("name", "text", "said"), [
    ("mine", "description: x\nrules: [{measure: loudness, max: 1, reason: loud}]", "rules.0: Value error, The table utterances has no measure loudness."),
    ("mine", "description: x\nrules: [{measure: snr_db, max: .inf, reason: loud}]", "A bound of snr_db is no number."),
    ("mine", "rules: [", "while parsing a flow node"),
    ("mine", "\xff", "unacceptable character #x00ff"),
    ("it's", "description: x\nrules: []", "other characters than letters, digits"),
])  # fmt: skip
def test_a_file_that_cannot_be_read_is_named_and_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, said: str
) -> None:
    path = tmp_path / "profiles" / f"{name}.yaml"
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    lake = Lake(Home.at(str(tmp_path)))
    land(lake, UTTERANCES, "e", [{"audio_sha256": "a", "end_ms": 1_000}])
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path))
    answer = CliRunner().invoke(main, ["profile", "check", name])
    assert answer.exit_code == 1
    assert f"The profile {path} cannot be read" in answer.output
    assert said in answer.output
    with connect(lake.home) as connection:
        of_one = "select count(*) from utterance_profiles where profile = ?"
        assert ask(connection, of_one, ["asr"]) == [(1,)]
        with pytest.raises(duckdb.Error) as error:
            ask(connection, of_one, [name])
    assert f"The profile {path} cannot be read" in str(error.value)


def test_a_data_set_names_a_profile_that_does_not_exist(tmp_path: Path) -> None:
    lake = Lake(Home.at(str(tmp_path)))
    with connect(lake.home) as connection, pytest.raises(PodlakeError, match=r"There is no profile best\."):
        select(connection, lake, Choice("best"), tmp_path / "rows.parquet")


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="no measure loudness"):
        Rule("loudness", "too loud", max=1)
