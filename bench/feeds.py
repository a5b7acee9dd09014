"""The cost of polling feeds and of downloading audio, against a server on the loopback.

    python -m bench.feeds [feeds [items of the large feed [downloads]]]

Prints wall and CPU seconds and memory of a first poll of feeds with 20 items, of a poll that finds them all unchanged,
of one large feed, and of downloads with hashing beside `curl` on the same files.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path

from resources.fetch.addresses import AllowedHosts
from resources.fetch.hosts import FetchPolicy
from resources.fetch.http import download
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES
from resources.lake.unchanged_polls import unchanged_at

ROOT = Path(__file__).parents[1]
ITEMS = 20
AT_ONCE = 8
FILE_BYTES = 50 << 20


@dataclass(frozen=True)
class Measured:
    """What a part took."""

    wall_s: float
    cpu_s: float


def main(n_feeds: int, n_items: int, n_files: int) -> None:
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    with Server() as base, tempfile.TemporaryDirectory() as folder:
        for name, took in polls(base, Path(folder) / "many", n_feeds, ITEMS).items():
            print(
                f"{n_feeds} feeds of {ITEMS} items, {name}: {took.wall_s:.1f} s, {took.cpu_s:.1f} s of CPU, "
                f"{1000 * took.cpu_s / n_feeds:.1f} ms a feed (bars: 24 and 6 on two cores)"
            )
        print(f"most memory of a process: {_most_mb():.0f} MB")
        took = polls(base, Path(folder) / "large", 1, n_items)["first poll"]
        print(f"one feed of {n_items} items: {took.wall_s:.1f} s, {took.cpu_s:.1f} s of CPU")
        print(f"most memory of a process: {_most_mb():.0f} MB")
        ours_s, curl_s = downloads(base, Path(folder), n_files)
        print(
            f"{n_files} files of 50 MB, {AT_ONCE} at once: {ours_s:.2f} s, curl {curl_s:.2f} s: {curl_s / ours_s:.2f} × curl"
        )


def polls(base: str, home: Path, n_feeds: int, n_items: int) -> dict[str, Measured]:
    """`podlake refresh` of new feeds, and again when they are unchanged. Raises if a row is missing."""
    lake = Lake(Home.at(str(home)))
    feeds = Catalogue(lake).subscribe((f"{base}/feed/{n}/{n_items}", f"Feed {n}") for n in range(n_feeds))
    settings = {
        "PODLAKE_HOME": str(home), "PODLAKE_ALLOW_HOSTS": "127.0.0.1", "PODLAKE_CONNECTIONS_PER_HOST": str(AT_ONCE),
    }  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"} | settings

    def poll() -> None:
        command = [sys.executable, "-m", "dagster_project.cli", "refresh"]
        subprocess.run(
            command, env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    found = {name: _timed(poll) for name in ("first poll", "poll of unchanged feeds")}
    for key in (feeds[0].feed_id, feeds[-1].feed_id):
        assert len(lake.rows(EPISODES, key)) == n_items
        assert key in unchanged_at(lake)
    return found


def downloads(base: str, folder: Path, n_files: int) -> tuple[float, float]:
    """Seconds that we and curl take for the same files, after one download that is not counted."""
    urls = [f"{base}/file/{n}" for n in range(n_files)]

    def ours(url: str) -> None:
        download(url, folder / url.rpartition("/")[2], POLICY)

    def curl(url: str) -> None:
        subprocess.run(["curl", "-sf", "-o", folder / f"curl-{url.rpartition('/')[2]}", url], check=True)

    ours(urls[0])
    return _at_once(ours, urls), _at_once(curl, urls) if shutil.which("curl") else float("nan")


POLICY = FetchPolicy(allowed=AllowedHosts.parse("127.0.0.1"), connections_per_host=AT_ONCE)


def _at_once(fetch: Callable[[str], None], urls: Sequence[str]) -> float:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return _timed(lambda: list(pool.map(fetch, urls))).wall_s


def _timed(work: Callable[[], object]) -> Measured:
    started_s, started_cpu_s = time.perf_counter(), _cpu_s()
    work()
    return Measured(time.perf_counter() - started_s, _cpu_s() - started_cpu_s)


def _cpu_s() -> float:
    """Of this process, and of those that it has started and that have ended."""
    used = [resource.getrusage(which) for which in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _most_mb() -> float:
    """Of any process that has ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


class Server:
    """A server in a process of its own, so that its work is not counted as ours."""

    def __enter__(self) -> str:
        receiver, sender = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(sender,), daemon=True)
        self._process.start()
        return str(receiver.recv())

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()


def _serve(sender: Connection) -> None:
    async def serve() -> None:
        server = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=1000)
        sender.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await server.serve_forever()

    asyncio.run(serve())


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    path = request.split()[1].decode()
    if b'if-none-match: "1"' in request.lower():
        head, body = "304 Not Modified", b""
    else:
        head, body = "200 OK", _file() if path.startswith("/file") else _feed(*path.split("/")[2:])
    writer.write(f'HTTP/1.1 {head}\r\nETag: "1"\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n'.encode())
    writer.write(body)
    try:
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    except ConnectionError:
        return


@cache
def _file() -> bytes:
    """Made in the server's process only, so that it does not count as our memory."""
    return os.urandom(1 << 20) * (FILE_BYTES >> 20)


def _feed(name: str, n_items: str) -> bytes:
    items = "".join(
        f"<item><title>Episode {n} of {name}</title><guid>{name}-{n}</guid><description>{'About it. ' * 20}</description>"
        f"<pubDate>{1 + n % 28} Jan {2000 + n % 25} 08:00:00 GMT</pubDate>"
        f'<enclosure url="http://a.test/{name}/{n}.mp3" length="1000" type="audio/mpeg"/></item>'
        for n in range(int(n_items))
    )
    return (
        f'<rss version="2.0"><channel><title>Feed {name}</title><language>en</language>{items}</channel></rss>'.encode()
    )


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*(arguments + [10_000, 100_000, 32][len(arguments) :]))
