"""Chooses the file of a feed's item that is the episode: audio, else video, else a file of unknown type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

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


def audio_enclosure(item: Fields) -> Enclosure | None:
    """The best of an item's files, the first of equals. None if there is none, or only pictures and texts."""
    ranked = [(rank, file) for file in _files(item) if (rank := _rank(file)) is not None]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


def is_media_name(name: str) -> bool:
    """Whether the name of a file ends like that of audio or video."""
    return _RANK_OF_EXTENSION.get(name.rpartition(".")[2].lower()) in (_AUDIO, _VIDEO)


_AUDIO, _VIDEO, _UNKNOWN = range(3)

_EXTENSIONS = {
    _AUDIO: "mp3 m4a m4b aac ogg oga opus flac wav wave wma aif aiff amr mp2 mka weba spx",
    _VIDEO: "mp4 m4v mov mkv webm avi mpg mpeg wmv ogv 3gp",
    None: "jpg jpeg png gif webp svg pdf epub html htm txt srt vtt json xml rss zip torrent doc docx",
}
_RANK_OF_EXTENSION = {extension: rank for rank, names in _EXTENSIONS.items() for extension in names.split()}
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
            yield from _file(source, source.get("uri"), alternate.get("length"), alternate.get("type"))


def _file(
    element: etree._Element, value: str | None, length: str | None, kind: str | None = None
) -> Iterator[Enclosure]:
    if url := absolute_url(element, value):
        digits = re.sub(r"[,.\s]", "", length or "")
        yield Enclosure(
            url=url,
            type=(element.get("type") or kind or "").strip().lower() or None,
            length=int(digits) or None if re.fullmatch(r"[0-9]{1,15}", digits) else None,
            duration_ms=parse_duration_ms(element.get("duration")),
        )


def _rank(file: Enclosure) -> int | None:
    """The rank of the declared type; an audio file's extension overrides it. None for neither audio nor video."""
    extension = unquote(urlsplit(file.url).path).rpartition(".")[2].lower()
    by_name = _RANK_OF_EXTENSION.get(extension, _UNKNOWN)
    if by_name == _AUDIO:
        return _AUDIO
    if file.type == "application/ogg":
        return _AUDIO
    return _RANK_OF_TYPE.get((file.type or "").partition("/")[0], by_name)
