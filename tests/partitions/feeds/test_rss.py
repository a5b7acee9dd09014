"""What a feed is read as, and what a broken one still gives."""

from __future__ import annotations

import gzip
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partitions.feeds import encodings
from partitions.feeds.rss import Episode, Feed, TranscriptLink, parse_feed
from speech.errors import NotAFeed, TooLarge

FEEDS = Path(__file__).parents[2] / "feeds"
REAL_FEEDS = Path(__file__).parents[3].parent / "shared" / "feeds"
URL = "https://colours.example/feed/podcast.xml"


def read(name: str) -> Feed:
    return parse_feed((FEEDS / name).read_bytes(), url=URL)


def rss(*items: str, head: str = "<title>T</title>") -> bytes:
    return f'<?xml version="1.0"?><rss version="2.0"><channel>{head}{"".join(items)}</channel></rss>'.encode()


def item(guid: str = "g", url: str = "http://x.example/a.mp3", more: str = "") -> str:
    named = f"<guid>{guid}</guid>" if guid else ""
    return f'<item>{named}<enclosure url="{url}" type="audio/mpeg" length="1"/>{more}</item>'


def episodes(*items: str) -> tuple[Episode, ...]:
    return parse_feed(rss(*items), url=URL).episodes


class TestEverything:
    def test_channel(self) -> None:
        feed = read("everything.xml")
        assert feed.title == "Grün & Blau & Weiß"
        assert feed.language == "de-AT"
        assert feed.author == "Ada Example"
        assert feed.categories == ("Arts", "Design", "Science")
        assert feed.podcast_guid == "00000000-aaaa-5bbb-8ccc-000000000001"
        assert feed.license == "CC-BY-4.0"
        assert feed.canonical_url == "https://colours.example/feed.xml"
        assert feed.problems == ("date not understood: 'sometime in spring'", "item without audio or video skipped")

    def test_items(self) -> None:
        assert tuple(replace(episode, details=None) for episode in read("everything.xml").episodes) == (
            Episode(
                guid="e2",
                title="Two lines",
                published_at=datetime(2025, 3, 2, 7, tzinfo=UTC),
                duration_declared_ms=3_723_000,
                enclosure_url="https://cdn.example/e2.mp3?a=1&b=2",
                enclosure_type="audio/mpeg",
                enclosure_length=12_345,
                season=2,
                episode_no=7,
                language_declared=None,
                transcript_urls=(
                    TranscriptLink("https://colours.example/t/e2.srt", "application/srt", "de"),
                    TranscriptLink("https://colours.example/t/e2.vtt", "text/vtt", None),
                ),
                chapters_url="https://colours.example/feed/c/e2.json",
                alternative_urls=("https://cdn.example/e2.mp4",),
            ),
            Episode(
                guid="https://colours.example/e1",
                title="Only iTunes knows",
                published_at=None,
                duration_declared_ms=61_500,
                enclosure_url="https://colours.example/feed/e1.ogg",
                enclosure_type="audio/ogg",
                enclosure_length=77,
                season=None,
                episode_no=None,
                language_declared=None,
                transcript_urls=(),
                chapters_url=None,
            ),
        )

    def test_atom(self) -> None:
        feed = read("atom.xml")
        assert (feed.title, feed.author, feed.language) == ("Radio Exemple", "Camille Exemple", "fr")
        assert feed.canonical_url == "https://radio.example/atom/feed.atom"
        one, zero = feed.episodes
        assert (one.guid, one.title) == ("tag:radio.example,2025:1", "Un")
        assert one.published_at == datetime(2025, 3, 1, 9, tzinfo=UTC)
        assert (one.enclosure_url, one.enclosure_length) == ("https://radio.example/atom/1.opus", 1000)
        assert zero.published_at == datetime(2025, 3, 1, 4, 30, tzinfo=UTC)
        assert (zero.enclosure_url, zero.enclosure_type) == ("https://radio.example/atom/old/0.mp4", "video/mp4")

    def test_rdf(self) -> None:
        feed = parse_feed(
            b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/" '
            b'xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>R</title><dc:language>it</dc:language></channel>'
            b'<item><title>I</title><dc:date>2005-01-02</dc:date><enclosure url="http://x.example/a.mp3"/></item></rdf:RDF>',
            url=URL,
        )
        assert (feed.title, feed.language, len(feed.episodes)) == ("R", "it", 1)
        assert feed.episodes[0].published_at == datetime(2005, 1, 2, tzinfo=UTC)


class TestBroken:
    def test_no_item_costs_another(self) -> None:
        feed = read("broken.xml")
        assert feed.title == "Salt & Pepper ♥"
        assert [(e.guid, e.title, e.enclosure_url, e.enclosure_length) for e in feed.episodes] == [
            ("b1", "One & only", "http://b.example/1.mp3?a=1&b=2", 1),
            ("b2", "Two", "http://b.example/2.mp3", 2),
            ("b3", "Three <b>bold", "http://b.example/3.mp3", 3),
            ("b4", "Four", "http://b.example/4.mp3", 4),
            ("b5", "Five", "http://b.example/5.mp3", 5),
        ]
        assert feed.episodes[4].duration_declared_ms == 5000
        assert feed.problems[0].startswith("not well-formed, each item was read separately: ")
        assert "item without audio or video skipped" in feed.problems

    def test_references_and_characters(self) -> None:
        title = "<title>a&nbsp;b &eacute; &amp; c & d &bogus; &#150; &#0;&#x1F; \x0b\x00e</title>"
        feed = parse_feed(rss(item(), head=title), url=URL)
        assert feed.title == "a b é & c & d &bogus; – e"
        assert feed.problems[0].startswith("repaired: ")
        assert len(feed.episodes) == 1

    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(min_value=0),
        st.sampled_from([b"<b>", b"</b>", b"&", b"<", b">", b'"', b"]]>", b"<![CDATA[", b"\x00", b"\xff"]),
    )
    def test_one_blow_costs_one_episode_at_most(self, where: int, blow: bytes) -> None:
        whole = rss(*(item(f"g{n}", f"http://x.example/{n}.mp3", f"<title>No {n}</title>") for n in range(12)))
        first = whole.index(b"<item>")
        position = first + where % (len(whole) - first)
        feed = parse_feed(whole[:position] + blow + whole[position:], url=URL)
        assert len({e.guid for e in feed.episodes} & {f"g{n}" for n in range(12)}) >= 11

    def test_entities_are_not_expanded(self) -> None:
        lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
        bomb = f'<!DOCTYPE rss [<!ENTITY l0 "lol">{lol}<!ENTITY f SYSTEM "file:///etc/hostname">]>'.encode()
        feed = parse_feed(bomb + rss(item(more="<title>&l9;&f;</title>")), url=URL)
        assert feed.episodes[0].title == "&l9;&f;"

    def test_deep_nesting(self) -> None:
        deep = "<a>" * 5000 + "</a>" * 5000
        assert [e.guid for e in episodes(item("1"), item("2", more=deep), item("3"))] == ["1", "2", "3"]

    def test_empty_items_inside_of_items(self) -> None:
        assert [e.guid for e in episodes(item("1", more="<item/>"))] == ["1"]


class TestEncodings:
    TITLE = "<title>Žluťoučký kůň</title>"

    @pytest.mark.parametrize(
        "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "iso-8859-2", "cp1250"]
    )
    def test_declared_or_recognised(self, encoding: str) -> None:
        declared = encoding.removesuffix("-sig").removesuffix("-le").removesuffix("-be")
        document = f'<?xml version="1.0" encoding="{declared}"?><rss><channel>{self.TITLE}</channel></rss>'
        assert parse_feed(document.encode(encoding), url=URL).title == "Žluťoučký kůň"

    def test_ebcdic(self) -> None:
        document = '<?xml version="1.0" encoding="cp500"?><rss><channel><title>IBM!</title></channel></rss>'
        assert parse_feed(document.encode("cp500"), url=URL).title == "IBM!"

    @pytest.mark.parametrize(
        ("declared", "text"), [("shift_jis", "日本語"), ("gb2312", "联通"), ("koi8-r", "Привет"), ("big5", "中文")]
    )
    def test_by_declaration_and_by_header(self, declared: str, text: str) -> None:
        body = f"<rss><channel><title>{text}</title></channel></rss>".encode(declared)
        in_xml = f'<?xml version="1.0" encoding="{declared}"?>'.encode() + body
        assert parse_feed(in_xml, url=URL).title == text
        assert parse_feed(body, url=URL, content_type=f'text/xml; charset="{declared}"').title == text

    @pytest.mark.parametrize("declared", ["iso-8859-1", "utf-16", "us-ascii", "no-such-thing", "zip"])
    def test_utf8_that_says_otherwise(self, declared: str) -> None:
        document = f'<?xml version="1.0" encoding="{declared}"?><rss><channel>{self.TITLE}</channel></rss>'
        assert parse_feed(document.encode(), url=URL).title == "Žluťoučký kůň"

    def test_one_bad_byte_spoils_nothing_else(self) -> None:
        feed = parse_feed("<rss><channel><title>ž ".encode() + b"\xe9\x96</title></channel></rss>", url=URL)
        assert feed.title == "ž é–"
        assert feed.problems == ("not UTF-8 from byte 24 on; such bytes were read as windows-1252",)

    def test_zipped(self) -> None:
        assert parse_feed(gzip.compress(rss(item())), url=URL).title == "T"

    def test_zipped_and_cut_off(self) -> None:
        whole = gzip.compress(rss(*(item(f"{n:x}", f"http://x.example/{n**5}.mp3") for n in range(500))))
        feed = parse_feed(whole[: len(whole) // 2], url=URL)
        assert "gzip stream ends too early" in feed.problems[0]
        assert 100 < len(feed.episodes) < 400

    def test_zip_bomb(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(encodings, "UNZIPPED_LIMIT_BYTES", 1_000_000)
        with pytest.raises(TooLarge, match="1000000 bytes"):
            parse_feed(gzip.compress(rss() + bytes(1_000_000)), url=URL)


class TestGuids:
    def test_without_one_the_enclosure_serves(self) -> None:
        (episode,) = episodes(item("", "https://X.example/a.mp3?utm_source=rss"))
        assert episode.guid == "x.example/a.mp3"

    def test_neither_guid_nor_enclosure_of_their_own(self) -> None:
        one, two = episodes(item("", more="<title>1</title>"), item("", more="<title>2</title>"))
        assert one.guid != two.guid
        assert one.guid.startswith("x.example/a.mp3#")
        assert {e.guid for e in episodes(item("", more="<title>2</title>"), item("", more="<title>1</title>"))} == {
            one.guid,
            two.guid,
        }

    def test_listed_twice(self) -> None:
        feed = parse_feed(rss(item("1"), item("1")), url=URL)
        assert [e.guid for e in feed.episodes] == ["1"]
        assert feed.problems == ("2 × item without a date", "item listed again skipped")

    def test_one_guid_for_all(self) -> None:
        first = episodes(item("1", "http://x.example/a.mp3"), item("1", "http://x.example/b.mp3"))
        again = episodes(item("1", "http://x.example/b.mp3"), item("1", "http://x.example/a.mp3"))
        assert {e.guid: e.enclosure_url for e in first} == {e.guid: e.enclosure_url for e in again}
        assert len({e.guid for e in first}) == 2


class TestEnclosures:
    @pytest.mark.parametrize(
        ("attributes", "length"),
        [
            ('length="0"', None),
            ('length=""', None),
            ("", None),
            ('length="1 234"', 1234),
            ('length="-1"', None),
            ('length="big"', None),
        ],
    )
    def test_length(self, attributes: str, length: int | None) -> None:
        (episode,) = episodes(f'<item><guid>1</guid><enclosure url="http://x/a.mp3" {attributes}/></item>')
        assert episode.enclosure_length == length

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("/a.mp3", "https://colours.example/a.mp3"),
            ("a.mp3", "https://colours.example/feed/a.mp3"),
            ("//cdn.example/a.mp3", "https://cdn.example/a.mp3"),
            ("www.cdn.example/a.mp3", "http://www.cdn.example/a.mp3"),
            (" http://x.example/my\n show.mp3 ", "http://x.example/my%20show.mp3"),
        ],
    )
    def test_url(self, given: str, expected: str) -> None:
        assert [e.enclosure_url for e in episodes(item(url=given))] == [expected]

    @pytest.mark.parametrize("url", ["", " ", "http://[broken/a.mp3"])
    def test_no_url(self, url: str) -> None:
        assert episodes(item(url=url)) == ()

    @pytest.mark.parametrize(
        ("type_", "url", "kept"),
        [
            ("application/octet-stream", "http://x/a.mp3", True),
            ("image/jpeg", "http://x/a.mp3", True),
            ("", "http://x/play?id=3", True),
            ("video/mp4", "http://x/a.mp4", True),
            ("application/pdf", "http://x/a.pdf", False),
            ("", "http://x/a.jpg", False),
            ("text/html", "http://x/a", False),
        ],
    )
    def test_kind(self, type_: str, url: str, kept: bool) -> None:
        assert len(episodes(f'<item><enclosure url="{url}" type="{type_}"/></item>')) == kept

    def test_podcasting_2_alternative(self) -> None:
        alternate = '<podcast:alternateEnclosure type="audio/opus" length="5"><podcast:source uri="http://x/a"/></podcast:alternateEnclosure>'
        declared = 'xmlns:podcast="https://podcastindex.org/namespace/1.0"'
        (episode,) = episodes(f"<item {declared}><guid>1</guid>{alternate}</item>")
        assert (episode.enclosure_url, episode.enclosure_type, episode.enclosure_length) == (
            "http://x/a",
            "audio/opus",
            5,
        )


class TestNoFeed:
    @pytest.mark.parametrize(
        ("document", "reason"),
        [
            (b"", "the document is empty"),
            (b" \n", "the document is empty"),
            (b"<!DOCTYPE html><html><title>404</title></html>", "the server sent an HTML page"),
            (b'{"error": "no"}', "the server sent JSON"),
            (b'<opml version="2.0"></opml>', "it is an OPML list"),
            (b"<svg></svg>", "neither an <rss> nor a <feed> element"),
            (b"ID3\x04\x00\xff\xfb", "neither an <rss> nor a <feed> element"),
            (b"\x1f\x8b broken", "the document is empty"),
        ],
    )
    def test_is_told(self, document: bytes, reason: str) -> None:
        with pytest.raises(NotAFeed, match=reason):
            parse_feed(document, url=URL)

    def test_a_feed_without_anything_is_one(self) -> None:
        feed = parse_feed(b"<rss></rss>", url=URL)
        assert (feed.title, feed.episodes, feed.problems) == (None, (), ())

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=300))
    def test_nothing_else_is_raised(self, noise: bytes) -> None:
        for document in (noise, b"<rss><channel>" + noise, b"<rss><item>" + noise + b"</item>"):
            try:
                parse_feed(document, url=URL)
            except NotAFeed:
                continue


@pytest.mark.skipif(not REAL_FEEDS.is_dir(), reason="no collection of real feeds beside the checkout")
@pytest.mark.parametrize(
    ("name", "title", "count"),
    [
        ("feedparser_enc-rss_incomplete_cdata.xml", "can feedparser read this xml", 0),
        ("feedparser_enc-undeclared_namespace.xml", None, 0),
        ("feedparser_enc-utf-16le-bom.xml", None, 0),
        ("feedrs-rss_2.0_anchorfm.xml", "It’s Not Always Special", 1),
        ("feedrs-rss_2.0_nightvale.xml", "Welcome to Night Vale", 1),
        ("feedrs-rss_2.0_spreaker.xml", "Lwowska Fala | Radio Katowice", 1),
        ("nodefp-illegally-nested.xml", "PCMag.com: the Official John C. Dvorak RSS Feed", 0),
        ("nodefp-invalid-characters-gzipped.xml", "NSHipster", 0),
        ("partytime-1865.xml", "1865", 61),
        ("partytime-dk-podcast.xml", "Langsam gesprochene Nachrichten | Audios | DW Deutsch lernen", 59),
        ("partytime-example.xml", "Podcasting 2.0 Namespace Example", 3),
        ("partytime-pc20rss.xml", "Podcasting 2.0", 56),
        ("partytime-sentimental-garbage.xml", "Sentimental Garbage", 138),
        ("rbren-giantbomb-podcast.rss", "Giant Bombcast", 730),
        ("rbren-itunes-missing-image.rss", "Taverncast - Happy Hour in Your Head - Since 2005", 130),
    ],
)
def test_real_feed(name: str, title: str | None, count: int) -> None:
    feed = parse_feed((REAL_FEEDS / name).read_bytes(), url=URL)
    assert (feed.title, len(feed.episodes)) == (title, count)
    assert all(e.published_at and e.title and e.enclosure_url.startswith("http") for e in feed.episodes)


class TestBounds:
    @pytest.mark.parametrize(
        "body",
        [
            "".join(f"<a{n}><![CDATA[x" for n in range(50_000)),
            "<title>" * 150_000,
            "</item><item>" * 70_000,
            "&" * 900_000,
            "<title x='" * 90_000,
        ],
        ids=["CDATA without ends", "titles without ends", "items", "ampersands", "quotes"],
    )
    def test_a_hostile_megabyte_takes_linear_time(self, body: str) -> None:
        """Each of these took minutes if the work were quadratic; the suite's time limit ends the test."""
        assert parse_feed(rss(f"<item>{body}</item>", "<item>" + item()), url=URL).title == "T"

    @pytest.mark.parametrize(
        "more", ["<itunes:duration>1.2.3d</itunes:duration>", "<pubDate>1 Jan 2025 10:00 GMſ</pubDate>"]
    )
    def test_an_odd_value_affects_itself_only(self, more: str) -> None:
        spaced = rss(item("1"), item("2", more=more)).replace(
            b"<rss ", b'<rss xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" '
        )
        found = parse_feed(spaced, url=URL).episodes
        assert [(e.guid, e.duration_declared_ms) for e in found] == [("1", None), ("2", None)]

    def test_texts_are_cut(self) -> None:
        (one,) = episodes(item("g" * 5000, more=f"<title>{'t' * 5000}</title>"))
        assert (len(one.title or ""), (one.title or "")[-1], len(one.guid)) == (500, "…", 1000)
        assert episodes(item(url="http://x.example/" + "a" * 9000)) == ()
        many = [item(str(n), more=f"<pubDate>no {n}</pubDate>") for n in range(90)]
        assert parse_feed(rss(*many), url=URL).problems[50:] == ("and 40 other kinds of problems",)


class TestWhatIsFetched:
    @pytest.mark.parametrize(
        ("url", "kind"),
        [
            ("ftp://x.example/a.mp3", "audio/mpeg"),
            ("file:///etc/passwd", "audio/mpeg"),
            ("data:audio/mpeg;base64,AAAA", "audio/mpeg"),
            ("http://x.example/a.mp3.torrent", "audio/mpeg"),
            ("http://x.example/a.mp3", "application/x-bittorrent"),
            ("http://x.example/live.m3u8", "audio/mpeg"),
            ("http://x.example/live", "application/vnd.apple.mpegurl"),
            ("http://x.example/live", "audio/x-mpegurl"),
            ("http://x.example/player.swf", "audio/mpeg"),
            ("http://x.example/player", "application/x-shockwave-flash"),
        ],
    )
    def test_what_is_no_file_of_audio_is_no_enclosure(self, url: str, kind: str) -> None:
        assert episodes(f'<item><enclosure url="{url}" type="{kind}"/></item>') == ()

    def test_alternatives_with_the_type_of_their_source(self) -> None:
        (one,) = episodes(
            '<item><enclosure url="http://x.example/a.mp3" type="audio/mpeg"/>'
            '<podcast:alternateEnclosure xmlns:podcast="https://podcastindex.org/namespace/1.0" type="audio/opus">'
            '<podcast:source uri="http://x.example/a"/><podcast:source uri="http://x.example/b" contentType="application/x-bittorrent"/>'
            '<podcast:source uri="ipfs://x"/></podcast:alternateEnclosure></item>'
        )
        assert (one.enclosure_url, one.alternative_urls) == ("http://x.example/a.mp3", ("http://x.example/a",))

    def test_a_page_that_quotes_a_feed_is_a_page(self) -> None:
        page = b"<!DOCTYPE html><html><body><pre>" + rss(item()) + b"</pre></body></html>"
        with pytest.raises(NotAFeed, match="the server sent an HTML page"):
            parse_feed(page, url=URL)


def test_items_are_found_at_any_depth_and_in_any_case() -> None:
    outer, inner = item("1"), item("2")
    nested = outer.replace("</item>", inner + "</item>")
    capitals = item("3").replace("<item>", "<Item>").replace("</item>", "</Item>")
    guids = [episode.guid for episode in parse_feed(rss(nested, capitals, item("4")), url=URL).episodes]
    assert sorted(guids) == ["1", "2", "3", "4"]


def test_head_after_items_is_read_and_a_long_feed_is_read_in_parts() -> None:
    feed = parse_feed(rss(*(item(str(n), more=f"<description>{'x' * 1000}</description>") for n in range(3000)),
                          "<title>Last</title>"), url=URL)  # fmt: skip
    assert feed.title == "T"
    assert [episode.guid for episode in feed.episodes] == [str(n) for n in range(3000)]
    assert feed.problems == ("3000 × item without a date",)


def test_every_value_of_a_feed_has_a_limit() -> None:
    long, many = "x" * 50_000, range(2_000)
    details = (
        f"<language>{long}</language><itunes:author>{long}</itunes:author><podcast:license>{long}</podcast:license>"
    )
    head = f"{details}<podcast:guid>{long}</podcast:guid>" + "".join(
        f"<category>{n} {long[:600]}</category>" for n in many
    )
    links = "".join(
        f'<podcast:transcript url="http://a.test/{n}" type="{long}" language="{long}"/>' for n in range(100)
    )
    item = f'<item>{details}{links}<enclosure url="http://a.test/1.mp3" type="audio/{long}"/></item>'
    names = 'xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" xmlns:podcast="https://podcastindex.org/namespace/1.0"'
    feed = parse_feed(f"<rss {names}><channel>{head}{item}</channel></rss>".encode(), url="http://a.test/")
    (episode,) = feed.episodes
    link = episode.transcript_urls[0]
    values = (feed.language, feed.author, feed.license, feed.podcast_guid, *feed.categories, episode.language_declared,
              episode.enclosure_type, link.type, link.language)  # fmt: skip
    assert max(len(value or "") for value in values) == 500
    assert (len(feed.categories), len(episode.transcript_urls)) == (100, 20)
