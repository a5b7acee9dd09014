"""The RSS feed of the podcasts that are made here, with transcripts and chapters of Podcasting 2.0."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import format_datetime

from lxml import etree

from resources.lake.lake import Lake
from resources.lake.tables import PODCAST_AUDIO, PODCAST_TRANSCRIPTS, SCRIPTS
from resources.lake.tables.studio import PodcastAudioRow, PodcastTranscriptRow, ScriptRow
from resources.studio.files import FOLDER, StudioFiles

FILE = "feed.xml"
LAST_STAGE = "stream_package"
"""A podcast is in the feed when this stage has landed."""
DESCRIPTION_CHARACTERS = 500
_ITUNES = "http://www.itunes.com/dtds/podcast-1.0.dtd"
_PODCAST = "https://podcastindex.org/namespace/1.0"
_ATOM = "http://www.w3.org/2005/Atom"
_GUIDS = uuid.UUID("ead4c236-bf58-58c6-a2c6-a6b28d128cb6")
"""The namespace in which Podcasting 2.0 makes a feed's GUID of its URL."""


@dataclass(frozen=True)
class FeedSettings:
    """What the feed says of itself."""

    url: str
    """Where the folder of podcasts is served, without a slash at its end."""
    title: str


@dataclass(frozen=True)
class FeedItem:
    script: ScriptRow
    audio: PodcastAudioRow
    transcript: PodcastTranscriptRow


def finished_podcasts(lake: Lake) -> list[FeedItem]:
    """All finished podcasts, the newest first."""
    keys = sorted(lake.landed(LAST_STAGE))
    scripts, audio, transcripts = (
        lake.read_many(table, keys) for table in (SCRIPTS, PODCAST_AUDIO, PODCAST_TRANSCRIPTS)
    )
    items = [
        FeedItem(SCRIPTS.rows_of(scripts[key])[0], PODCAST_AUDIO.rows_of(audio[key])[0],
                 PODCAST_TRANSCRIPTS.rows_of(transcripts[key])[0])
        for key in keys
        if key in scripts and key in audio and key in transcripts
    ]  # fmt: skip
    return sorted(items, key=lambda item: (item.script.requested_at, item.script.podcast_id), reverse=True)


def write_feed(lake: Lake, files: StudioFiles, settings: FeedSettings) -> None:
    """Write the feed into the folder of podcasts; again, if another run has finished a podcast meanwhile."""
    written: set[str] | None = None
    while written != (now := lake.landed(LAST_STAGE)):
        content = feed_document(finished_podcasts(lake), settings)
        with files.home.writing(FOLDER, FILE) as stream:
            stream.write(content)
        written = now


def feed_document(items: Sequence[FeedItem], settings: FeedSettings) -> bytes:
    """RSS 2.0 with the namespaces of iTunes, Atom and Podcasting 2.0."""
    rss = etree.Element("rss", nsmap={"itunes": _ITUNES, "podcast": _PODCAST, "atom": _ATOM}, version="2.0")
    channel = etree.SubElement(rss, "channel")
    feed_url = f"{settings.url}/{FILE}"
    _add(channel, "title", settings.title)
    _add(channel, "link", settings.url)
    _add(channel, "description", f"{settings.title}: podcasts made from scripts.")
    _add(channel, "language", items[0].script.language if items else "en")
    _add(channel, "generator", "podlake")
    _add(channel, f"{{{_ATOM}}}link", href=feed_url, rel="self", type="application/rss+xml")
    _add(channel, f"{{{_ITUNES}}}author", settings.title)
    _add(channel, f"{{{_ITUNES}}}explicit", "false")
    _add(channel, f"{{{_PODCAST}}}guid", str(uuid.uuid5(_GUIDS, feed_url.split("://", 1)[-1].rstrip("/"))))
    _add(channel, f"{{{_PODCAST}}}medium", "podcast")
    for item in items:
        _add_item(channel, item, settings)
    return bytes(etree.tostring(rss, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _add_item(channel: etree._Element, item: FeedItem, settings: FeedSettings) -> None:
    script, audio, transcript = item.script, item.audio, item.transcript
    element = etree.SubElement(channel, "item")
    _add(element, "title", script.title)
    _add(element, "guid", script.podcast_id, isPermaLink="false")
    _add(element, "pubDate", format_datetime(script.requested_at))
    _add(element, "description", _shortened(script.script))
    _add(
        element, "enclosure", url=f"{settings.url}/{audio.mp3_path}", length=str(audio.mp3_bytes), type="audio/mpeg"
    )  # fmt: skip
    seconds = round(audio.duration_ms / 1000)
    _add(element, f"{{{_ITUNES}}}duration", str(max(1, seconds)))
    for path, kind in ((transcript.vtt_path, "text/vtt"), (transcript.json_path, "application/json")):
        _add(
            element, f"{{{_PODCAST}}}transcript", url=f"{settings.url}/{path}", type=kind, language=script.language
        )  # fmt: skip
    chapters = f"{settings.url}/{transcript.chapters_path}"
    _add(element, f"{{{_PODCAST}}}chapters", url=chapters, type="application/json+chapters")


def _add(parent: etree._Element, name: str, text: str | None = None, **attributes: str) -> None:
    etree.SubElement(parent, name, attributes).text = text


def _shortened(script: str) -> str:
    text = " ".join(script.split())
    return text if len(text) <= DESCRIPTION_CHARACTERS else f"{text[:DESCRIPTION_CHARACTERS].rpartition(' ')[0]} …"
