"""The API's routes that change something: submit, retry, forget."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter, Header
from pydantic import TypeAdapter
from starlette.requests import Request

from assets.stages import GRAPH
from dagster_project.build_resources import build_resources
from dagster_project.commands import forget as forgetting
from dagster_project.commands.add import register_feeds
from dagster_project.commands.bulk_import import ImportedLines, import_lines
from dagster_project.commands.import_lines import Bad, Line, line_of, read_lines
from dagster_project.instance import database_url, open_instance
from dagster_project.retry import bring_back, failed, retry_by_backfill
from gateway.auth import Principal, Role, require
from gateway.errors import Problem
from gateway.idempotency import Once
from gateway.service import Here, Service
from podlake.api import BulkResult, Forgotten, NewEpisode, NewFeed, RetryRequest, RetryResult, Submitted
from resources.lake.catalogue import Catalogue
from resources.lake.warehouse import ask, connect
from speech.errors import UpstreamMissing

router = APIRouter(prefix="/api/v1", tags=["change"])
Submitter = Annotated[Principal, require(Role.OPERATOR, "submit")]
Retrier = Annotated[Principal, require(Role.OPERATOR, "retry")]
Forgetter = Annotated[Principal, require(Role.ADMIN, "forget")]
Key = Annotated[str | None, Header(alias="Idempotency-Key", description="Repeats get the first answer.")]
_MOST_AT_ONCE = 1_000
_IN_MEMORY = 8 << 20
_importing = Lock()
"""An import reads the catalogue and adds to it: one at a time."""
_IDS = "select enclosure_url, any_value(episode_id) from lake.episodes where enclosure_url in (select unnest(?)) group by 1"


@router.post("/episodes", status_code=201)
async def submit_episodes(
    episodes: list[NewEpisode], service: Here, principal: Submitter, key: Key = None
) -> list[Submitted]:
    """Add audio by URL: up to 1000 at once. It is in the catalogue after the answer, and is processed by the daemon."""
    _check_count(episodes)
    once = Once(service.database, list[Submitted])
    return await asyncio.to_thread(
        once.do, _who(principal, "episodes"), key, _hash(list[NewEpisode], episodes), lambda: _add(service, episodes)
    )


@router.post("/feeds", status_code=201)
async def submit_feeds(feeds: list[NewFeed], service: Here, principal: Submitter, key: Key = None) -> list[Submitted]:
    """Subscribe to feeds: up to 1000 at once. Their URLs are not opened now: the next poll does."""
    _check_count(feeds)
    once = Once(service.database, list[Submitted])
    return await asyncio.to_thread(
        once.do, _who(principal, "feeds"), key, _hash(list[NewFeed], feeds), lambda: _subscribe(service, feeds)
    )


@router.post(
    "/bulk",
    status_code=201,
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/x-ndjson": {"schema": {"type": "string"}}}}
    },
)
async def submit_bulk(request: Request, service: Here, principal: Submitter, key: Key = None) -> BulkResult:
    """Add a list of feeds and audio, a JSON object a line, as `podlake add list.jsonl` does. Bad lines are counted."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind not in ("application/x-ndjson", "application/jsonl", "application/x-jsonlines"):
        raise Problem(415, "Send JSON lines as application/x-ndjson.")
    digest = hashlib.sha256()
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as body:
        async for part in request.stream():
            digest.update(part)
            await asyncio.to_thread(body.write, part)
        body.seek(0)
        once = Once(service.database, BulkResult)
        return await asyncio.to_thread(
            once.do, _who(principal, "bulk"), key, digest.hexdigest(), lambda: _import(service, _lines(body))
        )


@router.post("/retry", status_code=202)
async def retry(asked: RetryRequest, service: Here, _: Retrier) -> RetryResult:
    """Repeat failures, as `podlake retry` does: by a backfill, which Dagster's daemon carries out."""
    unknown = [stage for stage in asked.stages if stage not in GRAPH.names]
    if unknown:
        raise Problem(400, f"There is no stage {unknown[0]}. The stages are {', '.join(GRAPH.names)}.")
    return await asyncio.to_thread(_retry, service, asked)


@router.delete("/episodes/{episode_id}")
async def forget_episode(episode_id: str, service: Here, _: Forgetter) -> Forgotten:
    """Remove every byte of an episode. This cannot be undone."""
    return await asyncio.to_thread(_forget, service, episode_id)


@router.delete("/feeds/{feed_id}")
async def forget_feed(feed_id: str, service: Here, _: Forgetter) -> Forgotten:
    """Remove every byte of a feed with all its episodes. This cannot be undone."""
    return await asyncio.to_thread(_forget, service, feed_id)


def _add(service: Service, episodes: Sequence[NewEpisode]) -> list[Submitted]:
    lines: dict[int, Line] = {}
    refused: dict[int, str] = {}
    for index, one in enumerate(episodes):
        record = {name: getattr(one, name) for name in ("url", "title", "language", "guid", "date")}
        try:
            lines[index] = line_of({**record, "kind": "audio"})
        except ValueError as error:
            refused[index] = f"{error}."
    urls = [line.url for line in lines.values()]
    before = _ids(service, urls)
    if lines:
        _import(service, lines.values())
    after = _ids(service, urls)
    return [
        Submitted(one.url, None, "refused", refused[index]) if index in refused
        else Submitted(one.url, found, "present" if lines[index].url in before else "added")
        if (found := after.get(lines[index].url)) else Submitted(one.url, None, "forgotten", "It was forgotten before.")
        for index, one in enumerate(episodes)
    ]  # fmt: skip


def _subscribe(service: Service, feeds: Sequence[NewFeed]) -> list[Submitted]:
    catalogue = Catalogue(service.lake)
    answers = []
    with _importing:
        known = {catalogue.address(one): one.feed_id for one in catalogue.subscriptions()}
        for feed in feeds:
            try:
                line = line_of({"url": feed.url, "title": feed.title, "language": feed.language, "kind": "feed"})
            except ValueError as error:
                answers.append(Submitted(feed.url, None, "refused", f"{error}."))
                continue
            added = catalogue.subscribe([(line.url, line.title)], line.language, feed.priority)
            if added:
                known[line.url] = added[0].feed_id
                answers.append(Submitted(feed.url, added[0].feed_id, "added"))
            elif line.url in known:
                answers.append(Submitted(feed.url, known[line.url], "present"))
            else:
                answers.append(Submitted(feed.url, None, "forgotten", "It was forgotten before."))
    if any(answer.outcome == "added" for answer in answers):
        register_feeds(service.settings)
    return answers


def _import(service: Service, lines: Iterable[Line] | _Lines) -> BulkResult:
    done = ImportedLines(bad=lines.bad if isinstance(lines, _Lines) else Bad())
    with _importing:
        import_lines(Catalogue(service.lake), lines, done)
        if done.audio or done.feeds:
            register_feeds(service.settings)
    return BulkResult(done.audio, done.feeds, done.duplicates, done.forgotten, done.bad.count, tuple(done.bad.first))


class _Lines:
    """The lines of a body that can be read. `bad` counts the others."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body, self.bad = body, Bad()

    def __iter__(self) -> Iterator[Line]:
        return read_lines("jsonl", (line.decode("utf-8", "replace") for line in self._body), self.bad)


def _lines(body: Any) -> _Lines:
    return _Lines(body)


def _retry(service: Service, asked: RetryRequest) -> RetryResult:
    wanted = failed(service.lake.home, stages=asked.stages, classes=asked.error_classes, feeds=asked.feeds)
    if asked.episodes:
        chosen = frozenset(asked.episodes)
        wanted = {stage: some for stage, keys in wanted.items() if (some := [key for key in keys if key in chosen])}
    counts = {stage: len(keys) for stage, keys in wanted.items()}
    if not wanted:
        return RetryResult({}, None)
    with open_instance(service.settings) as instance:
        bring_back(instance, wanted)
        return RetryResult(counts, retry_by_backfill(instance, service.settings, service.lake, wanted))


def _forget(service: Service, name: str) -> Forgotten:
    resources, cache = build_resources(service.settings), service.settings.cache_folder
    try:
        plan = forgetting.plan(resources, cache, [name])
    except UpstreamMissing as error:
        raise Problem(404, f"There is no {name}.") from error
    with _importing, open_instance(service.settings) as instance:
        forgetting.forget(instance, resources, cache, database_url(service.settings), plan)
    left = [one for removal in plan.lessons for one in removal.elsewhere]
    return Forgotten(len(plan.feeds), len(plan.keys), plan.rows, len(plan.audio.files), len(plan.lessons), left)


def _ids(service: Service, urls: Sequence[str]) -> dict[str, str]:
    with connect(service.lake.home) as connection:
        return dict(ask(connection, _IDS, [list(urls)]))


def _check_count(items: Sequence[object]) -> None:
    if not 1 <= len(items) <= _MOST_AT_ONCE:
        raise Problem(400, f"Send 1 to {_MOST_AT_ONCE} at once; POST /api/v1/bulk takes more.")


def _hash(kind: Any, value: object) -> str:
    return hashlib.sha256(TypeAdapter(kind).dump_json(value)).hexdigest()


def _who(principal: Principal, route: str) -> str:
    return f"{principal.method} {principal.name} {route}"
