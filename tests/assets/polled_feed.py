"""A server of a feed with audio, and the assets that read it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import dagster as dg

from assets.audio.audio import audio
from assets.audio.hashes import hashes
from assets.catalogue.episodes import episodes
from assets.catalogue.feeds import feeds
from assets.stages import EPISODE_GRAPH
from partitions.window import Window
from pipeline.asset_definition import as_asset
from resources.fetch.audio_store import AudioStore
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES
from speech.waveforms import WaveformCache
from tests.fetch import loopback

FEED = """<rss version="2.0"><channel><title>Show</title><item><title>One</title><guid>g1</guid>
<pubDate>Thu, 01 Jan 2026 08:00:00 GMT</pubDate>{enclosures}</item></channel></rss>"""


@contextmanager
def site(files: dict[str, bytes], redirect: int = 302, *, etag: bool = False) -> Iterator[str]:
    """Serves the files by path. Contents that begin with `to:`, `429:` or `503` say how the server answers instead."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path)
            if body is not None and body.startswith(b"to:"):
                self.send_response(redirect)
                self.send_header("Location", body[3:].decode())
                body = b""
            elif body is not None and body.startswith(b"429:"):
                self.send_response(429)
                self.send_header("Retry-After", body[4:].decode())
                body = b""
            elif body is not None and body.startswith(b"503"):
                self.send_response(503)
            else:
                version = f'"{hashlib.md5(body or b"").hexdigest()}"'
                is_known = etag and body is not None and self.headers.get("If-None-Match") == version
                self.send_response(404 if body is None else 304 if is_known else 200)
                if etag:
                    self.send_header("ETag", version)
                body = b"" if is_known else body
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


class Pipeline:
    """From the feeds to the hashes, on a home in the folder."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self.instance, self.lake = instance, Lake(Home.at(str(folder / "home")))
        self.catalogue = Catalogue(self.lake)
        self.given = {
            "lake": self.lake, "catalogue": self.catalogue, "window": Window(), "episode_graph": EPISODE_GRAPH,
            "audio_store": AudioStore(self.lake.home, folder / "home", 10**9), "fetch_policy": loopback(),
            "waveforms": WaveformCache(folder / "waveforms", 10**9),
        }  # fmt: skip
        self.assets = [feeds, *(as_asset(stage, batch_size=5, code_version="1") for stage in (episodes, audio, hashes))]

    def run(self, asset: str, key: str | None = None) -> bool:
        return dg.materialize(
            self.assets, selection=[asset], partition_key=key, instance=self.instance, resources=self.given,
            raise_on_error=False,
        ).success  # fmt: skip

    def poll(self) -> str:
        """The key of the only episode."""
        assert self.run("feeds")
        assert self.run("episodes", "show")
        (row,) = self.lake.rows(EPISODES, "show")
        return row.episode_id


def enclosure(url: str) -> str:
    return f'<enclosure url="{url}" type="audio/mpeg"/>'
