"""Subscriptions: each feed gets a name of its own, also when several processes add feeds at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from pyarrow import fs

from resources.lake.catalogue import Catalogue, Single, Subscription
from resources.lake.home import Home
from resources.lake.lake import Lake

PROCESSES, TITLES = 4, 60
ADD = """
import sys
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake

catalogue = Catalogue(Lake(Home.at(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
for n in range(int(sys.argv[3])):
    catalogue.subscribe([(f"https://{sys.argv[2]}.test/{n}", f"Show {n}"), (f"https://all.test/{n}", f"News {n}")])
"""


def test_processes_that_add_feeds_of_equal_titles_keep_all_of_them(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ADD, str(tmp_path)]
    processes = [
        subprocess.Popen([*command, f"p{n}", str(TITLES)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait() for process in processes] == [0] * PROCESSES
    found = Catalogue(Lake(Home.at(str(tmp_path)))).subscriptions()
    own = {f"https://p{p}.test/{n}" for p in range(PROCESSES) for n in range(TITLES)}
    shared = {f"https://all.test/{n}" for n in range(TITLES)}
    assert sorted(one.url for one in found) == sorted(own | shared)
    assert len({one.feed_id for one in found}) == len(found)


def test_names_in_an_object_store_contain_the_hash_of_the_url(tmp_path: Path) -> None:
    """It overwrites what another process writes under the same name meanwhile."""
    (tmp_path / "home" / "subscriptions").mkdir(parents=True)
    catalogue = Catalogue(Lake(Home("s3://bucket", fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "home")))
    urls = ["https://a.test/rss", "https://b.test/rss"]
    added = catalogue.subscribe((url, "The Show") for url in urls)
    assert [one.feed_id for one in added] == [f"the-show-{sha256(url.encode()).hexdigest()[:8]}" for url in urls]
    assert {one.url for one in catalogue.subscriptions()} == set(urls)


def test_a_known_feed_takes_the_new_language_and_is_not_added_again(tmp_path: Path) -> None:
    catalogue = Catalogue(Lake(Home.at(str(tmp_path))))
    (feed,) = catalogue.subscribe([("https://a.test/rss", "Größe & Maß"), ("https://a.test/rss", "Again")], priority=2)
    assert catalogue.subscribe([("https://a.test/rss", None)], language="de") == []
    (found,) = catalogue.subscriptions()
    assert found == Subscription("grosse-and-mass", "https://a.test/rss", "Größe & Maß", "de", feed.added_at, 2)


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "subscriptions" / "singles"
    folder.mkdir(parents=True)
    fields = {"url": "/a.mp3", "title": None, "language": None, "added_at": "2026-01-02T12:00:00+00:00"}
    (folder / "1234.json").write_text(json.dumps(fields, indent=1))
    feed = {**fields, "feed_id": "show"}
    (folder.parent / "show.json").write_text(json.dumps(feed))
    catalogue = Catalogue(Lake(Home.at(str(tmp_path))))
    assert [type(one) for one in (*catalogue.subscriptions(), *catalogue.singles())] == [Subscription, Single]
    assert catalogue.subscriptions()[0].added_at == catalogue.singles()[0].added_at


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Home.at(str(tmp_path)))


def test_a_file_that_is_added_again_keeps_what_is_not_given(lake: Lake) -> None:
    catalogue = Catalogue(lake)
    assert catalogue.add_single("/a.mp3", "A", "en")
    (first,) = catalogue.singles()
    assert not catalogue.add_single("/a.mp3", None, None)
    assert catalogue.singles() == [first]
    assert not catalogue.add_single("/a.mp3", None, "de")
    assert [(single.title, single.language, single.added_at) for single in catalogue.singles()] == [
        ("A", "de", first.added_at)
    ]


def test_feeds_that_differ_in_their_tokens_are_two(lake: Lake) -> None:
    catalogue = Catalogue(lake)
    urls = [f"https://a.test/rss?token={n}" for n in "ab"]
    feeds = catalogue.subscribe((url, "Show") for url in urls)
    assert [catalogue.address(feed) for feed in feeds] == urls
    assert {feed.url for feed in feeds} == {"https://a.test/rss?token=***"}
    assert catalogue.subscribe((url, "Show") for url in urls) == []


def test_a_subscription_with_a_password_of_an_earlier_version_is_split(lake: Lake) -> None:
    path = Path(lake.home.path("subscriptions", "show.json"))
    path.parent.mkdir(parents=True)
    path.write_text(
        '{"feed_id": "show", "url": "https://me:pw@a.test/rss", "title": null, "language": null, '
        '"added_at": "2026-01-01T00:00:00Z"}'
    )
    (feed,) = Catalogue(lake).subscriptions()
    assert (feed.url, Catalogue(lake).address(feed)) == ("https://***@a.test/rss", "https://me:pw@a.test/rss")
    assert "pw" not in path.read_text()


def test_forgotten_secrets_are_gone(lake: Lake) -> None:
    catalogue = Catalogue(lake)
    (feed,) = catalogue.subscribe([("https://a.test/rss?token=one", "Show")])
    secrets = catalogue.episode_secrets(feed.feed_id)
    secrets.add({f"show-{n} https://a.test/?sig=***": f"https://a.test/?sig={n}" for n in "ab"})
    catalogue.forget_secrets(["show-a"], [])
    assert list(secrets.read().values()) == ["https://a.test/?sig=b"]
    catalogue.forget_secrets([], [feed.feed_id])
    assert [path for path in Path(lake.home.path("secrets")).rglob("*") if path.is_file()] == []
