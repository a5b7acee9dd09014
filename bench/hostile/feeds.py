"""Hostile feeds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from socket import socket

from bench.hostile.exchanges import exchanges, slow
from bench.hostile.server import Case, Request, answer, endless

KIND = "application/rss+xml"
ITEM = (
    "<item><title>One</title><guid>g1</guid><pubDate>Thu, 01 Jan 2026 08:00:00 GMT</pubDate>"
    '<enclosure url="http://never.invalid/1.mp3" length="1" type="audio/mpeg"/></item>'
)


_LONG_WORD = ITEM.replace("<guid>", f"<description>{'x' * 49_000} http://a.test/</description><guid>")
"""Text in which a search for addresses may take quadratic time."""


def rss(items: str = ITEM, head: str = "", before: str = "") -> str:
    return f'{before}<rss version="2.0" {_NAMES}><channel><title>Feed</title>{head}{items}</channel></rss>'


_NAMES = " ".join(
    f'xmlns:{prefix}="{uri}"'
    for prefix, uri in (
        ("itunes", "http://www.itunes.com/dtds/podcast-1.0.dtd"),
        ("podcast", "https://podcastindex.org/namespace/1.0"),
        ("content", "http://purl.org/rss/1.0/modules/content/"),
        ("atom", "http://www.w3.org/2005/Atom"),
        ("xi", "http://www.w3.org/2001/XInclude"),
    )
)


def slow_feeds() -> dict[str, Case]:
    start = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n<rss><channel>"
    return {
        **dict(slow(rss().encode(), KIND)),
        "20 kB a second, for ever": endless(start, b"<!-- -->" * 250, 0.1),
    }


def quick_feeds() -> dict[str, Case]:
    return {**dict(exchanges(rss().encode(), KIND)), **dict(_documents()), **dict(_items())}


def _documents() -> Iterator[tuple[str, Case]]:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    external = '<!ENTITY e SYSTEM "file:///etc/passwd"><!ENTITY % p SYSTEM "http://FORBIDDEN/x.dtd">%p;'
    of = partial(answer, status="200 OK")
    yield (
        "entity bomb",
        of(rss("<item><title>&l11;</title></item>", before=f'<!DOCTYPE rss [<!ENTITY l0 "ha">{entities}]>')),
    )
    yield "quadratic entities", of(rss(f"<item><title>{'&a;' * 50_000}</title></item>", before=f'<!DOCTYPE rss [<!ENTITY a "{"a" * 50_000}">]>'))  # fmt: skip
    yield "external entities", of(rss("<item><title>&e;</title></item>" + ITEM, before=f"<!DOCTYPE rss [{external}]>"))
    yield (
        "XInclude",
        of(rss(f'<xi:include href="file:///etc/passwd" parse="text"/><xi:include href="http://FORBIDDEN/"/>{ITEM}')),
    )
    yield "style sheet elsewhere", of(rss(before='<?xml-stylesheet href="http://FORBIDDEN/x.xsl" type="text/xsl"?>'))
    yield "UTF-16 that says UTF-8", of(rss(before='<?xml version="1.0" encoding="utf-8"?>').encode("utf-16"))
    yield "UTF-8 that says UTF-16", of(rss(before='<?xml version="1.0" encoding="utf-16"?>'))
    yield "encoding that is a codec of files", of(rss(before='<?xml version="1.0" encoding="zip_codec"?>'))
    yield "encoding that is none", of(rss(before='<?xml version="1.0" encoding="../../etc"?>'))
    yield (
        "Shift_JIS that is UTF-8",
        of(rss(before='<?xml version="1.0" encoding="shift_jis"?>').replace("One", "Größe 日本")),
    )
    yield "a charset that is none", answer(rss(), "200 OK", "Content-Type: text/xml; charset=\xe9\xff\xb2")
    yield "zeros", of(bytes(1_000_000))
    yield "zeros between all bytes", of(b"\0".join(bytes([byte]) for byte in rss().encode()))
    yield "every byte", of(bytes(range(256)) * 4000)
    yield "Latin-1 in UTF-8", of(rss().encode().replace(b"One", b"Caf\xe9 \xff\xfe"))
    yield "100 000 levels", of(rss("<a>" * 100_000))
    yield "5 000 items in items", of(rss("<item>" * 5_000))
    yield "a tag without end", of(rss("<item " + "a" * 2_000_000))
    yield "100 000 attributes", of(rss("<item " + " ".join(f'a{n}="1"' for n in range(100_000)) + f"/>{ITEM}"))
    yield "CDATA without end", of(rss("<item><title><![CDATA[" + "<" * 1_000_000))
    yield "20 000 CDATA that never end", of(rss("<item><description><![CDATA[x</item>" * 20_000))
    yield "ampersands", of(rss(f"<item><title>{'&' * 1_000_000}</title></item>{ITEM}"))
    yield "60 MB of a text", _text_of(60_000_000)
    yield "70 MB of a text", _text_of(70_000_000)
    yield "page that quotes a feed", of(f"<!DOCTYPE html><html><body><pre>{rss()}</pre></body></html>")
    yield "page", of("<html><title>Parked</title></html>")
    yield "JSON", of('{"version": "https://jsonfeed.org/version/1", "items": []}')
    yield "list of feeds", of('<opml><body><outline xmlUrl="file:///etc/passwd"/></body></opml>')
    yield "nothing but white space", of(" \n" * 500_000)
    yield "a next page that is the same", of(rss(head='<atom:link rel="next" href="BASE/x"/>'))
    yield "pages without end", _pages
    yield "a next page on a private server", of(rss(head='<atom:link rel="next" href="http://FORBIDDEN/2"/>'))
    yield "moved to a private server", of(rss(head="<itunes:new-feed-url>http://FORBIDDEN/x</itunes:new-feed-url>"))
    yield (
        "moved with a password",
        of(rss(head="<itunes:new-feed-url>http://me:hunter2secret@never.invalid/</itunes:new-feed-url>")),
    )


def _text_of(n_letters: int) -> Case:
    def case(connection: socket, request: Request) -> None:  # made when it is asked for, because it is large
        answer(rss(f"<item><description>{'x' * n_letters}</description></item>{ITEM}"))(connection, request)

    return case


def _pages(connection: socket, request: Request) -> None:
    answer(rss(ITEM.replace("g1", f"g{request.count}"), f'<atom:link rel="next" href="BASE/{request.count}"/>'))(
        connection, request
    )


def _items() -> Iterator[tuple[str, Case]]:
    def one(title: str, more: str = "", enclosure: str = "http://never.invalid/2.mp3") -> Case:
        item = (
            f'<item><title>{title}</title><guid>g2</guid>{more}<enclosure url="{enclosure}" type="audio/mpeg"/></item>'
        )
        return answer(rss(item + ITEM))

    yield "title of 5 MB", one("x" * 5_000_000)
    yield "guid of a megabyte", one("T", f"<guid>{'g' * 1_000_000}</guid>")
    yield "address of a megabyte", one("T", "", "http://never.invalid/" + "a" * 1_000_000)
    yield (
        "markup in a title",
        one("&lt;script&gt;alert(1)&lt;/script&gt; [a](javascript:alert(1)) `|` $(id) '; drop table x;--"),
    )
    yield "directions and zero widths", one("\u202e\u200b\u2066abc\ufeff\u0000".replace("\u0000", "&#0;"))
    yield "halves of characters", one("&#xD800;&#xDFFF;&#x110000;&#99999999;")
    yield "path in a guid", one("T", "<guid>../../../../etc/passwd</guid>")
    yield "name of a device as the title", answer(rss().replace("Feed", "../../con\n|nul"))
    yield (
        "odd numbers",
        one(
            "T",
            "<itunes:duration>1.2.3d</itunes:duration><itunes:season>²</itunes:season><itunes:episode>-1e99</itunes:episode>",
        ),
    )
    yield "duration of a million years", one("T", f"<itunes:duration>{'9' * 400}</itunes:duration>")
    yield "odd dates", one("T", "<pubDate>Thu, 99 Foo 20266 99:99:99 +99999</pubDate>")
    yield "length of an enclosure", answer(rss(ITEM.replace('length="1"', f'length="{10**30}"')))
    for scheme in (
        "javascript:alert(1)//",
        "file:///etc/passwd#",
        "ftp://FORBIDDEN/",
        "magnet:?xt=",
        "data:audio/mpeg,",
    ):
        yield f"enclosure {scheme[:5]}", one("T", "", f"{scheme}a.mp3")
    yield "enclosure on a private server", one("T", "", "http://FORBIDDEN/a.mp3")
    yield "enclosure with a password", one("T", "", "http://me:hunter2secret@never.invalid/a.mp3?token=tok3nInQuery")
    yield "password in the texts", one("http://me:hunter2secret@never.invalid/", "<link>http://me:hunter2secret@never.invalid/</link><description>see http://me:hunter2secret@never.invalid/a</description><guid>http://me:hunter2secret@never.invalid/g?token=tok3nInQuery</guid>")  # fmt: skip
    yield "passwords in the details", one("T", '<itunes:image href="http://me:hunter2secret@never.invalid/i.png"/><podcast:transcript url="http://me:hunter2secret@never.invalid/t.vtt" type="text/vtt"/><podcast:chapters url="http://me:hunter2secret@never.invalid/c"/><podcast:person href="http://me:hunter2secret@never.invalid/p">P</podcast:person><podcast:funding url="http://me:hunter2secret@never.invalid/f">F</podcast:funding><podcast:license url="http://me:hunter2secret@never.invalid/l">L</podcast:license>')  # fmt: skip
    yield "passwords in the head", answer(rss(head='<link>http://me:hunter2secret@never.invalid/</link><image><url>http://me:hunter2secret@never.invalid/i</url></image><description>http://me:hunter2secret@never.invalid/</description><atom:link rel="self" href="http://me:hunter2secret@never.invalid/s?token=tok3nInQuery"/><podcast:guid>http://me:hunter2secret@never.invalid/</podcast:guid><itunes:author>http://me:hunter2secret@never.invalid/</itunes:author>'))  # fmt: skip
    yield (
        "transcripts on private servers",
        one(
            "T",
            '<podcast:transcript url="http://FORBIDDEN/t.vtt" type="text/vtt"/><podcast:chapters url="http://FORBIDDEN/c.json"/>',
        ),
    )
    yield "long words before addresses", answer(rss("".join(_LONG_WORD.replace("g1", f"g{n}") for n in range(200))))
    yield "20 000 transcripts of one item", one("T", '<podcast:transcript url="http://never.invalid/t.vtt" type="text/vtt"/>' * 20_000)  # fmt: skip
    yield "values of a megabyte", answer(rss(head="".join(f"<{name}>{'x' * 1_000_000}</{name}>" for name in ("language", "itunes:author", "podcast:guid", "category", "podcast:license"))))  # fmt: skip
    yield "moved to nonsense", answer(rss(head="<itunes:new-feed-url>http://me:hunter2secret@[::/?token=tok3nInQuery</itunes:new-feed-url>"))  # fmt: skip
    yield "passwords in odd places", one("T", "<description>http://me:hunter2secret@[::/ http://a.test/?a=1&amp;amp;key=tok3nInQuery //me:hunter2secret@a.test/ https://t.test/e/https%3A%2F%2Fme%3Ahunter2secret%40a.test https://a.test/#token=tok3nInQuery</description>", "http://never.invalid/e/http://me:hunter2secret@never.invalid/a.mp3")  # fmt: skip
    yield "guids that differ in a token", answer(rss(ITEM + "".join(ITEM.replace("g1", f"http://a.test/?token=tok3nInQuery{n}") for n in range(5))))  # fmt: skip
    yield "20 000 items of one guid", answer(rss("".join(ITEM.replace("/1.mp3", f"/{n}.mp3") for n in range(20_000))))
    yield "20 000 empty items", answer(rss("<item/>" * 20_000 + ITEM))
    yield "2 000 persons of one item", one("T", "<podcast:person>P</podcast:person>" * 2_000)
    yield (
        "only torrents and playlists",
        answer(rss(ITEM.replace("1.mp3", "1.torrent") + ITEM.replace("1.mp3", "1.m3u8").replace("g1", "g2"))),
    )
