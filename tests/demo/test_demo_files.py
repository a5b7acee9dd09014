"""The demo's files agree with each other, and its server answers as a podcast host does."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import av
import feedparser
import httpx
import numpy as np
import pytest

from demo.make_audio import BROKEN_UPLOAD, EPISODES, PAUSE_MS, decoded, dialogue
from demo.serve import CONTENT_TYPES, DEMO, PLACEHOLDER, serving

AUDIO = sorted((DEMO / "audio").iterdir())
REFERENCES = sorted((DEMO / "reference").glob("*.json"))
LOST = "the-lost-letter.mp3"
AUDIBLE = 0.004
"""Peak of the faintest speech; −48 dBFS, above the room tone."""


def reference(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def feed() -> feedparser.FeedParserDict:
    return feedparser.parse((DEMO / "feed.xml").read_bytes())


@pytest.fixture(scope="module")
def host() -> Iterator[httpx.Client]:
    with serving() as base_url, httpx.Client(base_url=base_url) as client:
        yield client


# The feed


def test_the_feed_parses_and_says_what_a_feed_says(feed: feedparser.FeedParserDict) -> None:
    assert not feed.bozo
    assert feed.version == "rss20"
    assert (feed.feed.title, feed.feed.language) == ("The Corner Table", "en-us")
    assert feed.feed.podcast_guid == "39b3e18f-f097-54a8-9926-9a00a07f9fdb"
    assert len(feed.entries) == len({entry.id for entry in feed.entries}) == 6


def test_episodes_are_listed_newest_first(feed: feedparser.FeedParserDict) -> None:
    published = [parsedate_to_datetime(entry.published) for entry in feed.entries]
    assert published == sorted(published, reverse=True)


def test_every_enclosure_exists_with_the_length_and_type_stated_but_for_the_lost_one(
    feed: feedparser.FeedParserDict,
) -> None:
    stated = {e.enclosures[0].href.removeprefix(PLACEHOLDER + "/audio/"): e.enclosures[0] for e in feed.entries}
    lost = stated.pop(LOST)
    assert (lost.length, lost.type) == ("480000", "audio/mpeg")
    assert {name: (int(e.length), e.type) for name, e in stated.items()} == {
        path.name: (path.stat().st_size, CONTENT_TYPES[path.suffix]) for path in AUDIO
    }


def test_declared_durations_are_the_real_ones(feed: feedparser.FeedParserDict) -> None:
    declared = {Path(entry.enclosures[0].href).stem: int(entry.itunes_duration) for entry in feed.entries}
    assert {slug: declared[slug] for slug in EPISODES} == {
        path.stem: round(reference(path)["duration_ms"] / 1000) for path in REFERENCES
    }


# The audio and its reference


def test_every_good_episode_has_its_own_container() -> None:
    found = {}
    for slug, encoding in EPISODES.items():
        with av.open(str(DEMO / "audio" / (slug + encoding.suffix))) as container:
            found[slug] = (container.format.name.split(",")[0], container.streams.audio[0].codec.name)
    assert found == {
        "bread-takes-its-time": ("mp3", "mp3float"),
        "the-last-train-home": ("mov", "aac"),
        "a-garden-on-the-roof": ("ogg", "opus"),
        "the-sound-of-rain": ("flac", "flac"),
    }


def test_the_broken_upload_cannot_be_opened() -> None:
    slug, _, encoding = BROKEN_UPLOAD
    with pytest.raises(av.error.InvalidDataError):
        av.open(str(DEMO / "audio" / (slug + encoding.suffix)))


def test_everything_is_small() -> None:
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if "__pycache__" not in path.parts) < 3_000_000
    assert sum(reference(path)["duration_ms"] for path in REFERENCES) < 300_000


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
class TestReference:
    def test_says_what_the_dialogue_says(self, path: Path) -> None:
        said = [(turn["speaker"], turn["text"]) for turn in reference(path)["turns"]]
        assert said == dialogue(path.stem)

    def test_turns_follow_each_other_inside_the_duration(self, path: Path) -> None:
        truth = reference(path)
        edges = [edge for turn in truth["turns"] for edge in (turn["start_ms"], turn["end_ms"])]
        assert edges[0] > 0
        assert edges == sorted(edges)
        assert edges[-1] < truth["duration_ms"]
        pauses = [after - before for before, after in zip(edges[1:-1:2], edges[2::2], strict=True)]
        assert all(PAUSE_MS[0] - 1 <= pause <= PAUSE_MS[1] + 1 for pause in pauses)

    def test_every_speaker_says_enough_to_be_told_apart(self, path: Path) -> None:
        spoken_ms: dict[str, list[int]] = defaultdict(list)
        for turn in reference(path)["turns"]:
            spoken_ms[turn["speaker"]].append(turn["end_ms"] - turn["start_ms"])
        assert len(spoken_ms) in (2, 3)
        assert all(len(turns) >= 3 and sum(turns) >= 12_000 for turns in spoken_ms.values())

    def test_lies_where_the_sound_lies(self, path: Path) -> None:
        """Within 50 ms: each turn is loud at both ends, and all that is not a turn is faint."""
        truth = reference(path)
        samples = decoded(DEMO / truth["file"])
        assert abs(len(samples) / 16 - truth["duration_ms"]) < 1
        outside = np.ones(len(samples), dtype=bool)
        for turn in truth["turns"]:
            start, end, margin = turn["start_ms"] * 16, turn["end_ms"] * 16, 50 * 16
            outside[start - margin : end + margin] = False
            assert np.abs(samples[start : start + margin]).max() > AUDIBLE
            assert np.abs(samples[end - margin : end]).max() > AUDIBLE
            assert longest_pause_ms(samples[start:end]) < 300
        assert np.sqrt(np.mean(samples[outside] ** 2)) < 0.002


def longest_pause_ms(samples: np.ndarray) -> int:
    """The longest run of 10-ms frames that are not `AUDIBLE`, in milliseconds."""
    loud = np.abs(samples[: len(samples) // 160 * 160]).reshape(-1, 160).max(axis=1) > AUDIBLE
    return int(np.diff(np.flatnonzero(loud)).max() - 1) * 10


# The server


def test_the_feed_names_the_server_it_came_from(host: httpx.Client) -> None:
    answer = host.get("/feed.xml")
    assert answer.headers["Content-Type"] == "application/rss+xml; charset=utf-8"
    assert PLACEHOLDER not in answer.text
    urls = [entry.enclosures[0].href for entry in feedparser.parse(answer.content).entries]
    assert [url for url in urls if not url.startswith(f"{host.base_url}/audio/")] == []
    assert [url.rpartition("/")[2] for url in urls if host.head(url).status_code == 404] == [LOST]


@pytest.mark.parametrize("path", AUDIO, ids=lambda path: path.suffix)
def test_audio_comes_whole_with_its_type_and_validators(host: httpx.Client, path: Path) -> None:
    answer = host.get(f"/audio/{path.name}")
    assert (answer.status_code, answer.content) == (200, path.read_bytes())
    assert answer.headers["Content-Type"] == CONTENT_TYPES[path.suffix]
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert parsedate_to_datetime(answer.headers["Last-Modified"]).timestamp() == int(path.stat().st_mtime)
    assert answer.headers["ETag"].strip('"')


def test_head_is_get_without_the_body(host: httpx.Client) -> None:
    got, headed = host.get(f"/audio/{AUDIO[0].name}"), host.head(f"/audio/{AUDIO[0].name}")
    assert (headed.status_code, headed.content) == (200, b"")
    assert {**headed.headers, "date": ""} == {**got.headers, "date": ""}


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=100-", 100, -1), ("bytes=-5", -5, -1), ("bytes=7-99999999", 7, -1)],
)
def test_a_range_is_sent_as_such(host: httpx.Client, asked: str, first: int, last: int) -> None:
    body = AUDIO[0].read_bytes()
    first, last = first % len(body), last % len(body)
    answer = host.get(f"/audio/{AUDIO[0].name}", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, body[first : last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(body)}"


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
def test_a_range_past_the_end_is_refused(host: httpx.Client, asked: str) -> None:
    answer = host.get(f"/audio/{AUDIO[0].name}", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{AUDIO[0].stat().st_size}"


@pytest.mark.parametrize("asked", ["bytes=9-3", "bytes=-", "bytes=0-1,5-6", "lines=0-1"])
def test_a_range_that_is_none_is_ignored(host: httpx.Client, asked: str) -> None:
    assert host.get(f"/audio/{AUDIO[0].name}", headers={"Range": asked}).status_code == 200


def test_a_range_of_other_bytes_than_before_is_not_sent(host: httpx.Client) -> None:
    url = f"/audio/{AUDIO[0].name}"
    now = host.head(url).headers
    conditions = {now["ETag"]: 206, now["Last-Modified"]: 206, '"other"': 200, "Thu, 01 Jan 1970 00:00:00 GMT": 200}
    for condition, status in conditions.items():
        assert host.get(url, headers={"Range": "bytes=5-", "If-Range": condition}).status_code == status


@pytest.mark.parametrize("url", ["/feed.xml", f"/audio/{AUDIO[0].name}"])
def test_what_is_known_is_not_sent_again(host: httpx.Client, url: str) -> None:
    now = host.head(url).headers
    conditions = [
        ({"If-None-Match": now["ETag"]}, 304),
        ({"If-None-Match": f'"other", W/{now["ETag"]}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"', "If-Modified-Since": now["Last-Modified"]}, 200),
        ({"If-Modified-Since": now["Last-Modified"]}, 304),
        ({"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
    ]
    answers = [host.get(url, headers=headers) for headers, _ in conditions]
    assert [answer.status_code for answer in answers] == [status for _, status in conditions]
    assert {(answer.content, answer.headers["ETag"]) for answer in answers if answer.status_code == 304} == {
        (b"", now["ETag"])
    }


@pytest.mark.parametrize(
    "url", [f"/audio/{LOST}", "/", "/audio", "/serve.py", "/%2e%2e/pyproject.toml", "/../README.md"]
)
def test_nothing_else_is_there(host: httpx.Client, url: str) -> None:
    assert host.get(url).status_code == 404


def test_a_port_is_kept_and_given_back() -> None:
    with serving() as first:
        port = int(first.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), serving(port=port):
            pass
    with serving(port=port) as second:
        assert second == first
        assert httpx.get(f"{second}/feed.xml").status_code == 200
