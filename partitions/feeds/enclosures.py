"""Chooses the file of a feed's item that is the episode: audio, else video, else a file of unknown type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from urllib.parse import unquote

from lxml import etree

from partitions.feeds.markup import Fields, absolute_url
from partitions.feeds.times import parse_duration_ms


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A file that an item offers."""

    url: str
    """Absolute."""
    type: str | None
    length: int | None
    """Bytes. None for 0, which feeds write for an unknown length."""
    duration_ms: int | None


def audio_enclosures(item: Fields) -> list[Enclosure]:
    """An item's files, the best first, each URL once. Empty if there are only pictures, texts and lists of files."""
    ranked = [(rank, file) for file in islice(_files(item), MOST_FILES) if (rank := _rank(file)) is not None]
    ranked.sort(key=lambda pair: pair[0])
    return list({file.url: file for _, file in reversed(ranked)}.values())[::-1]


def is_media_name(name: str) -> bool:
    """Whether the name of a file ends like that of audio or video."""
    return _RANK_OF_EXTENSION.get(name.rpartition(".")[2].lower()) in (_AUDIO, _VIDEO)


MOST_FILES = 1_000
"""Of an item that are looked at."""
LONGEST_TYPE = 200
_AUDIO, _VIDEO, _UNKNOWN = range(3)

_EXTENSIONS = {
    _AUDIO: "mp3 m4a m4b aac ogg oga opus flac wav wave wma aif aiff amr mp2 mka weba spx",
    _VIDEO: "mp4 m4v mov mkv webm avi mpg mpeg wmv ogv 3gp",
    None: "jpg jpeg png gif webp svg pdf epub html htm txt srt vtt json xml rss zip torrent m3u m3u8 pls mpd swf doc docx",
}
_LISTS = frozenset({"torrent", "m3u", "m3u8", "pls", "mpd", "swf"})
"""Not audio, whatever type is declared."""
_RANK_OF_EXTENSION = {extension: rank for rank, names in _EXTENSIONS.items() for extension in names.split()}
_NOT_A_FILE = re.compile(
    r"application/(?:x-bittorrent|x-mpegurl|vnd\.apple\.mpegurl|dash\+xml|x-shockwave-flash|futuresplash)"
    r"|audio/(?:x-)?(?:mpegurl|scpls)"
)
"""Types of torrents, playlists and Flash."""
_RANK_OF_TYPE = {"audio": _AUDIO, "video": _VIDEO, "image": None, "text": None}


def _files(item: Fields) -> Iterator[Enclosure]:
    """RSS enclosures, Atom links, Media RSS, Podcasting 2.0 alternatives, in this order."""
    for element in item.get("enclosure", ()):
        yield from _file(element, element.get("url") or element.get("href"), element.get("length"))
    for link in item.get("link", ()):
        if link.get("rel") == "enclosure":
            yield from _file(link, link.get("href"), link.get("length"))
    for content in item.get("media:content", ()):
        yield from _file(content, content.get("url"), content.get("fileSize"), content.get("medium"))
    for alternate in item.get("podcast:alternateenclosure", ()):
        for source in alternate.iterchildren("{*}source"):
            kind = source.get("contentType") or alternate.get("type")
            yield from _file(source, source.get("uri"), alternate.get("length"), kind)


def _file(
    element: etree._Element, value: str | None, length: str | None, kind: str | None = None
) -> Iterator[Enclosure]:
    url = absolute_url(element, value)
    if url and url.lower().startswith(("http://", "https://")):
        yield Enclosure(
            url=url,
            type=(element.get("type") or kind or "").strip().lower()[:LONGEST_TYPE] or None,
            length=_bytes(length) if length else None,
            duration_ms=parse_duration_ms(element.get("duration")),
        )


def _path(url: str) -> str:
    """As `urlsplit` gives it of a URL with a host, which takes longer: it also checks the host."""
    return url.partition("#")[0].partition("?")[0].partition("//")[2].partition("/")[2]


def _bytes(length: str) -> int | None:
    """Also of `12,345,678`."""
    digits = _MARKS.sub("", length)
    return int(digits) or None if _BYTES.fullmatch(digits) else None


_MARKS = re.compile(r"[,.\s]")
_BYTES = re.compile(r"[0-9]{1,15}")


def _rank(file: Enclosure) -> int | None:
    """The rank of the declared type; an audio file's extension overrides it. None for neither audio nor video."""
    if _NOT_A_FILE.match(file.type or ""):
        return None
    extension = unquote(_path(file.url)).rpartition(".")[2].lower()
    by_name = _RANK_OF_EXTENSION.get(extension, _UNKNOWN)
    if extension in _LISTS:
        return None
    if by_name == _AUDIO:
        return _AUDIO
    if file.type == "application/ogg":
        return _AUDIO
    return _RANK_OF_TYPE.get((file.type or "").partition("/")[0], by_name)
