"""The home on an object store: a real S3 server of this machine, and everything that the lake promises."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from fsspec.implementations.arrow import ArrowFSWrapper

from assets.stages import EPISODE_GRAPH
from resources.lake.catalogue import Catalogue
from resources.lake.compaction import remove, reopen, sealed_episodes
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import QUALITY, SPEAKERS, WORDS
from resources.lake.warehouse import ask, connect
from speech.errors import StorageError
from tests.landings import land, land_last, open_keys, seal_settled

KEYS = [f"show-2026010{n}-0000000{n}" for n in range(1, 4)]
ROOT = Path(__file__).parents[3]
UPLOADS = """
import sys
from resources.lake.home import Home
with Home.at(sys.argv[1]).writing("notes", "large") as stream:
    stream.write(b"b" * int(sys.argv[2]))
    stream.flush()
    print("uploading", flush=True)
"""


@pytest.fixture
def home(s3_home: Home) -> Home:
    return s3_home


def test_a_landing_is_read_back_replaced_and_removed(home: Home) -> None:
    lake = Lake(home)
    assert open_keys(lake, SPEAKERS) == []
    assert lake.read(SPEAKERS, KEYS[0]) is None
    for names in (["A"], ["A", "B"]):
        land(lake, SPEAKERS, KEYS[0], [{"speaker": name} for name in names])
        found = lake.read(SPEAKERS, KEYS[0])
        assert found is not None
        assert found["speaker"].to_pylist() == names
    assert open_keys(lake, SPEAKERS) == KEYS[:1]
    for _ in range(2):
        remove(lake, KEYS[:1])
        assert open_keys(lake, SPEAKERS) == []
        assert lake.read(SPEAKERS, KEYS[0]) is None


def test_what_breaks_off_is_not_uploaded(home: Home) -> None:
    with suppress(KeyError), home.writing("notes", "one.txt") as stream:
        stream.write(b"half of i")
        raise KeyError
    assert home.names("notes") == []
    with home.writing("notes", "one.txt") as stream:
        stream.write(b"all of it")
    assert home.read("notes", "one.txt") == b"all of it"


def test_an_interrupt_during_an_upload_leaves_all_or_nothing(home: Home) -> None:
    size = 60_000_000
    with home.writing("notes", "large") as stream:
        stream.write(b"a" * size)
    interrupted = subprocess.Popen(
        [sys.executable, "-c", UPLOADS, home.uri, str(size)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert interrupted.stdout
    assert interrupted.stdout.readline() == b"uploading\n"
    time.sleep(0.05)
    interrupted.send_signal(signal.SIGINT)
    interrupted.wait(timeout=120)
    found = home.read("notes", "large")
    assert found in (b"a" * size, b"b" * size)


def test_a_bucket_that_is_not_there_is_a_storage_error(home: Home) -> None:
    elsewhere = Home.at("s3://no-such-bucket/lake")
    with pytest.raises(StorageError, match="could not be written"), elsewhere.writing("one.txt") as stream:
        stream.write(b"lost")


def test_feeds_are_subscribed_to(home: Home) -> None:
    catalogue = Catalogue(Lake(home))
    (feed,) = catalogue.subscribe([("https://a.test/rss", "The Show")])
    assert [one.feed_id for one in catalogue.subscriptions()] == [feed.feed_id]


def test_sealing_changes_no_answer_and_episodes_can_be_reopened(home: Home) -> None:
    lake = Lake(home)
    for key in KEYS:
        land(lake, WORDS, key, [{"word": "hear", "word_idx": n} for n in (0, 1)])
        land_last(lake, key)
    with connect(home) as connection:
        before = answer(connection)
        assert [row[:3] for row in before] == [(key, n, "hear") for key in KEYS for n in (0, 1)]

        seal_settled(lake)
        assert (open_keys(lake, WORDS), sealed_episodes(lake, EPISODE_GRAPH.terminal)) == ([], KEYS)
        assert answer(connection) == before
        assert set(SealedFiles(lake.home, QUALITY).landings(KEYS)) == set(KEYS)

        assert reopen(lake, KEYS[:1])
        assert open_keys(lake, WORDS) == KEYS[:1]
        assert answer(connection) == before

        land(lake, WORDS, KEYS[1], [{"word": "listen"}])
        assert [row[2] for row in answer(connection)] == ["hear", "hear", "listen", "hear", "hear"]


def test_a_file_that_sealing_takes_away_meanwhile_is_asked_for_again(home: Home, monkeypatch) -> None:
    lake = Lake(home)
    for key in KEYS[:2]:
        land(lake, WORDS, key, [{"word": "hear"}])
        land_last(lake, key)
    opened: list[str] = []
    really_open = ArrowFSWrapper.open

    def open_late(self: ArrowFSWrapper, path: str, *arguments: object, **options: object) -> object:
        if f"words/open/{KEYS[0]}" in path and not opened:
            opened.append(path)
            seal_settled(lake)
        return really_open(self, path, *arguments, **options)

    monkeypatch.setattr(ArrowFSWrapper, "open", open_late)
    with connect(home) as connection:
        assert [row[0] for row in answer(connection)] == KEYS[:2]
    assert opened


def answer(connection) -> list[tuple]:
    return ask(connection, "select episode_id, word_idx, word, run_id from words order by all")


def test_threads_connect_at_the_same_time(home: Home) -> None:
    def ask_once(_: int) -> int:
        with connect(home) as connection:
            return len(connection.execute("from episodes").fetchall())

    with connect(home), ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask_once, range(32))) == [0] * 32
