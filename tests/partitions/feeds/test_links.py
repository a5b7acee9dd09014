from __future__ import annotations

import pytest

from partitions.feeds.links import web_url


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("https://a.org/x", "https://a.org/x"),
        (" HTTP://A.org/X ", "http://A.org/X"),
        ("feed://a.org/x", "http://a.org/x"),
        ("FEED:https://a.org/x", "https://a.org/x"),
        ("itpc://a.org/x?y=1", "http://a.org/x?y=1"),
        ("pcast://a.org/x", "http://a.org/x"),
        ("podcast://https://a.org/x", "https://a.org/x"),
        ("/etc/passwd", None),
        ("feed.xml", None),
        ("file:///etc/passwd", None),
        ("feed:///etc/passwd", None),
        ("ftp://a.org/x", None),
        ("javascript:alert(1)", None),
        ("", None),
    ],
)
def test_web_url(link: str, url: str | None) -> None:
    assert web_url(link) == url
