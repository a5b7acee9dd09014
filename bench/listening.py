"""Many listeners of the gateway at once: whether one would hear a gap, and what each costs.

`python -m bench.listening [--listeners 200] [--seconds 120] [--episodes 20]`. The server and the listeners are processes of
their own. Listeners begin at random times; ten of them are followed with a model of a player's buffer.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import multiprocessing
import os
import random
import re
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import av
import httpx
import psutil
from websockets.asyncio.client import connect

from bench.gateway import USER, cpu_s, free_port, start_server
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import TABLES
from speech.webm import CLUSTER_MS, read_clusters
from tests.landings import land

SOURCE = Path(__file__).parents[1] / "demo" / "audio" / "bread-takes-its-time.mp3"
START_MS = 2_500
"""What the player of the service waits for before it plays."""
SAMPLED = 10
LATEST_START_S = 60


@dataclass
class PlayerModel:
    """The buffer of a player that plays in real time as soon as it has `START_MS`. A gap is when it runs out."""

    received_ms: float = 0.0
    gaps: int = 0
    gap_s: float = 0.0
    most_ahead_ms: float = 0.0
    _playing_since_s: float | None = None

    def receive(self, length_ms: float, now_s: float) -> None:
        """Audio arrives."""
        if self._playing_since_s is not None:
            played_ms = 1000 * (now_s - self._playing_since_s)
            if played_ms > self.received_ms:
                self.gaps += 1
                self.gap_s += (played_ms - self.received_ms) / 1000
                self._playing_since_s += (played_ms - self.received_ms) / 1000
        self.received_ms += length_ms
        if self._playing_since_s is None and self.received_ms >= START_MS:
            self._playing_since_s = now_s
        if self._playing_since_s is not None:
            self.most_ahead_ms = max(self.most_ahead_ms, self.received_ms - 1000 * (now_s - self._playing_since_s))


@dataclass
class Heard:
    """What a listener got."""

    first_audio_s: float = 0.0
    missing: int = 0
    """Clusters that do not follow the one before."""
    player: PlayerModel = field(default_factory=PlayerModel)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--episodes", type=int, default=20, help="The listeners are spread over so many.")
    asked = parser.parse_args()
    print("load before:", *(f"{one:.1f}" for one in os.getloadavg()))
    with tempfile.TemporaryDirectory() as folder:
        keys = _land(Path(folder), asked.episodes, LATEST_START_S + asked.seconds + 20)
        port = free_port()
        server = start_server(Path(folder), port)
        try:
            _measure(port, server.pid, keys, asked.listeners, asked.seconds)
        finally:
            server.terminate()
            server.wait(30)
    print("load after:", *(f"{one:.1f}" for one in os.getloadavg()))


def _measure(port: int, pid: int, keys: list[str], listeners: int, seconds: float) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(_listen_all, (port, keys[:1], 1, 3.0))  # what is loaded once is not a listener's
        before_mb, used_s = _memory_mb(pid), cpu_s(pid)
        running = pool.apply_async(_listen_all, (port, keys, listeners, seconds))
        most_mb = before_mb
        while not running.ready():
            most_mb = max(most_mb, _memory_mb(pid))
            time.sleep(0.25)
        heard = running.get()
    sampled = heard[:: max(1, len(heard) // SAMPLED)][:SAMPLED]
    firsts = sorted(one.first_audio_s for one in heard)
    print(f"{listeners} listeners of {len(keys)} episodes for {seconds:.0f} s")
    print(f"gaps of {len(sampled)} sampled players: {sum(one.player.gaps for one in sampled)} "
          f"({sum(one.player.gap_s for one in sampled):.1f} s); of all: {sum(one.player.gaps for one in heard)}; "
          f"clusters missing: {sum(one.missing for one in heard)}")  # fmt: skip
    print(f"first audio after: median {firsts[len(firsts) // 2]:.2f} s, 95 % {firsts[int(len(firsts) * 0.95)]:.2f} s, "
          f"at most {firsts[-1]:.2f} s")  # fmt: skip
    print(f"most ahead of a player: {max(one.player.most_ahead_ms for one in heard) / 1000:.1f} s")
    print(f"memory of the server: {before_mb:.0f} MB before, {most_mb:.0f} MB at most, "
          f"{(most_mb - before_mb) / listeners:.2f} MB a listener")  # fmt: skip
    encoding = sum(sum(child.cpu_times()[:2]) for child in psutil.Process(pid).children(recursive=True))
    print(f"CPU: {(cpu_s(pid) - used_s) / seconds:.0%} of a core to send, {encoding / seconds:.0%} to encode")


def _listen_all(port: int, keys: list[str], listeners: int, seconds: float) -> list[Heard]:
    return asyncio.run(_listeners(port, keys, listeners, seconds))


async def _listeners(port: int, keys: list[str], listeners: int, seconds: float) -> list[Heard]:
    chance = random.Random(listeners)
    starts = [(keys[n % len(keys)], 1000 * chance.randrange(LATEST_START_S)) for n in range(listeners)]
    async with httpx.AsyncClient(auth=USER, timeout=60, base_url=f"http://127.0.0.1:{port}") as client:
        paths = []
        for key, _ in starts:
            answer = await client.post(f"/api/v1/episodes/{key}/stream")
            paths.append(answer.raise_for_status().json()["path"])
    return await asyncio.gather(
        *(_listen(port, path, from_ms, seconds) for path, (_, from_ms) in zip(paths, starts, strict=True))
    )


async def _listen(port: int, path: str, from_ms: int, seconds: float) -> Heard:
    heard, begun_s, next_ms = Heard(), time.monotonic(), from_ms
    token = base64.b64encode(":".join(USER).encode()).decode()
    headers = {"Authorization": f"Basic {token}"}
    address = f"ws://127.0.0.1:{port}{path}?from={from_ms}"
    async with connect(address, additional_headers=headers, compression=None, open_timeout=60) as socket:
        metadata = json.loads(await socket.recv())
        assert metadata["type"] == "stream_metadata", metadata
        await socket.recv()  # the header
        while (now_s := time.monotonic()) - begun_s < seconds:
            try:
                message = await asyncio.wait_for(socket.recv(), max(0.01, seconds - (now_s - begun_s)))
            except TimeoutError:
                break
            if isinstance(message, str):
                assert json.loads(message)["type"] != "error", message
                continue
            (cluster,) = read_clusters(message)
            heard.missing += cluster.start_ms != next_ms
            next_ms = cluster.start_ms + CLUSTER_MS
            heard.first_audio_s = heard.first_audio_s or time.monotonic() - begun_s
            heard.player.receive(CLUSTER_MS, time.monotonic())
    return heard


def _land(home: Path, count: int, seconds: float) -> list[str]:
    """Episodes with audio of this length; the bytes of all are the same, but each is encoded by itself."""
    lake = Lake(Home.at(str(home)))
    audio = _mp3(seconds)
    keys = [f"show-20260101-{n:08x}" for n in range(count)]
    rows = [{"episode_id": key, "feed_id": "show", "title": key, "guid": key, "enclosure_url": f"https://show.example/{key}.mp3"}
            for key in keys]  # fmt: skip
    land(lake, TABLES["episodes"], "show", rows)
    for n, key in enumerate(keys):
        sha256 = f"{n:064x}"
        path = home / "audio" / sha256[:2] / f"{sha256}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(audio)
        row = {"audio_sha256": sha256, "storage_uri": f"audio/{sha256[:2]}/{path.name}", "content_type": "audio/mpeg"}
        land(lake, TABLES["acquisitions"], key, [row])
    return keys


def _mp3(seconds: float) -> bytes:
    """The source again and again."""
    with av.open(str(SOURCE)) as file:
        stream = file.streams.audio[0]
        packets = [bytes(packet) for packet in file.demux(stream) if packet.size]
        length_s = len(packets) * 1152 / stream.rate
    return b"".join(packets) * -int(-seconds // length_s)


def _memory_mb(pid: int) -> float:
    """Of the server's process; what encodes has processes of its own."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1000 if found else 0.0


if __name__ == "__main__":
    main()
