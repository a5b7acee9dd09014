"""Lists of feeds and audio: what lands, what is left out, and that an export can be imported."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dagster import DagsterInstance

from dagster_project.cli import main
from dagster_project.commands import bulk_import
from dagster_project.settings import ROOT
from partitions.keys import episode_key, feed_of
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES, SUBSCRIPTIONS
from resources.lake.tables.catalogue import EpisodeRow
from resources.lake.tombstones import write_for_episode
from resources.lake.warehouse import ask, connect


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return Home.at(str(tmp_path / "home"))


def podlake(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin, catch_exceptions=False)


def add(home: Home, name: str) -> str:
    """Like `podlake add`, without Dagster."""
    return bulk_import.import_file(Catalogue(Lake(home)), name, None).summary()


def test_a_terminal_sees_how_much_of_the_file_was_read(home: Home) -> None:
    lines = [
        json.dumps({"url": f"https://a.test/{n}.mp3", "title": "äöü" * 9}, ensure_ascii=False) for n in range(1500)
    ]
    Path("list.jsonl").write_text("\n".join(lines))
    terminal, output = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-m", "dagster_project.cli", "add", "list.jsonl"]
    with subprocess.Popen(command, env=environment, stderr=output, stdout=subprocess.DEVNULL) as process:
        os.close(output)
        shown = b""
        with suppress(OSError):  # the process has ended
            while True:
                shown += os.read(terminal, 1 << 16)
    os.close(terminal)
    assert process.returncode == 0
    assert b"100%" in shown


def rows(home: Home) -> list[EpisodeRow]:
    lake = Lake(home)
    feeds = [feed.feed_id for feed in Catalogue(lake).imported()]
    return [row for feed_id in feeds for row in lake.rows(EPISODES, feed_id)]


def test_lines_land_as_episodes_without_opening_a_url(home: Home) -> None:
    lines = [
        {"url": "https://a.test/1.mp3", "language": "en-GB", "title": "One", "guid": "g1", "date": "2026-01-02T08:00:00+02:00"},
        {"url": "https://a.test/2.mp3"},
        {"url": "https://a.test/feed", "title": "A Show", "language": "de"},
        {"url": "https://a.test/3", "kind": "audio", "guid": "g1", "date": "2026-01-03"},
        {"url": "https://a.test/2.mp3", "title": "listed twice"},
        {"url": "no url"}, {"url": "https://a.test/4.mp3", "language": "klingon"}, "text",
    ]  # fmt: skip
    Path("list.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n{broken\n\n")
    assert podlake("add", "list.jsonl", "--language", "fr").stdout.splitlines() == [
        "3 audio files and 1 feeds added, 1 already present, 4 bad lines",
        "  line 6: 'no url' is no http(s) URL",
        "  line 7: 'klingon' names no language",
        "  line 8: no JSON object",
        "  line 9: no JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))",
    ]
    one, two, three = rows(home)
    assert (one.title, one.language_declared, one.language) == ("One", "en-GB", "en")
    assert one.published_at == datetime(2026, 1, 2, 6, tzinfo=UTC)
    assert (two.guid, two.language, two.published_at) == ("https://a.test/2.mp3", "fr", None)
    assert one.guid.startswith("g1#")
    assert three.guid.startswith("g1#")
    assert len({one.guid, three.guid}) == 2
    for row in (one, two, three):
        assert row.episode_id == episode_key("imported-0001", row.guid, row.published_at, ())
        assert feed_of(row.episode_id) == row.feed_id == "imported-0001"
    (feed,) = Catalogue(Lake(home)).subscriptions()
    assert (feed.feed_id, feed.url, feed.language) == ("a-show", "https://a.test/feed", "de")
    table = Lake(home).read_file(SUBSCRIPTIONS, "all")
    assert table is not None
    assert table.select(["feed_id", "n_items"]).to_pylist() == [
        {"feed_id": "a-show", "n_items": 0}, {"feed_id": "imported-0001", "n_items": 3}
    ]  # fmt: skip
    with DagsterInstance.get() as instance:
        assert instance.get_dynamic_partitions("feeds") == ["a-show"]
    again = podlake("add", "-", stdin=Path("list.jsonl").read_text())
    assert again.stdout.startswith("0 audio files and 0 feeds added, 5 already present")


def test_a_bad_line_does_not_affect_the_others(home: Home) -> None:
    good = '{{"url": "https://a.test/{}.mp3"}}'
    lines = [good.format(1), "[" * 100_000, r'{"url": "https://a.test/x.mp3", "title": "a\ud800b"}', good.format(2)]
    Path("list.jsonl").write_text("\n".join(lines))
    assert add(home, "list.jsonl").splitlines() == [
        "2 audio files and 0 feeds added, 0 already present, 2 bad lines",
        "  line 2: no JSON (maximum recursion depth exceeded while decoding a JSON array from a unicode string)",
        "  line 3: title has half of a character, such as \\ud800",
    ]
    Path("list.txt").write_text(
        "FEED://a.test/feed\nHTTPS://a.test/2.mp3\nfile:///etc/passwd\nftp://a.test/5.mp3\n/etc/passwd\n"
    )
    assert add(home, "list.txt").startswith("0 audio files and 1 feeds added, 1 already present, 3 bad lines")
    assert [feed.url for feed in Catalogue(Lake(home)).subscriptions()] == ["http://a.test/feed"]
    Path("list.csv").write_text(f"url,title\nhttps://a.test/3.mp3,{'x' * 200_000}\nhttps://a.test/4.mp3,T\n")
    assert add(home, "list.csv").splitlines() == [
        "1 audio files and 0 feeds added, 0 already present, 1 bad lines",
        "  line 2: field larger than field limit (131072)",
    ]
    assert sorted(row.enclosure_url for row in rows(home)) == [f"https://a.test/{n}.mp3" for n in (1, 2, 4)]


def test_large_lists_are_divided_and_later_ones_fill_the_last_feed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_import, "FEED_EPISODES", 4)
    monkeypatch.setattr(bulk_import, "_AT_ONCE", 3)
    Path("a.txt").write_text("# a list\n" + "".join(f"https://a.test/{n}.mp3\n" for n in range(10)))
    add(home, "a.txt")
    Path("b.csv").write_text("title,url\n" + "".join(f'"T, {n}",https://a.test/{n}.mp3\n' for n in range(8, 14)))
    assert add(home, "b.csv") == "4 audio files and 0 feeds added, 2 already present"
    with connect(home) as connection:
        sizes = ask(connection, "select feed_id, count(*) from lake.episodes group by all order by all")
        assert ask(
            connection, "select count(distinct episode_id), count(distinct enclosure_url) from lake.episodes"
        ) == [(14, 14)]
    assert sizes == [("imported-0001", 4), ("imported-0002", 4), ("imported-0003", 4), ("imported-0004", 2)]
    assert [feed.n_items for feed in Catalogue(Lake(home)).imported()] == [4, 4, 4, 2]
    assert rows(home)[-1].title == "T, 13"


def test_a_forgotten_episode_is_not_imported_again(home: Home) -> None:
    Path("one.txt").write_text("https://a.test/1.mp3\n")
    add(home, "one.txt")
    (row,) = rows(home)
    write_for_episode(home, row, {})
    Path("two.txt").write_text("https://a.test/1.mp3\nhttps://a.test/2.mp3\n")
    assert add(home, "two.txt") == (
        "1 audio files and 0 feeds added, 0 already present, 1 left out because they were forgotten"
    )


def test_a_list_without_urls_says_what_it_needs(home: Home) -> None:
    Path("a.csv").write_text("link,title\nhttps://a.test/1.mp3,One\n")
    assert "line 1: the header must name url" in add(home, "a.csv")


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_can_be_imported(home: Home, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"url": "https://a.test/1.mp3", "kind": "audio", "language": "en", "title": 'Said "so", 1', "guid": "g1", "date": "2026-01-02T08:00:00Z"},
        {"url": "https://a.test/2.mp3", "kind": "audio"},
        {"url": "https://a.test/feed", "kind": "feed", "title": "Show", "language": "de"},
    ]  # fmt: skip
    Path("list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    add(home, "list.jsonl")
    podlake("export-catalogue", f"first.{form}")
    monkeypatch.setenv("PODLAKE_HOME", "another")
    add(Home.at("another"), f"first.{form}")
    podlake("export-catalogue", f"second.{form}")
    assert Path("first." + form).read_text() == Path("second." + form).read_text()
    assert len(rows(Home.at("another"))) == 2
    if form == "jsonl":
        exported = [json.loads(line) for line in Path("first.jsonl").read_text().splitlines()]
        assert exported == [lines[2], lines[0], {**lines[1], "guid": "https://a.test/2.mp3"}]


def test_credentials_of_lines_are_kept_for_the_fetcher_only(home: Home) -> None:
    urls = [
        "https://me:PASSWORD@a.test/1.mp3", "https://a.test/2.mp3?token=QUERYSECRET",
        "https://a.test/private/pAth5ECret9x8Y7/3.mp3", "https://a.test/private/oTh3r5ECret9x8Z/3.mp3",
    ]  # fmt: skip
    lines = [{"url": url, "guid": f"{url}#{n}"} for n, url in enumerate(urls)]
    Path("list.jsonl").write_text("\n".join(map(json.dumps, [*lines, {"url": "ftp://me:PASSWORD@a.test/x"}])))
    summary = add(home, "list.jsonl")
    assert summary.startswith("4 audio files and 0 feeds added, 0 already present, 1 bad lines")
    assert add(home, "list.jsonl").startswith("0 audio files and 0 feeds added, 4 already present")
    secrets = Catalogue(Lake(home)).episode_secrets("imported-0001")
    assert [secrets.real(row.enclosure_url, row.episode_id) for row in rows(home)] == urls
    told = [summary, repr(rows(home))]
    told += [path.read_bytes().decode("latin-1") for path in Path(home.root).rglob("*") if path.is_file()]
    for secret in ("PASSWORD", "QUERYSECRET", "pAth5ECret9x8Y7", "oTh3r5ECret9x8Z"):
        assert not any(secret in text for text in told)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_urls_with_credentials_are_exported_only_if_that_is_asked_for(
    home: Home, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = ["https://me:PASSWORD@a.test/1.mp3", "https://a.test/2.mp3?token=QUERYSECRET", "https://a.test/3.mp3"]
    feed = "https://me:FEEDSECRET@a.test/feed"
    lines = [{"url": url, "guid": f"g{n}"} for n, url in enumerate(urls)]
    Path("list.jsonl").write_text("\n".join(map(json.dumps, [{"url": feed, "kind": "feed", "title": "Show"}, *lines])))
    add(home, "list.jsonl")
    (first, second, _) = rows(home)

    said = podlake("export-catalogue", f"public.{form}")
    assert said.stdout == f"1 lines written to public.{form}\n"
    assert said.stderr == (
        "3 left out, as their URLs contain credentials (--with-credentials writes them): "
        f"show, {', '.join(sorted([first.episode_id, second.episode_id]))}\n"
    )
    assert "https://a.test/3.mp3" in Path(f"public.{form}").read_text()
    assert not any(text in Path(f"public.{form}").read_text() for text in ("SECRET", "PASSWORD", "***@"))

    said = podlake("export-catalogue", f"whole.{form}", "--with-credentials")
    assert (said.stdout, said.stderr) == (f"4 lines written to whole.{form}\n", "")
    assert Path(f"whole.{form}").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("PODLAKE_HOME", "another")
    other = Home.at("another")
    add(other, f"whole.{form}")
    catalogue = Catalogue(Lake(other))
    secrets = catalogue.episode_secrets("imported-0001")
    assert {secrets.real(row.enclosure_url, row.episode_id) for row in rows(other)} == set(urls)
    assert [catalogue.address(one) for one in catalogue.subscriptions()] == [feed]
