"""`podlake list`, `status` and `sql`, over rows that the pipeline's own code lands."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from assets.stages import EPISODE_GRAPH, GRAPH, STAGES
from dagster_project.cli import main
from pipeline.progress import EPISODE_STAGES, FEED_STAGES
from pipeline.records import Run
from pipeline.stage import Batch, Cost, Failure, Landing, Outcome, Stage
from resources.lake.catalogue import Catalogue
from resources.lake.compaction import sealed_episodes
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import HASHES, SUBSCRIPTIONS
from speech.errors import NetworkError, NotFound
from tests.fetch import loopback
from tests.landings import land_arrow, land_outcome, seal_settled

RSS = """<rss version="2.0"><channel><title>The Show</title><language>en-US</language>
<item><title>One</title><guid>1</guid><pubDate>Thu, 01 Jan 2026 10:00:00 GMT</pubDate>
  <enclosure url="http://a.test/1.mp3" type="audio/mpeg"/></item>
<item><title>Two</title><guid>2</guid><pubDate>Fri, 02 Jan 2026 10:00:00 GMT</pubDate>
  <enclosure url="http://a.test/2.mp3" type="audio/mpeg"/></item>
<item><title>Three</title><guid>3</guid><enclosure url="http://a.test/3.mp3" type="audio/mpeg"/></item>
</channel></rss>"""
ONE = "the-show-20260101-6b86b273"
TWO = "the-show-20260102-d4735e3a"
THREE = "the-show-undated-4e074085"
NOW = datetime.now(UTC)
RUN = Run("run-1234-5678", "run-1234-5678", NOW, 3)


def ended(lake: Lake, stage: Stage, outcome: Outcome) -> None:
    land_outcome(lake, stage, outcome, RUN)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """One has landed everywhere, Two's audio is gone, Three waits for its diarization; a second feed cannot be polled."""
    folder = tmp_path_factory.mktemp("home")
    lake = Lake(Home.at(str(folder)))
    (folder / "feed.xml").write_text(RSS)
    catalogue = Catalogue(lake)
    subscriptions = catalogue.subscribe([(str(folder / "feed.xml"), "The Show"), ("http://b.test/rss", "Gone")])
    rows = [{**vars(feed), "n_items": 0} for feed in subscriptions]
    land_arrow(lake, SUBSCRIPTIONS, "all", SUBSCRIPTIONS.of(rows, run_id="r", landed_at=NOW))
    poll = STAGES["episodes"]
    for outcome in poll.work(Batch(("the-show",), {}), catalogue, loopback()):
        assert isinstance(outcome, Landing)
        ended(lake, poll, outcome)
    ended(lake, poll, Failure("gone", NetworkError("The connection to http://b.test/rss failed.")))
    cost = Cost("a" * 64, "f" * 16, engine="toy", engine_ms=1234, audio_ms=5_400_000)
    for stage in (STAGES[name] for name in EPISODE_GRAPH.names):
        ended(lake, stage, Landing(ONE, {}, cost))
    audio, hashes = STAGES["audio"], STAGES["hashes"]
    ended(lake, audio, Failure(TWO, NotFound("http://a.test/2.mp3 answered 404.")))
    for stage in (audio, hashes):
        ended(lake, stage, Landing(THREE, {}, Cost("b" * 64)))
    row = {field.name: None if field.nullable else 0 for field in HASHES.schema} | dict.fromkeys(
        ("sha256", "md5", "pcm16k_sha256", "container", "codec"), ""
    )
    of = {"audio_sha256": "a", "engine_fingerprint": "f", "run_id": "r", "landed_at": NOW, "truncated": False}
    for key, duration_ms in ((ONE, 5_400_000), (THREE, 1_800_000)):
        land_arrow(lake, HASHES, key, HASHES.of([row | {"duration_ms": duration_ms}], episode_id=key, **of))
    return lake


@pytest.fixture(autouse=True)
def _home(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no .env but one of the test's own
    monkeypatch.setenv("PODLAKE_HOME", lake.home.root)
    monkeypatch.setenv("COLUMNS", "200")


def podlake(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def columns(text: str) -> list[list[str]]:
    """The lines of a table, split where two spaces are."""
    return [[part.strip() for part in line.split("  ") if part] for line in text.splitlines()]


def test_the_stages_are_those_of_the_graph() -> None:
    assert (GRAPH.of_kind("feed").names, EPISODE_GRAPH.names) == (FEED_STAGES, EPISODE_STAGES)


class TestList:
    def test_feeds_with_what_became_of_their_episodes(self) -> None:
        header, _, gone, show = columns(podlake("list").stdout)
        assert header == ["feed", "title", "language", "episodes", "done", "failed", "polled (UTC)", "problems"]
        assert gone == ["gone", "Gone", "NULL", "0", "0", "0", "failed", "The connection to http://b.test/rss failed."]
        assert show[:6] == ["the-show", "The Show", "en", "3", "1", "1"]

    def test_episodes_newest_first_with_where_they_stand(self) -> None:
        assert columns(podlake("list", "--episodes").stdout)[2:] == [
            [TWO, "2026-01-02 10:00:00", "en", "NULL", "failed: audio", "Two"],
            [ONE, "2026-01-01 10:00:00", "en", "NULL", "done", "One"],
            [THREE, "NULL", "en", "NULL", "next: diarization", "Three"],
        ]
        assert [row[0] for row in columns(podlake("list", "--feed", "the-show", "--limit", "1").stdout)[2:]] == [TWO]

    def test_nothing(self) -> None:
        assert podlake("list", "--feed", "gone").stdout == "No episode matches.\n"


class TestStatus:
    def test_counts(self) -> None:
        found = json.loads(podlake("status", "--json").stdout)
        assert (found["feeds"], found["episodes"], found["audio_hours"]) == (2, 3, 2.0)
        assert found["stages"] == {
            "audio": {"landed": 2, "failed": 1, "to_do": 0},
            "hashes": {"landed": 2, "failed": 0, "to_do": 1},
            **{stage: {"landed": 1, "failed": 0, "to_do": 2} for stage in EPISODE_GRAPH.names[2:]},
        }
        classes = [(f["stage"], f["error_class"], f["count"], f["example"]) for f in found["failures"]]
        assert classes == [("audio", "http_not_found", 1, TWO), ("episodes", "network", 1, "gone")]

    def test_counts_to_read(self) -> None:
        lines = podlake("status").stdout.splitlines()
        assert lines[0] == "3 episodes of 2 feeds, 2.0 hours of audio decoded"
        assert ["audio", "2", "1", "0"] in columns("\n".join(lines))
        assert ["audio", "http_not_found", "1", "never", TWO] in columns("\n".join(lines))
        assert "http_not_found: http://a.test/2.mp3 answered 404." in lines

    def test_a_repeated_message_is_printed_once_with_a_count(
        self, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(lake.home.root, tmp_path / "failing")
        failing = Lake(Home.at(str(tmp_path / "failing")))
        for key in (ONE, THREE):
            ended(failing, STAGES["transcript"], Failure(key, NetworkError("The connection failed.")))
        monkeypatch.setenv("PODLAKE_HOME", failing.home.root)
        text = podlake("status").stdout
        assert text.count("The connection failed.") == 1
        assert "network: The connection failed. (2 times)" in text.splitlines()

    def test_sealed_landings_count_as_open_ones(
        self, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(lake.home.root, tmp_path / "sealed")
        home = Home.at(str(tmp_path / "sealed"))
        seal_settled(Lake(home))
        assert sealed_episodes(Lake(home), EPISODE_GRAPH.terminal) == [ONE]
        monkeypatch.setenv("PODLAKE_HOME", home.root)
        assert json.loads(podlake("status", "--json").stdout)["stages"]["audio"] == {
            "landed": 2,
            "failed": 1,
            "to_do": 0,
        }

    def test_one_that_failed(self) -> None:
        text = podlake("status", TWO).stdout
        assert "title      Two" in text
        assert "audio      http://a.test/2.mp3" in text
        assert "audio failed once [http_not_found]: http://a.test/2.mp3 answered 404." in text
        assert (
            f"It is not tried again by itself. Once the cause is mended: dagster asset materialize -m dagster_project.definitions --select audio --partition {TWO}"
            in text
        )

    def test_one_that_landed(self) -> None:
        rows = columns(podlake("status", ONE).stdout)
        (transcript,) = [row for row in rows if row[:1] == ["transcript"]]
        assert transcript[1] == "landed"
        assert transcript[3:] == ["1.2", "toy", "run-1234"]

    def test_a_feed_that_cannot_be_polled(self) -> None:
        text = podlake("status", "gone").stdout
        assert "url        http://b.test/rss" in text
        assert "episodes failed once [network]: The connection to http://b.test/rss failed." in text
        assert "It is tried again after " in text

    def test_one_that_is_not_there(self) -> None:
        result = podlake("status", "no-such-thing")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            "Error: There is no episode and no feed 'no-such-thing'. podlake list --episodes shows what there is.\n"
        )


class TestSql:
    QUERY = (
        "select episode_id, title, hashes.duration_ms, failures, published_at "
        "from episode_overview left join hashes using (episode_id) order by title"
    )

    def test_a_table_to_read(self) -> None:
        assert podlake("sql", "select episode_id, duration_ms from hashes order by all").stdout.splitlines() == [
            "episode_id                  duration_ms",
            "───────────────────────────────────────",
            f"{ONE}      5400000",
            f"{THREE}       1800000",
            "",
            "2 rows",
        ]

    def test_a_long_table_is_cut_and_says_so(self) -> None:
        lines = podlake("sql", "select range as n from range(60)").stdout.splitlines()
        assert lines[-3:] == ["49", "", "The first 50 rows; there are more (--limit)."]
        assert podlake("sql", "select range as n from range(60)", "--limit", "60").stdout.endswith("59\n\n60 rows\n")

    def test_csv(self) -> None:
        rows = list(csv.reader(podlake("sql", self.QUERY, "--format", "csv").stdout.splitlines()))
        assert rows == [
            ["episode_id", "title", "duration_ms", "failures", "published_at"],
            [ONE, "One", "5400000", "[]", "2026-01-01 10:00:00+00"],
            [THREE, "Three", "1800000", "[]", ""],
            [TWO, "Two", "", "['audio: http_not_found']", "2026-01-02 10:00:00+00"],
        ]

    def test_json(self) -> None:
        rows = json.loads(podlake("sql", self.QUERY, "--format", "json").stdout)
        assert rows[1:] == [
            {"episode_id": THREE, "title": "Three", "duration_ms": 1_800_000, "failures": [], "published_at": None},
            {
                "episode_id": TWO,
                "title": "Two",
                "duration_ms": None,
                "failures": ["audio: http_not_found"],
                "published_at": "2026-01-02 10:00:00+00",
            },
        ]
        assert json.loads(podlake("sql", "from words where false", "--format", "json").stdout) == []
        odd = podlake(
            "sql", "select 'nan'::float as f, 1.5::decimal(3, 1) as d, date '2026-01-02' as day", "--format", "json"
        )
        assert json.loads(odd.stdout) == [{"f": None, "d": 1.5, "day": "2026-01-02"}]

    def test_a_file_is_of_the_kind_that_its_name_says(self, tmp_path: Path) -> None:
        for name in ("out.parquet", "out.csv", "out.json"):
            assert podlake("sql", self.QUERY, "--output", str(tmp_path / name)).output == ""
        table = pq.read_table(tmp_path / "out.parquet")
        assert table["title"].to_pylist() == ["One", "Three", "Two"]
        assert str(table.schema.field("published_at").type) == "timestamp[us, tz=UTC]"
        assert (tmp_path / "out.csv").read_text().count("\n") == 4
        assert len(json.loads((tmp_path / "out.json").read_text())) == 3

    def test_a_query_that_fails_leaves_the_file_as_it_was(self, tmp_path: Path) -> None:
        for name in ("out.parquet", "out.csv"):
            (tmp_path / name).write_text("before")
            assert podlake("sql", "select 'x'::int from range(2)", "--output", str(tmp_path / name)).exit_code == 1
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
            "out.parquet": "before",
            "out.csv": "before",
        }

    def test_parquet_to_standard_output(self) -> None:
        answer = podlake("sql", "select 1 as one", "--format", "parquet").stdout_bytes
        assert pq.read_table(pa.BufferReader(answer)).to_pylist() == [{"one": 1}]

    def test_a_question_by_its_name_and_a_file_by_its_path(self, tmp_path: Path) -> None:
        assert podlake("sql", "-f", "failures_by_class").stdout.endswith("\n2 rows\n")
        (tmp_path / "q.sql").write_text("-- What is one?\nselect 1 as one;\n")
        assert podlake("sql", "-f", str(tmp_path / "q.sql")).stdout == "one\n───\n  1\n\n1 row\n"
        assert "There is no file and no question nothing." in podlake("sql", "-f", "nothing").stderr

    def test_what_there_is_to_ask(self) -> None:
        text = podlake("sql").stdout
        assert re.search(r"transcript +The transcript to read: a line per turn", text)
        assert re.search(r"segments +Who speaks when. Segments of two speakers may overlap.", text)
        assert re.search(r"talk_time_share +Who has the word, episode by episode", text)

    def test_errors_are_duckdbs_own_words_without_a_traceback(self) -> None:
        unknown = podlake("sql", "select * from epsodes")
        assert unknown.exit_code == 1
        assert "Table with name epsodes does not exist" in unknown.stderr
        assert "There are: acquisitions, chapters, check_results, cloned_speech," in unknown.stderr
        assert 'syntax error at or near "selec"' in podlake("sql", "selec 1").stderr
        assert "Traceback" not in unknown.output
        assert podlake("sql", "--", "-- nothing").stderr.startswith("Error: The query returns no table.")

    @pytest.mark.parametrize(
        "arguments",
        [
            ("select 1", "-f", "x"),
            ("select 1", "--format", "table", "--output", "x"),
        ],
    )
    def test_what_cannot_be_meant(self, arguments: tuple[str, ...]) -> None:
        assert podlake("sql", *arguments).exit_code == 2


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLAKE_GPUS", "first")
    monkeypatch.setenv("PODLAKE_CACHE_GB", "0")
    assert podlake("list").stderr.splitlines() == [
        "Error: PODLAKE_CACHE_GB: Input should be greater than 0",
        "PODLAKE_GPUS: PODLAKE_GPUS='first': use `all`, `none` or device numbers such as `0,1,3`",
        "Correct it in the environment or in .env.",
    ]


def test_every_command_has_help_with_an_example() -> None:
    for name in main.commands:
        text = podlake(name, "--help").stdout
        assert f"podlake {name}" in text.split("Options:")[1]


@pytest.mark.parametrize("arguments", [["--help"], ["sql", "select 1"], ["status"], ["list"]])
def test_reading_starts_without_dagster(arguments: list[str]) -> None:
    heavy = ("dagster", "torch", "librosa", "sklearn", "av") + (
        ("duckdb", "pyarrow") if arguments == ["--help"] else ()
    )
    code = (
        "import sys; from dagster_project.cli import main; main(sys.argv[1:], standalone_mode=False);"
        f"sys.exit(' '.join(name for name in {heavy} if name in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert ran.stderr.strip() == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("list", "--feed", "nothing"), 2, "There is no feed nothing. `podlake list` shows the feeds."),
        (("retry", "--feed", "nothing"), 2, "There is no feed nothing. `podlake list` shows the feeds."),
        (("sql", "select 1", "--output", "no/x.csv"), 1, "There is no folder no to write x.csv to."),
        (("reopen", "nothing"), 1, "nothing is not archived. `podlake status nothing` says how far it is."),
    ],
)
def test_wrong_input_gives_one_line(
    arguments: tuple[str, ...], code: int, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    result = podlake(*arguments)
    assert (result.exit_code, "Traceback" in result.output) == (code, False)
    assert message in result.stderr.splitlines()[-1]


def test_a_home_that_is_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "file" / "home"))
    for arguments in (("status",), ("add", "https://x.test", "--no-check")):
        result = podlake(*arguments)
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        assert "Not a directory. Check the path and PODLAKE_HOME: `podlake doctor`." in result.stderr
