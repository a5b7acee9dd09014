"""`publisher_transcript`: fetch the transcript and the chapters that the feed links."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from partitions.credentials import without_credentials
from partitions.feeds.links import web_url
from partitions.feeds.rss import TranscriptLink
from partitions.languages import normalise_language
from pipeline.stage import Batch, Landing, Outcome, Stage, each
from resources.fetch.hosts import FetchPolicy
from resources.fetch.http import Document, fetch_document
from resources.lake.catalogue import Catalogue
from resources.lake.tables.catalogue import EpisodeRow
from resources.lake.tables.publisher import CHAPTERS, PUBLISHER_SEGMENTS, ChapterRow, PublisherSegmentRow
from speech.errors import PodlakeError, policy_of
from speech.formats.chapters import read_chapters
from speech.formats.published import PREFERENCE, declared_format, read_published

log = logging.getLogger("podlake")

FETCHES_AT_ONCE = 8
LIMIT_BYTES = 8 * 1024**2
MOST_TRIED = 5
"""Transcripts of an episode that are asked for until one can be read."""

_Rows = TypeVar("_Rows", bound=Sequence[object])


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    segments = tables["publisher_segments"]
    return {
        "dagster/row_count": segments.num_rows,
        "chapters": tables["chapters"].num_rows,
        "format": segments["format"][0].as_py() if segments.num_rows else "none",
    }


@Stage(
    tables=(PUBLISHER_SEGMENTS, CHAPTERS), ui_metadata=_ui_metadata, group="catalogue", batch_size=256, version="1",
    catalogue=("episodes",), pool="downloads",
)  # fmt: skip
def publisher_transcript(batch: Batch, catalogue: Catalogue, fetch_policy: FetchPolicy) -> Iterator[Outcome]:
    """Fetches the publisher's transcript (SRT, VTT, JSON, HTML, text) and chapters, if the feed links them.

    An episode without links lands no rows and costs no request. Of several transcripts the first that can be read is
    kept: those in the episode's language first, then those with times and speakers. Links that the feed adds later are
    fetched when the asset is materialized again.
    """
    entries = catalogue.entries(batch.keys)
    return each(
        batch.keys,
        lambda key: _fetch(entries.get(key) or catalogue.entry(key), catalogue, fetch_policy),
        workers=FETCHES_AT_ONCE,
    )


def _fetch(entry: EpisodeRow, catalogue: Catalogue, policy: FetchPolicy) -> Landing:
    """What can be fetched. A permanent error counts only if nothing can; a transient one always, so that it is retried."""
    errors: list[PodlakeError] = []
    secrets = catalogue.episode_secrets(entry.feed_id)

    def tried(shown: str, read: Callable[[bytes], _Rows]) -> _Rows | None:
        try:
            url = secrets.real(shown, entry.episode_id)
            answer = fetch_document(url, policy, limit_bytes=LIMIT_BYTES)
            assert isinstance(answer, Document), "the request is unconditional"
            return read(answer.content)
        except PodlakeError as error:
            log.warning("publisher_transcript: %s: %s: %s", entry.episode_id, shown, error)
            errors.append(error)
            return None

    segments = next((rows for link in _ranked(entry)[:MOST_TRIED] if (rows := tried(link.url, _segments_of(link)))), [])
    chapters = tried(entry.chapters_url, _chapters) if entry.chapters_url else None
    lost = [error for error in errors if policy_of(error.error_class).retryable]
    if lost and not (segments and (chapters is not None or not entry.chapters_url)):
        raise lost[0]
    if errors and not segments and not chapters:
        raise errors[0]
    return Landing(entry.episode_id, {"publisher_segments": segments, "chapters": chapters or []})


def _ranked(entry: EpisodeRow) -> list[TranscriptLink]:
    """The links that can be read, the best first."""

    def rank(link: TranscriptLink) -> tuple[bool, int]:
        is_foreign = bool(entry.language and link.language) and normalise_language(link.language) != entry.language
        return is_foreign, PREFERENCE.index(_format(link))

    return sorted((link for link in entry.transcript_urls if declared_format(link.url, link.type)), key=rank)


def _format(link: TranscriptLink) -> str:
    return declared_format(link.url, link.type) or PREFERENCE[-1]


def _segments_of(link: TranscriptLink) -> Callable[[bytes], list[PublisherSegmentRow]]:
    def read(content: bytes) -> list[PublisherSegmentRow]:
        found, segments = read_published(content, _format(link))
        return [
            PublisherSegmentRow(
                idx=idx, format=found, url=link.url, start_ms=one.start_ms, end_ms=one.end_ms,
                speaker=one.speaker and without_credentials(one.speaker), text=without_credentials(one.text),
            )
            for idx, one in enumerate(segments)
        ]  # fmt: skip

    return read


def _chapters(content: bytes) -> list[ChapterRow]:
    return [
        ChapterRow(
            idx=idx, start_ms=one.start_ms, end_ms=one.end_ms, title=without_credentials(one.title), url=_shown(one.url),
            image=_shown(one.image),
        )
        for idx, one in enumerate(read_chapters(content))
    ]  # fmt: skip


def _shown(url: str | None) -> str | None:
    return without_credentials(web_url(url) or "") or None if url else None
