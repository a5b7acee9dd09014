"""What feeds and items say about themselves."""

from __future__ import annotations

import pytest

from partitions.feeds.details import Details, Link, Person, Recipient, details_of, plain_text
from partitions.feeds.rss import Episode, parse_feed

FEED = """<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"
 xmlns:podcast="https://podcastindex.org/namespace/1.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>
<title>Show</title><link>https://a.test/</link><description>About &amp;amp; more</description>
<itunes:image href="/cover.jpg"/><itunes:explicit>no</itunes:explicit><itunes:type>serial</itunes:type>
<podcast:locked owner="ann@a.test">yes</podcast:locked><podcast:license url="https://cc.test/by">cc-by-4.0</podcast:license>
<podcast:block id="google">yes</podcast:block><podcast:funding url="https://a.test/pay">Support us</podcast:funding>
<podcast:value type="lightning" method="keysend"><podcast:valueRecipient name="Ann" type="node" address="02d5" split="90"/>
<podcast:valueRecipient name="Bob" split="10"/></podcast:value>
<item><title>One</title><guid>1</guid><link>https://a.test/1</link><enclosure url="https://a.test/1.mp3" type="audio/mpeg"/>
<description>short</description><content:encoded><![CDATA[<p>Hello <b>there</b></p><script>x()</script><ul><li>one</li><li>two &amp; three</li></ul>]]></content:encoded>
<itunes:explicit>true</itunes:explicit><itunes:episodeType>bonus</itunes:episodeType><itunes:block>Yes</itunes:block>
<itunes:author>Ann</itunes:author><author>Bob</author>
<podcast:person role="guest" href="https://b.test" img="b.jpg">Bob  B.</podcast:person><podcast:license>cc0</podcast:license></item>
<item><title>Two</title><guid>2</guid><enclosure url="https://a.test/2.mp3" type="audio/mpeg"/></item></channel></rss>"""


def _parsed() -> tuple[Episode, Episode]:
    one, two = parse_feed(FEED.encode(), url="https://a.test/feed").episodes
    return one, two


def test_a_feed_describes_itself() -> None:
    details = parse_feed(FEED.encode(), url="https://a.test/feed").details
    assert details
    assert (details.description_text, details.link, details.image_url) == (
        "About & more", "https://a.test/", "https://a.test/cover.jpg"
    )  # fmt: skip
    assert (details.explicit, details.locked, details.blocked, details.kind) == (False, True, None, "serial")
    assert (details.license, details.license_url) == ("cc-by-4.0", "https://cc.test/by")
    assert details.funding == (Link("https://a.test/pay", "Support us"),)
    assert details.value == (Recipient("Ann", "node", "02d5", 90, "keysend"),)


def test_an_item_describes_itself() -> None:
    details = _parsed()[0].details
    assert details
    assert details.description_text == "Hello there\none\ntwo & three"
    assert details.description_html is not None
    assert details.description_html.startswith("<p>Hello <b>there</b></p><script>")
    assert (details.link, details.explicit, details.blocked, details.kind) == ("https://a.test/1", True, True, "bonus")
    assert details.authors == ("Ann", "Bob")
    assert details.persons == (Person("Bob B.", "guest", None, "https://b.test", "https://a.test/b.jpg"),)
    assert details.license == "cc0"


ITEM = """<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"
 xmlns:media="http://search.yahoo.com/mrss/" xmlns:podcast="https://podcastindex.org/namespace/1.0"
 xmlns:creativeCommons="http://backend.userland.com/creativeCommonsRssModule"><channel><title>Show</title>
<item><title>One</title><enclosure url="https://a.test/1.mp3" type="audio/mpeg"/>{elements}</item></channel></rss>"""


def of_item(elements: str) -> Details:
    (episode,) = parse_feed(ITEM.format(elements=elements).encode(), url="https://a.test/feed/").episodes
    assert episode.details
    return episode.details


@pytest.mark.parametrize(
    ("elements", "url"),
    [
        ('<itunes:image href="1.jpg"/>', "https://a.test/feed/1.jpg"),
        ('<media:thumbnail url="https://cdn.test/2.jpg"/>', "https://cdn.test/2.jpg"),
        ("<image><title>Cover</title><url>/3.jpg</url></image>", "https://a.test/3.jpg"),
        ('<media:thumbnail url="2.jpg"/><itunes:image href="/1.jpg"/>', "https://a.test/1.jpg"),
        ('<itunes:image href=""/>', None),
    ],
)
def test_the_image_of_an_item(elements: str, url: str | None) -> None:
    assert of_item(elements).image_url == url


def test_an_item_says_how_it_is_paid_for() -> None:
    details = of_item(
        '<podcast:funding url="/pay">Pay us</podcast:funding><podcast:funding>nowhere</podcast:funding>'
        '<podcast:value type="lightning" method="keysend"><podcast:valueRecipient type="node" address="03ab" split="x"/>'
        "</podcast:value>"
    )
    assert details.funding == (Link("https://a.test/pay", "Pay us"),)
    assert details.value == (Recipient(None, "node", "03ab", None, "keysend"),)


def test_a_license_of_creative_commons_is_its_own_address() -> None:
    url = "https://creativecommons.org/licenses/by/4.0/"
    details = of_item(f"<creativeCommons:license>{url}</creativeCommons:license>")
    assert (details.license, details.license_url) == (url, url)
    named = of_item("<podcast:license>cc-by-4.0</podcast:license>")
    assert (named.license, named.license_url) == ("cc-by-4.0", None)


def test_what_is_not_said_is_none() -> None:
    assert _parsed()[1].details == details_of({})


def test_hostile_markup_is_plain_text() -> None:
    assert plain_text("<" * 100_000) is None or "<" in str(plain_text("<" * 100_000))
    assert plain_text("") is None
    assert plain_text("a < b & c") == "a < b & c"
    assert plain_text("<!-- x -->one<br>two<style>p{}</style>") == "one\ntwo"
