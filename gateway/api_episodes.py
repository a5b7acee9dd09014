"""The API's routes that read: episodes, feeds, transcripts, audio, search and statistics."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response, StreamingResponse

from gateway.auth import Principal, Role, require
from gateway.errors import Problem
from gateway.service import Here
from gateway.statistics import statistics
from partitions.languages import normalise_language
from pipeline.progress import EPISODE_STAGES, Progress, progress
from podlake.api import EpisodeEntry, EpisodeList, EpisodeStatus, FeedEntry, FeedList, SearchHit, SearchHits, Statistics
from resources.exports.transcripts import load_document
from resources.lake.catalogue import Catalogue, Removed
from resources.lake.warehouse import ask, connect
from resources.search import SearchQuery
from speech.formats.registry import FORMATS
from speech.opus_copy import MEDIA_TYPE

router = APIRouter(prefix="/api/v1", tags=["read"])
Viewer = Annotated[Principal, require(Role.VIEWER)]
State = Literal["done", "failed", "waiting", "removed"]

_TRANSCRIPTS = {"json": "application/json", "vtt": "text/vtt", "srt": "application/x-subrip", "txt": "text/plain"}
_ROWS_AT_ONCE = 1_000
_EPISODES = """
select episode_id, feed_id, title, published_at, language, duration_declared_ms from lake.episodes
where ($feed is null or feed_id = $feed) and ($language is null or language = $language)
  and ($since is null or published_at >= $since) and ($until is null or published_at < $until)
  and ($after_id is null or coalesce(published_at, '1000-01-01'::timestamptz) < $after_at::timestamptz
       or (coalesce(published_at, '1000-01-01'::timestamptz) = $after_at::timestamptz and episode_id > $after_id))
order by coalesce(published_at, '1000-01-01'::timestamptz) desc, episode_id
"""
_FEEDS = """
select feed.feed_id, feed.title, feed.language, subscription.url, count(episode.episode_id), feed.last_polled_at
from feeds as feed left join lake.subscriptions as subscription using (feed_id)
left join lake.episodes as episode using (feed_id)
where ($after is null or feed.feed_id > $after) group by all order by feed.feed_id limit $limit
"""
_AUDIO = """
select if(removed.landed_at > audio.fetched_at, removed.copy_uri, audio.storage_uri), audio.content_type
from acquisitions as audio left join removed_audio as removed using (audio_sha256)
where audio.episode_id = ? order by audio.fetched_at desc limit 1
"""
_ENTRY: TypeAdapter[EpisodeEntry] = TypeAdapter(EpisodeEntry)


class _Filter:
    """The episodes to list, and their states."""

    def __init__(
        self,
        service: Here,
        feed: str | None = None,
        language: str | None = None,
        state: State | None = None,
        since: datetime | date | None = None,
        until: datetime | date | None = None,
    ) -> None:
        self._service, self._state = service, state
        self._parameters: dict[str, Any] = {
            "feed": feed, "language": normalise_language(language) if language else None, "since": since, "until": until,
        }  # fmt: skip

    def entries(self, cursor: str | None) -> Iterator[EpisodeEntry]:
        """The chosen episodes after the cursor, read as they are needed."""
        after_at, after_id = _parse_cursor(cursor) if cursor else (None, None)
        stands, removed = self._stands()
        with connect(self._service.lake.home) as connection:
            found = connection.execute(_EPISODES, {**self._parameters, "after_at": after_at, "after_id": after_id})
            while rows := found.fetchmany(_ROWS_AT_ONCE):
                for row in rows:
                    state = "removed" if removed.has(row[0]) else stands.state(row[0])
                    if (
                        self._state is None
                        or {"next": "waiting"}.get(kind := state.partition(":")[0], kind) == self._state
                    ):
                        yield EpisodeEntry(row[0], row[1], row[2], row[3], row[4], row[5], state)

    def _stands(self) -> tuple[Progress, Removed]:
        lake = self._service.lake
        return progress(lake, EPISODE_STAGES), Catalogue(lake).removed()


Chosen = Annotated[_Filter, Depends(_Filter)]


@router.get("/episodes")
def list_episodes(
    chosen: Chosen, _: Viewer, limit: Annotated[int, Query(ge=1, le=1000)] = 100, cursor: str | None = None
) -> EpisodeList:
    """Episodes, newest first. `next_cursor` leads to the next page."""
    found: list[EpisodeEntry] = []
    entries = chosen.entries(cursor)
    for entry in entries:
        found.append(entry)
        if len(found) == limit:
            break
    more = next(entries, None)
    return EpisodeList(tuple(found), _cursor(found[-1]) if more else None)


@router.get("/episodes.jsonl", response_class=StreamingResponse)
def all_episodes(chosen: Chosen, _: Viewer) -> Response:
    """All chosen episodes, a JSON object a line, as a stream."""
    lines = (_ENTRY.dump_json(entry) + b"\n" for entry in chosen.entries(None))
    return StreamingResponse(lines, media_type="application/x-ndjson")


@router.get("/episodes/{episode_id}", response_model=EpisodeStatus)
async def episode(episode_id: str, service: Here, _: Viewer) -> Response:
    """An episode with all its stages."""
    found = service.statuses.kept(episode_id)
    if found is None:
        found = await run_in_threadpool(service.statuses.read, episode_id)
    return Response(found, media_type="application/json")


@router.get("/episodes/{episode_id}/transcript", response_class=Response)
def transcript(
    episode_id: str,
    service: Here,
    _: Viewer,
    format: Literal["json", "vtt", "srt", "txt"] = "json",  # noqa: A002
) -> Response:
    """The transcript, with speakers and times."""
    with connect(service.lake.home) as connection:
        if not ask(connection, "select 1 from turns where episode_id = ? limit 1", [episode_id]):
            raise Problem(404, f"{episode_id} has no transcript. GET /api/v1/episodes/{episode_id} says how far it is.")
        text = FORMATS[format].write(load_document(connection, episode_id))
    return Response(text, media_type=_TRANSCRIPTS[format])


@router.get("/episodes/{episode_id}/audio", response_class=FileResponse)
def audio(episode_id: str, service: Here, _: Viewer) -> Response:
    """The audio as it was fetched, or the copy that was kept. Answers Range requests."""
    with connect(service.lake.home) as connection:
        found = ask(connection, _AUDIO, [episode_id])
    if not found or not found[0][0] or not service.store.has(found[0][0]):
        raise Problem(404, f"The audio of {episode_id} is not kept.")
    uri, content_type = found[0]
    media_type = MEDIA_TYPE if uri.endswith(".opus") else "application/octet-stream"
    if str(content_type).startswith(("audio/", "video/")):
        media_type = content_type
    return FileResponse(service.store.local(uri), media_type=media_type)


@router.get("/feeds")
def list_feeds(
    service: Here, _: Viewer, limit: Annotated[int, Query(ge=1, le=1000)] = 100, cursor: str | None = None
) -> FeedList:
    """Feeds, by id."""
    with connect(service.lake.home) as connection:
        rows = ask(connection, _FEEDS, {"after": cursor, "limit": limit + 1})
    feeds = tuple(FeedEntry(*row) for row in rows[:limit])
    return FeedList(feeds, feeds[-1].feed_id if len(rows) > limit else None)


@router.get("/search")
def search(
    service: Here, _: Viewer, q: Annotated[str, Query(min_length=1, max_length=1000)], feed: str | None = None,
    speaker: str | None = None, language: str | None = None, since: date | None = None, until: date | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> SearchHits:  # fmt: skip
    """Turns that contain all words; a phrase stands in double quotes."""
    query = SearchQuery(q, feed, speaker, language, since, until)
    try:
        with connect(service.lake.home) as connection:
            service.index.update(connection)
            found = service.index.search(connection, query, limit=limit)
    except ValueError as error:
        raise Problem(400, str(error)) from error
    return SearchHits(
        found.total,
        tuple(
            SearchHit(hit.episode_id, hit.title, hit.feed_id, hit.turn_idx, hit.speaker, hit.start_ms, hit.snippet,
                      hit.marks, hit.score)
            for hit in found.hits
        ),
    )  # fmt: skip


@router.get("/statistics")
async def get_statistics(service: Here, _: Viewer) -> Statistics:
    """Throughput of 24 hours, the queue, hours by language, failures by class, and workers. At most 10 s old."""
    return await service.statistics.get(lambda: asyncio.to_thread(statistics, service.lake))


def _cursor(last: EpisodeEntry) -> str:
    at = last.published_at.isoformat() if last.published_at else "1000-01-01T00:00:00+00:00"
    return base64.urlsafe_b64encode(json.dumps([at, last.episode_id]).encode()).decode().rstrip("=")


def _parse_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        at, episode_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return datetime.fromisoformat(at), str(episode_id)
    except (ValueError, TypeError) as error:
        raise Problem(400, "The cursor is not one of ours: begin again without one.") from error
