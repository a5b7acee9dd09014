from __future__ import annotations

from pathlib import Path

import pytest

from partitions.feeds.opml import OpmlFeed, parse_opml
from speech.errors import NotAFeed

FILE = Path(__file__).parents[2] / "feeds" / "subscriptions.opml"


def test_nested_untitled_repeated_and_not_well_formed() -> None:
    assert parse_opml(FILE.read_bytes()) == (
        OpmlFeed("https://one.example/feed?a=1&b=2", "First"),
        OpmlFeed("https://two.example/feed", "Second"),
        OpmlFeed("https://three.example/feed", "Third"),
    )


def test_cut_off() -> None:
    whole = FILE.read_bytes()
    cut = whole[: whole.index(b"</outline>")]
    assert [found.url for found in parse_opml(cut)] == ["https://one.example/feed?a=1&b=2", "https://two.example/feed"]


@pytest.mark.parametrize(
    "document", [b"", b"<opml><body/></opml>", b"<rss><channel/></rss>", b"https://one.example/feed", b"<outline"]
)
def test_no_subscription(document: bytes) -> None:
    with pytest.raises(NotAFeed, match="no <outline> with an xmlUrl"):
        parse_opml(document)


def test_a_list_names_no_files_of_this_machine() -> None:
    names = ["/etc/passwd", "file:///etc/passwd", "feed.xml", "feed://a.test/rss"]
    outlines = "".join(f'<outline xmlUrl="{name}"/>' for name in names)
    found = parse_opml(f"<opml><body>{outlines}</body></opml>".encode())
    assert [feed.url for feed in found] == ["http://a.test/rss"]
