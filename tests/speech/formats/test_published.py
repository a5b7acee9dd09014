"""Publishers' transcripts and chapters: each format, what is odd in them, and what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from partitions.feeds.rss import parse_feed
from speech.errors import BadTranscript
from speech.formats import podcast_json, published, srt, vtt
from speech.formats.chapters import Chapter, read_chapters
from speech.formats.document import Document, Passage
from speech.formats.published import PublishedSegment, declared_format, read_published
from speech.types import Word

FEEDS = Path(__file__).parents[4] / "shared" / "feeds"
SRT = """1\r
00:00:01,500 --> 00:00:02,500\r
Ann Lee: Hello &amp; <i>welcome</i>\r
to this.\r
\r
00:00:03,000 --> 00:00:04,000
Note: no number above.

3
0:05:00,0 --> 0:05:01,25
Ann Lee: Bye.
"""
VTT = """WEBVTT - made by hand

NOTE not spoken

intro
00:01.000 --> 00:02.000 align:left
<v.loud Mary>Hi</v>

01:00:03.000 --> 01:00:04.000
and ho
"""
HTML = """<!doctype html><body><cite>Kevin:</cite><time>0:00</time><p>We <b>have</b> a show.</p>
<p>More.</p><cite>Al:</cite><time>1:02:03</time><p>Yes.</p><p></p></body>"""
JSON = {"version": "1.0.0", "segments": [
    {"speaker": "Ann", "startTime": 0.5, "endTime": "1.25", "body": "Hello there"},
    {"startTime": 1e300, "endTime": None, "body": "no time"}, {"body": ""},
]}  # fmt: skip


def read(content: str, declared: str) -> tuple[str, list[tuple[int | None, int | None, str | None, str]]]:
    found, segments = read_published(content.encode(), declared)
    return found, [(one.start_ms, one.end_ms, one.speaker, one.text) for one in segments]


def test_captions_have_times_and_the_speakers_that_are_named_more_than_once() -> None:
    assert read(SRT, "srt") == ("srt", [
        (1_500, 2_500, "Ann Lee", "Hello & welcome to this."), (3_000, 4_000, None, "Note: no number above."),
        (300_000, 301_250, "Ann Lee", "Bye."),
    ])  # fmt: skip
    assert read("\ufeff" + VTT, "vtt") == (
        "vtt",
        [(1_000, 2_000, "Mary", "Hi"), (3_603_000, 3_604_000, None, "and ho")],
    )


def test_json_html_and_text() -> None:
    assert read(json.dumps(JSON), "json") == (
        "json", [(500, 1_250, "Ann", "Hello there"), (None, None, None, "no time")]
    )  # fmt: skip
    assert read(HTML, "html") == ("html", [
        (0, None, "Kevin", "We have a show."), (None, None, "Kevin", "More."), (3_723_000, None, "Al", "Yes."),
    ])  # fmt: skip
    assert read("Al: Hi\n\nAl: Ho", "text") == ("text", [(None, None, "Al", "Hi"), (None, None, "Al", "Ho")])


def test_the_content_decides_between_formats_but_a_web_page_is_no_caption_file() -> None:
    assert read(VTT, "srt")[0] == "vtt"
    assert read(SRT, "text")[0] == "srt"
    for content, declared in [(HTML, "srt"), ("", "json"), ("{}", "json"), ("[1]", "json"), ("[" * 50_000, "json"),
                              ("WEBVTT\n", "vtt"), ("<p>", "html"), ("<!-- -->", "html"), ("{", "vtt")]:  # fmt: skip
        with pytest.raises(BadTranscript):
            read_published(content.encode(), declared)


@pytest.mark.parametrize(
    ("url", "mime_type", "expected"),
    [
        ("https://a.org/x", "application/x-subrip", "srt"),
        ("https://a.org/x.srt?token=1", "text/plain", "srt"),
        ("https://a.org/x.txt", None, "text"),
        ("https://a.org/x", "TEXT/VTT; charset=utf-8", "vtt"),
        ("https://a.org/x.pdf", "application/pdf", None),
    ],
)
def test_what_a_link_declares(url: str, mime_type: str | None, expected: str | None) -> None:
    assert declared_format(url, mime_type) == expected


@pytest.mark.parametrize("written", [srt, vtt, podcast_json])
def test_it_reads_what_podlake_writes(written) -> None:
    turns = [Passage("S1", (Word("Hi", 0, 500, 0.9), Word("you", 500, 900, 0.9))), Passage("S1", (Word("ho", 900, 1_000, 0.9),))]  # fmt: skip
    document = Document("e", "a" * 64, None, None, "en", 1_000, tuple(turns), ())
    segments = read_published(written.write(document).encode(), written.SUFFIX.rpartition(".")[2])[1]
    assert segments == [PublishedSegment(0, 900, "S1", "Hi you"), PublishedSegment(900, 1_000, "S1", "ho")]


def test_long_and_hostile_documents_cost_little() -> None:
    cues = "".join(f"{n}\n{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d},000 --> 99:00:00,000\na b c d e\n\n" for n in range(10_000))  # fmt: skip
    assert len(read_published(cues.encode(), "srt")[1]) == 10_000
    read_published(("a " + "<" * 300_000).encode(), "text")


def test_halves_of_characters_are_replaced() -> None:
    segment = r'{"segments": [{"startTime": 1, "endTime": 2, "speaker": "\udfff", "body": "a\ud800b"}]}'
    assert read(segment, "json") == ("json", [(1_000, 2_000, "\ufffd", "a\ufffdb")])
    (chapter,) = read_chapters(rb'{"chapters": [{"startTime": 1, "title": "\ud800"}]}')
    assert chapter.title == "\ufffd"


@pytest.mark.parametrize(
    ("declared", "document"),
    [
        ("text", "a: b\n" * 9), ("html", "<p>a</p>" * 9), ("vtt", "WEBVTT\n\n" + "00:01.000 --> 00:02.000\na\n\n" * 9),
        ("json", json.dumps({"segments": [{"body": "a"}] * 9})),
    ],
)  # fmt: skip
def test_the_segments_are_limited(declared: str, document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "MOST_SEGMENTS", 5)
    assert len(read_published(document.encode(), declared)[1]) == 5


def test_chapters() -> None:
    document = {"version": "1.2.0", "chapters": [
        {"startTime": 60, "title": " Second ", "img": "https://a.org/i.png", "url": "https://a.org"},
        {"startTime": 0, "title": "First", "endTime": 59.5}, {"startTime": 30, "title": "Hidden", "toc": False},
        {"startTime": -1, "title": "Before"}, {"startTime": 5},
    ]}  # fmt: skip
    assert read_chapters(json.dumps(document).encode()) == [
        Chapter(0, 59_500, "First", None, None),
        Chapter(60_000, None, "Second", "https://a.org", "https://a.org/i.png"),
    ]
    for content in (b"<html>", b"[]", b'{"chapters": [1]}', b"{}"):
        with pytest.raises(BadTranscript):
            read_chapters(content)


@pytest.mark.skipif(not FEEDS.exists(), reason="the real feeds are not here")
def test_the_links_of_real_feeds_declare_formats_that_can_be_read() -> None:
    found = {
        declared_format(link.url, link.type)
        for path in FEEDS.glob("partytime-*.xml")
        for episode in parse_feed(path.read_bytes(), url="https://example.org/feed").episodes
        for link in episode.transcript_urls
    }
    assert found >= {"srt", "text"}
    assert None not in found
