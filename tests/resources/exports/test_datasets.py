"""`podlake export` writes data sets that their own libraries read, and the same lake gives the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.dataset
import pytest
import soundfile
from click.testing import CliRunner, Result

from dagster_project.cli import main
from resources.exports.folder import ExportFolder
from resources.exports.registry import DATASETS
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES, SAME_AUDIO, TABLES
from resources.lake.tables.duplicates import SameAudioRow
from resources.lake.tombstones import write_for_episode
from tests.exports import RATE_HZ, land_exportable, talk
from tests.landings import NOON, land

ONE, TWO, OTHER = "show-20260101-00000001", "show-20260102-00000002", "radio-20260101-00000009"
ROOT = Path(__file__).parents[3]
IS_KILLED = """
import os, signal, sys
shards = 0
def kill(event, arguments):
    global shards
    if event == "os.rename" and "/.podlake-export/shards/" in str(arguments[1]):
        shards += 1
        if shards > 3:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
from dagster_project.cli import main
main()
"""
"""`podlake`, killed when the fourth shard is about to be complete."""
FEEDS: dict[str, dict[str, Any]] = {"show": {}, "radio": {}}


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Two episodes of a show with one host and two guests, and one of another feed whose speakers have no voice."""
    talks = [talk(ONE, 20, {"A": "host", "B": "guest-1"}), talk(TWO, 20, {"A": "host", "B": "guest-2"}), talk(OTHER, 4)]
    made = land_exportable(tmp_path / "home", talks, FEEDS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PODLAKE_HOME", made.home.root)
    return made


def podlake(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", *arguments])


def exported(form: str, *options: str, out: str = "out") -> Path:
    result = podlake(form, "--out", out, *options)
    assert result.exit_code == 0, result.output
    return Path(out)


def samples_of(lake: Lake, row: dict[str, Any]) -> np.ndarray:
    """What the episode's audio has between start and end."""
    sha256 = row["audio_sha256"]
    whole, _ = soundfile.read(lake.home.path("audio", sha256[:2], f"{sha256}.wav"), dtype="int16")
    return whole[row["start_ms"] * 16 : row["end_ms"] * 16]


def decoded(audio: bytes) -> np.ndarray:
    samples, rate_hz = soundfile.read(io.BytesIO(audio), dtype="int16")
    assert rate_hz == RATE_HZ
    return samples


def hashes(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_parquet_is_read_by_pyarrow_and_duckdb(lake: Lake) -> None:
    folder = exported("parquet")
    rows = pyarrow.dataset.dataset(str(folder / "train-00000-of-00001.parquet")).to_table().to_pylist()
    assert [row["id"] for row in rows[:5]] == [*(f"{OTHER}_{i:05d}" for i in range(4)), f"{ONE}_00000"]
    assert all(np.array_equal(decoded(row["audio"]), samples_of(lake, row)) for row in rows)
    assert (rows[4]["text"], rows[4]["speaker"], rows[4]["license"]) == (f"Sentence 0 of {ONE}.", "host", "cc-by-4.0")
    assert rows[0]["speaker"] == f"{OTHER}/A"
    found = duckdb.sql(
        f"select speaker, count(*), sum(octet_length(audio)) > 0 from '{folder}/train-*.parquet' group by all order by all"
    )
    assert found.fetchall() == [("guest-1", 10, True), ("guest-2", 10, True), ("host", 20, True),
                                (f"{OTHER}/A", 2, True), (f"{OTHER}/B", 2, True)]  # fmt: skip


def test_hugging_face_datasets_reads_the_folder(lake: Lake, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = exported("huggingface", "--split", "80/10/10")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {name: split.num_rows for name, split in loaded.items()} == {"train": 40, "test": 4}
    assert loaded["train"].features["audio"] == datasets.Audio(sampling_rate=RATE_HZ)
    undecoded = loaded["train"].cast_column("audio", datasets.Audio(decode=False))
    assert all(np.array_equal(decoded(row["audio"]["bytes"]), samples_of(lake, row)) for row in undecoded)
    assert undecoded[0]["audio"]["path"] == f"{ONE}_00000.flac"


def test_the_card_says_what_is_in_it(lake: Lake) -> None:
    import yaml

    text = (exported("huggingface", "--profile", "asr") / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    fields = yaml.safe_load(head)
    assert fields["license"] == "cc-by-4.0"
    assert fields["language"] == ["en"]
    assert fields["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}
    ]
    for part in ("| train | 44 | 0.02 | 5 |", "| cc-by-4.0 | 44 |", "Quality profile `asr`", "| snr_db | at least 3 |",
                 "## Known problems", "2 speakers (0.1 min) are not linked to a voice", "| `text` | string |"):  # fmt: skip
        assert part in body, part


def test_webdataset_reads_the_shards(lake: Lake) -> None:
    webdataset = pytest.importorskip("webdataset")
    folder = exported("webdataset", "--shard-minutes", "1")
    shards = sorted(str(path) for path in folder.glob("train-*.tar"))
    assert len(shards) == 2
    read = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False))
    assert len(read) == 44
    rows = [json.loads(sample["json"]) for sample in read]
    assert [sample["__key__"] for sample in read] == [row["id"] for row in rows]
    assert all(np.array_equal(decoded(one["flac"]), samples_of(lake, row)) for one, row in zip(read, rows, strict=True))


def test_lines_name_files(lake: Lake) -> None:
    folder = exported("jsonl", "--audio", "wav")
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    assert len(rows) == 44
    assert rows[0]["audio"] == f"audio/train/{OTHER}/{OTHER}_00000.wav"
    assert all(np.array_equal(decoded((folder / row["audio"]).read_bytes()), samples_of(lake, row)) for row in rows)


def test_opus_has_exactly_as_many_samples(lake: Lake) -> None:
    folder = exported("parquet", "--audio", "opus")
    rows = pyarrow.dataset.dataset(str(folder / "train-00000-of-00001.parquet")).to_table().to_pylist()
    assert all(len(decoded(row["audio"])) == row["duration_ms"] * 16 for row in rows)


@pytest.mark.parametrize(
    ("form", "codec"), [*((form, "flac") for form in DATASETS), ("parquet", "opus"), ("nemo", "wav")]
)
def test_two_exports_have_the_same_bytes_and_the_listed_hashes(lake: Lake, form: str, codec: str) -> None:
    options = ("--audio", codec, "--split", "50/25/25", "--split-by", "voice", "--shard-minutes", "1")
    first, second = (hashes(exported(form, *options, out=name)) for name in ("x", "y"))
    assert first == second
    listed = dict(reversed(line.split("  ")) for line in Path("x/SHA256SUMS").read_text().splitlines())
    assert listed == {path: digest for path, digest in first.items() if path != "SHA256SUMS"}
    manifest = json.loads(Path("x/manifest.json").read_text())
    assert (manifest["format"], manifest["utterances"], manifest["audio"]["codec"]) == (form, 44, codec)
    sources = [json.loads(line) for line in Path("x/sources.jsonl").read_text().splitlines()]
    assert [(one["episode_id"], one["license"]) for one in sources] == [(key, "cc-by-4.0") for key in (OTHER, ONE, TWO)]


def test_a_killed_export_continues_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talks = [talk(f"show-2026010{i}-0000000{i}", 200, {"A": "host"}) for i in range(1, 6)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PODLAKE_HOME", land_exportable(tmp_path / "home", talks, {"show": {}}).home.root)
    options = ("--shard-minutes", "2", "--split", "90/5/5", "--split-by", "voice")
    for form in ("webdataset", "jsonl"):
        whole = hashes(exported(form, *options, out=f"{form}-whole"))
        killed = tmp_path / f"{form}-killed"
        command = [sys.executable, "-c", IS_KILLED, "export", form, "--out", str(killed), *options]
        done = subprocess.run(command, cwd=ROOT, stderr=subprocess.DEVNULL, check=False)
        assert done.returncode == -signal.SIGKILL
        assert len(list((killed / ".podlake-export" / "shards").glob("*.json"))) == 3
        assert not (killed / "SHA256SUMS").exists()
        assert "shards were there already" in podlake(form, "--out", str(killed), *options).output
        assert hashes(killed) == whole
        assert "nothing has changed" in podlake(form, "--out", str(killed), *options).output
        assert json.loads((killed / "manifest.json").read_text())["utterances"] == 1_000


def test_no_voice_and_no_feed_is_in_two_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feeds 0 and 1 share a person, 2 and 3 share an audio file; the others are on their own."""
    feeds = {f"feed{i}": {} for i in range(10)}
    talks = [talk(f"feed{i}-20260101-0000000{i}", 8, {"A": f"feed{i}-v1", "B": f"feed{i}-v2"}) for i in range(10)]
    talks[3] = talk("feed3-20260101-00000002", 8, {"A": "feed3-v1"})  # as long as feed 2's: the same sound
    lake = land_exportable(tmp_path / "home", talks, feeds)
    land(lake, TABLES["voices"], "feed1", [{"voice_id": "feed1-v1", "same_as": "feed0-v1"}, {"voice_id": "feed1-v2"}])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PODLAKE_HOME", lake.home.root)
    output = podlake("parquet", "--out", "out", "--split", "60/20/20")
    assert output.exit_code == 0, output.output
    found = duckdb.sql("""select distinct regexp_extract(filename, '(train|validation|test)-', 1) as split, feed_id, speaker,
        audio_sha256 from read_parquet('out/*.parquet', filename = true)""")  # fmt: skip
    for column in ("feed_id", "speaker", "audio_sha256"):
        assert duckdb.sql(
            f"select max(n) from (select count(distinct split) as n from found group by {column})"
        ).fetchall() == [(1,)]
    split_of = dict(found.query("found", "select distinct feed_id, split from found").fetchall())
    assert split_of["feed0"] == split_of["feed1"]
    assert split_of["feed2"] == split_of["feed3"]
    assert set(split_of.values()) == {"train", "validation", "test"}
    speakers = {name for (name,) in found.query("found", "select distinct speaker from found").fetchall()}
    assert {"feed0-v1", "feed1-v1"} & speakers == {"feed0-v1"}


def test_what_may_not_be_exported_is_left_out_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {name: f"show-2026010{i}-0000000{i}" for i, name in enumerate(
        ("free", "by_feed", "share_alike", "blocked", "forgotten", "no_audio"), 1)}  # fmt: skip
    talks = [
        talk(keys["free"], license="CC0"),
        talk(keys["by_feed"], license=None),
        talk(keys["share_alike"], license=None, license_url="https://creativecommons.org/licenses/by-sa/4.0/"),
        talk(keys["blocked"], blocked=True),
        talk(keys["forgotten"]),
        talk(keys["no_audio"]),
        talk("quiet-20260101-00000001", license=None),
    ]
    lake = land_exportable(tmp_path / "home", talks, {"show": {"license": "MIT"}, "quiet": {}})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PODLAKE_HOME", lake.home.root)
    rows = {row.episode_id: row for row in lake.rows(EPISODES, "show")}
    write_for_episode(lake.home, rows[keys["forgotten"]], {})
    (acquired,) = lake.rows(TABLES["acquisitions"], keys["no_audio"])
    lake.home.remove(acquired.storage_uri)
    output = podlake("jsonl", "--out", "out").output
    text = Path("out/train.jsonl").read_text()
    assert [name for name, key in keys.items() if key in text] == ["free", "by_feed"]
    assert "quiet" not in text
    for line in (
        "1 episode, 4 utterances, 0.00 h: no license is stated (--license any includes them)",
        "1 episode, 4 utterances, 0.00 h: license cc-by-sa-4.0: --license cc-by-sa-4.0 includes it",
        "1 episode, 4 utterances, 0.00 h: the feed or item asks to be left out (block)",
        "1 episode, 4 utterances, 0.00 h: forgotten",
        "1 episode, 4 utterances, 0.00 h: the audio is not kept; a materialization of `audio` fetches it again",
    ):
        assert line in output
        assert line.split(": ", 1)[1].split(" (--")[0] in Path("out/manifest.json").read_text()
    text = (exported("jsonl", "--license", "any", out="any") / "train.jsonl").read_text()
    assert [name for name, key in keys.items() if key in text] == ["free", "by_feed", "share_alike"]
    assert "quiet" in text
    text = (exported("jsonl", "--license", "cc-by-sa", out="share") / "train.jsonl").read_text()
    assert [name for name, key in keys.items() if key in text] == ["share_alike"]


def test_a_profile_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = land_exportable(tmp_path / "home", [talk(ONE, 4)], {"show": {}})
    rows = lake.read(TABLES["utterances"], ONE).to_pylist()  # type: ignore[union-attr]
    rows[1]["mean_confidence"] = 0.3
    rows[2].update(mean_confidence=0.3, repetition=0.9)
    land(lake, TABLES["utterances"], ONE, rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PODLAKE_HOME", lake.home.root)
    output = podlake("jsonl", "--profile", "asr", "--out", "out").output
    assert [json.loads(line)["id"] for line in Path("out/train.jsonl").read_text().splitlines()] == [
        f"{ONE}_00000",
        f"{ONE}_00003",
    ]
    assert "2 utterances, 0.00 h: profile asr\n" in output
    assert "1 utterance, 0.00 h: profile asr: repetition" in output


def test_another_lake_replaces_the_data_set_and_other_files_are_kept(lake: Lake) -> None:
    folder = exported("jsonl")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref")
    land(lake, TABLES["utterances"], TWO, lake.read(TABLES["utterances"], TWO).to_pylist()[:3])  # type: ignore[union-attr]
    assert "27 utterances" in podlake("jsonl", "--out", "out").output
    found = hashes(folder)
    assert found.pop(".git/HEAD")
    shutil.rmtree("fresh", ignore_errors=True)
    assert found == hashes(exported("jsonl", out="fresh"))
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    refused = podlake("jsonl", "--out", "mine")
    assert refused.exit_code == 1
    assert "mine has files that are not of an export, such as thesis.txt." in refused.output


@pytest.mark.parametrize("form", list(DATASETS))
def test_a_removed_data_set_leaves_nothing(lake: Lake, form: str) -> None:
    folder = exported(form, "--split", "50/25/25", "--split-by", "voice")
    ExportFolder(str(folder)).clear()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("removed", [0, 1, 20, -2, -1])
def test_a_removal_that_was_interrupted_is_completed_by_the_next_export(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, removed: int
) -> None:
    folder = exported("jsonl")
    asked: list[str] = []

    def interrupted(home: Home, *parts: str) -> None:
        if len(asked) == removed % 34:
            raise KeyboardInterrupt
        asked.append("/".join(parts))
        Path(home.path(*parts)).unlink()

    removal = ExportFolder(str(folder))
    with monkeypatch.context() as patch:
        patch.setattr(Home, "remove", interrupted)
        with pytest.raises(KeyboardInterrupt):
            removal.clear()
    assert podlake("jsonl", "--out", "out").exit_code == 0
    assert hashes(folder) == hashes(exported("jsonl", out="fresh"))


def test_near_copies_are_in_one_split(lake: Lake) -> None:
    def splits() -> list[str]:
        folder = exported("jsonl", "--split", "60/40")
        return sorted(path.stem for path in folder.glob("*.jsonl") if path.stem != "sources")

    assert splits() == ["train", "validation"]
    one, other = (lake.read(TABLES["utterances"], key)["audio_sha256"][0].as_py() for key in (ONE, OTHER))  # type: ignore[index]
    copy = SameAudioRow(
        episode_id=OTHER, audio_sha256=other, original_episode_id=ONE, original_audio_sha256=one, method="chromaprint",
        similarity=0.9, share=0.9, offset_ms=0, run_id="r", landed_at=NOON,
    )  # fmt: skip
    lake.replace(SAME_AUDIO, SAME_AUDIO.landing_key(), SAME_AUDIO.of([copy]))
    assert splits() == ["train"]


def test_mistakes_are_named(lake: Lake) -> None:
    assert "There is no format doc. Choose among: srt," in podlake("doc").stderr
    assert "98/x is no split." in podlake("jsonl", "--split", "98/x").stderr
    assert "There is no profile best. Choose among: asr," in podlake("jsonl", "--profile", "best").stderr
    assert "--profile is for data sets: parquet," in podlake("srt", "--profile", "asr").stderr
    assert "show-1 has no utterances." in podlake("jsonl", "--episode", "show-1").stderr
    nothing = podlake("jsonl", "--license", "gpl-3.0", "--out", "none")
    assert nothing.exit_code == 1
    assert "No utterance can be exported" in nothing.stderr
    assert "license cc-by-4.0: --license cc-by-4.0 includes it" in nothing.stderr
    assert not Path("none").exists()


def test_an_object_store_gets_the_same_bytes(lake: Lake, s3_home: Home) -> None:
    whole = hashes(exported("nemo-tarred"))
    assert podlake("nemo-tarred", "--out", f"{s3_home.uri}/set").exit_code == 0
    home = Home.at(f"{s3_home.uri}/set")
    assert {path: hashlib.sha256(home.read(path)).hexdigest() for path in whole} == whole


def test_one_folder_has_one_writer(lake: Lake) -> None:
    from resources.exports.folder import alone

    with alone("out"):
        assert "Another export writes to out." in podlake("jsonl", "--out", "out").stderr
