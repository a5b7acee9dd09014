"""Which parts of URLs are credentials."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from partitions.credentials import without_credentials


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.test/rss/Zk3fQ9xLw2PbT8vN5rYc/feed.xml", "https://a.test/rss/***/feed.xml"),
        ("https://a.test/Zk3fQ9xLw2PbT8vN5rYc7HdJ.xml", "https://a.test/***.xml"),
        ("https://a.test/rss/9f86d081884c7d659a2feaa0c55ad015/feed.xml", "https://a.test/rss/***/feed.xml"),
        ("https://a.test/private/9f86d081884c7d65/e1.mp3", "https://a.test/private/***/e1.mp3"),
        ("https://a.test/members/3f2b8c1e-9d4a-4b7e-8f10-2c6d5e4a3b21/rss", "https://a.test/members/***/rss"),
        ("https://show.supportingcast.fm/content/eyJhbGciOiJIUzI1.abc.def.rss", "https://show.supportingcast.fm/content/***.rss"),
        ("https://feeds.supercast.tech/feeds/aB3dE5fG7hJ9k", "https://feeds.supercast.tech/feeds/***"),
        ("https://www.patreon.com/rss/myshow?auth=abc", "https://www.patreon.com/rss/myshow?auth=***"),
        ("https://me:pw@a.test/feed?token=t&x=1", "https://***@a.test/feed?token=***&x=1"),
        ("https://a.test/feed?x=1&amp;key=s", "https://a.test/feed?x=1&amp;key=***"),
        ("https://a.test/feed?x=1;key=s", "https://a.test/feed?x=1;key=***"),
        ("https://a.test/feed?token=s;s", "https://a.test/feed?token=***;***"),
        ("https://a.test/feed;jsessionid=s/x", "https://a.test/feed;jsessionid=***/x"),
        ("https://a.test/feed#access_token=s", "https://a.test/feed#access_token=***"),
        ("https://t.test/e/https://me:pw@a.test/a.mp3?token=s", "https://t.test/e/https://***@a.test/a.mp3?token=***"),
        ("https://t.test/e/me:pw@a.test/a.mp3", "https://t.test/e/***@a.test/a.mp3"),
        ("https://t.test/e/https%3A%2F%2Fme%3Apw%40a.test%2Fa", "https://t.test/e/***"),
        ("https://t.test/?url=https://me:pw@a.test/a", "https://t.test/?url=https://***@a.test/a"),
        ("https://t.test/?url=https%3A%2F%2Fa.test%2F%3Ftoken%3Ds", "https://t.test/?url=***"),
        ("https://me:it's@a.test/x", "https://***@a.test/x"),
        ("//me:pw@a.test/x", "//***@a.test/x"),
        ("https://me:pw@[::/x?token=s", "https://***@[::/x?***"),
        ("https://me:p/w@a.test/x", "https://***@a.test/x"),
    ],
)  # fmt: skip
def test_secrets_are_hidden(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
    assert without_credentials(shown) == shown
    assert without_credentials(f"Get <{url}>.") == f"Get <{shown}>."


@pytest.mark.parametrize(
    "url",
    [
        "https://feeds.megaphone.fm/WWO3519750118",
        "https://traffic.megaphone.fm/GLT1234567890.mp3?updated=1700000000",
        "https://feeds.simplecast.com/54nAGcIl",
        "https://omny.fm/d/clips/3f2b8c1e-9d4a-4b7e-8f10-2c6d5e4a3b21/audio.mp3",
        "https://sphinx.acast.com/p/open/s/5f1a2b3c4d5e6f7a8b9c0d1e/e/5f1a2b3c4d5e6f7a8b9c0d1f/media.mp3",
        "https://www.example.org/rss/our-show-2026-01-02-part-1.xml",
        "https://www.example.org/members/2026-11-27-An-Episode-With-A-Long-Title.mp3",
        "https://anchor.fm/s/1e4a0eac/podcast/rss",
        "https://feeds.example.org/TheDailyShowWithTrevorNoah2026Edition/feed.xml",
        "https://a.test/rss/20260102T120000.mp3",
        "https://a..b/rss",
        "https://t.test/e/https://www.example.org/@show/a.mp3?id=4&amp;n=2;x=1#t=30",
        "https://t.test/?url=https%3A%2F%2Fwww.example.org%2Fa.mp3",
        "https://[::/x",
    ],
)
def test_public_addresses_stay(url: str) -> None:
    assert without_credentials(url) == url


@pytest.mark.parametrize(
    ("start", "again"),
    [
        ("", "x"), ("http://a.test", "/x"), ("http://a.test", "/rss/x"), ("", "http://a@"), ("", "http://a/"), ("http://a.test/?", "a;b=c;"),
        ("http://a.test/", "%2f"), ("http://a.test/", "%252f"), ("", "//"), ("", " //a"), ("http://", "a@"), ("http://a.test/?a=", "http://b.test/?a="),
    ],
)  # fmt: skip
def test_a_long_text_takes_linear_time(start: str, again: str) -> None:
    """In quadratic time, each is minutes."""
    shown = without_credentials(start + again * 400_000 + " https://me:pw@a.test/")
    assert shown.endswith(" https://***@a.test/")


def test_a_url_in_urls_is_hidden_at_any_depth() -> None:
    url = "https://me:hunter2@a.test/"
    for _ in range(6):
        assert "hunter2" not in without_credentials(url)
        assert "hunter2" not in without_credentials(f"https://t.test/?url={quote(url, safe='')}")
        url = f"https://t.test/{url}"
