"""The corpus site as an ASGI application: the pages of the lake as it is now, the audio, and the search."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from pages.corpus import load_corpus, load_feed
from pages.episode import load_episode
from pages.render import corpus_html, episode_html, feed_html, search_html
from resources.exports.transcripts import load_document
from resources.fetch.audio_store import AudioStore
from resources.lake.home import Home
from resources.lake.warehouse import ask, connect
from resources.search import SearchIndex, SearchQuery
from speech.errors import PodlakeError
from speech.formats.registry import FORMATS
from speech.opus_copy import MEDIA_TYPE

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_HITS = 200
_HEADERS = {
    # The pages have their style and scripts within, and load nothing from elsewhere.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'self'; "
    "img-src 'self' data:; media-src 'self' data: http: https:; connect-src 'self'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def corpus_site(store: AudioStore, index: SearchIndex, *, ui_url: str = "", listen_url: str = "") -> Starlette:
    """The site. It reads the lake and the audio, and writes only the search index.

    Dagster's UI is at `ui_url`, pages that play episodes live below `listen_url`; empty: there are none.
    """

    def page(render: Callable[[DuckDBPyConnection, Request], str]) -> Callable[[Request], Response]:
        # Starlette runs these in threads, each request with a connection of its own.
        def answer(request: Request) -> Response:
            try:
                with connect(store.home) as connection:
                    return HTMLResponse(render(connection, request), headers=_HEADERS)
            except PodlakeError as error:
                raise HTTPException(404, str(error)) from error

        return answer

    def episode(connection: DuckDBPyConnection, request: Request) -> str:
        page = load_episode(connection, request.path_params["episode_id"])
        source = page.audio_url
        if page.audio_uri is not None and store.has(page.audio_uri):
            source = f"../audio/{page.audio_uri.rpartition('/')[2]}"
        links = _links(page.episode_id, ui_url)
        listen = (
            f"{listen_url}/{page.episode_id}" if listen_url and page.audio_uri and source != page.audio_url else None
        )
        return episode_html(page, audio_src=source, links=links, home_href="../index.html", listen_href=listen)

    def feed(connection: DuckDBPyConnection, request: Request) -> str:
        return feed_html(*load_feed(connection, request.path_params["feed_id"]))

    def audio(request: Request) -> Response:
        found = re.fullmatch(r"([0-9a-f]{64})\.[a-z0-9]{2,5}", request.path_params["name"])
        if not found or not store.has(uri := f"audio/{found[1][:2]}/{found[0]}"):
            raise HTTPException(404, "This audio is not kept.")
        with connect(store.home) as connection:
            kind = ask(
                connection, "select any_value(content_type) from acquisitions where audio_sha256 = ?", [found[1]]
            )
        media_type = MEDIA_TYPE if uri.endswith(".opus") else "application/octet-stream"
        if kind and str(kind[0][0]).startswith(("audio/", "video/")):
            media_type = kind[0][0]
        return FileResponse(store.local(uri), media_type=media_type, headers=_HEADERS)  # answers Range requests

    def find(request: Request) -> Response:
        try:
            query, limit = _asked(request)
            with connect(store.home) as connection:
                index.update(connection)
                result = index.search(connection, query, limit=limit)
        except ValueError as error:
            return JSONResponse({"detail": str(error)}, status_code=400, headers=_HEADERS)
        hits = [{**asdict(hit), "text": hit.snippet, "speaker": hit.who} for hit in result.hits]
        return JSONResponse({"total": result.total, "hits": hits}, headers=_HEADERS)

    return Starlette(
        routes=[
            Route("/", lambda _: RedirectResponse("index.html")),
            Route("/index.html", page(lambda connection, _: corpus_html(load_corpus(connection)))),
            Route("/search.html", page(lambda _, __: search_html(api="search.json"))),
            Route("/search.json", find),
            Route("/feeds/{feed_id}.html", page(feed)),
            Route("/episodes/{episode_id}.html", page(episode)),
            Route("/audio/{name}", audio),
            Route("/exports/{name}", lambda request: _export(store.home, request.path_params["name"])),
        ]
    )


def _links(episode_id: str, ui_url: str) -> dict[str, str]:
    """The files of the transcript, and the episode in Dagster."""
    links = {form.SUFFIX.upper(): f"../exports/{episode_id}.{form.SUFFIX}" for form in FORMATS.values()}
    return {**links, "Dagster": f"{ui_url}/assets/turns?partition={episode_id}"} if ui_url else links


def _export(home: Home, name: str) -> Response:
    """The transcript as a file of one of the formats."""
    episode_id, _, suffix = name.partition(".")
    form = next((form for form in FORMATS.values() if suffix == form.SUFFIX), None)
    with connect(home) as connection:
        if form is None or not ask(connection, "select 1 from turns where episode_id = ? limit 1", [episode_id]):
            raise HTTPException(404, "There is no such file.")
        text = form.write(load_document(connection, episode_id))
    attached = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type="text/plain; charset=utf-8", headers={**_HEADERS, **attached})


def _asked(request: Request) -> tuple[SearchQuery, int]:
    """The query in the address. Raises ValueError for a value that cannot be read."""
    asked = request.query_params
    since, until = (date.fromisoformat(day) if (day := asked.get(name)) else None for name in ("since", "until"))
    query = SearchQuery(
        asked.get("q", ""), asked.get("feed"), asked.get("speaker"), asked.get("language"), since=since, until=until
    )
    return query, min(int(asked.get("limit", 20)), MOST_HITS)
