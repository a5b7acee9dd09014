"""The gateway on this machine: status requests, bulk submission, and event clients.

`python -m bench.gateway [--episodes 4000]`. The server and the load generator are processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from pydantic import SecretStr

from podlake.client import Client
from resources.lake.home import Home
from resources.lake.lake import Lake
from tests.landings import land_stage

USER = ("bench", "a password")
CONNECTIONS = 32
SECONDS = 10.0
WARM = 500
RATE = 500.0
"""Requests a second of the paced round."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=4_000, help="Episodes whose status is asked for.")
    parser.add_argument("--bulk", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=200)
    asked = parser.parse_args()
    print("load before:", *(f"{one:.1f}" for one in os.getloadavg()))
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        server = start_server(Path(folder), port)
        try:
            bulk(port, asked.bulk)
            keys = _land(Path(folder), port, asked.episodes)
            status(port, keys, server.pid)
            asyncio.run(events(port, Path(folder), asked.clients))
        finally:
            server.terminate()
            server.wait(30)
    print("load after:", *(f"{one:.1f}" for one in os.getloadavg()))


def bulk(port: int, count: int) -> None:
    with Client(f"http://127.0.0.1:{port}", user=USER) as client:
        started_s = time.monotonic()
        found = client.submit_bulk({"url": f"https://bench.example/{n}.mp3", "guid": f"g{n}"} for n in range(count))
        print(f"bulk: {found.audio} episodes in {time.monotonic() - started_s:.1f} s")


def status(port: int, keys: list[str], server_pid: int) -> None:
    """Cold: every episode once. Warm: the first ones again and again, as clients ask that wait for their episodes.

    Paced: the same at `RATE`. The others ask as fast as they are answered, so that their times are those of a queue.
    """
    for name, chosen, rate in (("cold", keys, None), ("warm", keys[:WARM], None), ("paced", keys[:WARM], RATE)):
        used_s = cpu_s(server_pid)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            count, elapsed_s, times_ms = pool.apply(_load, (port, chosen, name == "cold", rate))
        used_s = cpu_s(server_pid) - used_s
        times_ms.sort()
        print(f"status, {name}: {count / elapsed_s:.0f} requests/s, median {times_ms[count // 2]:.1f} ms, "
              f"p99 {times_ms[int(count * 0.99)]:.1f} ms; {1e3 * used_s / count:.2f} CPU-ms of the server each")  # fmt: skip


def _load(port: int, keys: list[str], is_once: bool, rate: float | None) -> tuple[int, float, list[float]]:
    return asyncio.run(_ask(port, keys, is_once, rate))


async def _ask(port: int, keys: list[str], is_once: bool, rate: float | None) -> tuple[int, float, list[float]]:
    """Keep-alive connections without a client library, which would take longer than the server.

    With a rate, each connection has its share of it, and a time begins when its request is due.
    """
    import base64

    times_ms: list[float] = []
    remaining = iter(keys)
    token = base64.b64encode(":".join(USER).encode()).decode()
    started_s = time.monotonic()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due_s = time.perf_counter() + (random.random() * CONNECTIONS / rate if rate else 0)
        while time.monotonic() - started_s < SECONDS:
            if rate:
                due_s += CONNECTIONS / rate
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            key = next(remaining, None) if is_once else random.choice(keys)
            if key is None:
                break
            begun_s = due_s if rate else time.perf_counter()
            writer.write(
                f"GET /api/v1/episodes/{key} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {token}\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            times_ms.append(1e3 * (time.perf_counter() - begun_s))
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return len(times_ms), time.monotonic() - started_s, times_ms


async def events(port: int, home: Path, count: int) -> None:
    """The time from a landing until all clients have its event."""
    connected, got = 0, []
    landed_s = 0.0

    async def follow() -> None:
        nonlocal connected
        async with (
            httpx.AsyncClient(auth=USER, timeout=60) as client,
            client.stream("GET", f"http://127.0.0.1:{port}/api/v1/events") as answer,
        ):
            async for line in answer.aiter_lines():
                if line.startswith(": connected"):
                    connected += 1
                if line.startswith("data: ") and json.loads(line[6:])["key"] == "events-20260101-00000001":
                    got.append(time.monotonic() - landed_s)
                    return

    tasks = [asyncio.create_task(follow()) for _ in range(count)]
    while connected < count:
        await asyncio.sleep(0.1)
    landed_s = time.monotonic()
    land_stage(Lake(Home.at(str(home))), "audio", "events-20260101-00000001", {})
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    print(f"events: {len(got)} clients have a landing after {min(got):.2f} to {max(got):.2f} s")


def _land(home: Path, port: int, count: int) -> list[str]:
    """The audio and hashes of the newest episodes."""
    with Client(f"http://127.0.0.1:{port}", user=USER) as client:
        keys = [entry.episode_id for _, entry in zip(range(count), client.episodes(), strict=False)]
    lake = Lake(Home.at(str(home)))
    for key in keys:
        land_stage(lake, "audio", key, {})
    time.sleep(3)
    return keys


def start_server(home: Path, port: int) -> subprocess.Popen[bytes]:
    """A gateway of its own process, which is ready."""
    environment = {
        **os.environ, "PODLAKE_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "PODLAKE_SERVE_DAGSTER": "false",
        "ADMIN_USERNAME": USER[0], "ADMIN_PASSWORD": SecretStr(USER[1]).get_secret_value(),
        "PODLAKE_SERVE_REQUESTS_PER_MINUTE": "10000000",
    }  # fmt: skip
    (home / "dagster").mkdir()
    server = subprocess.Popen([sys.executable, "-m", "gateway", "--port", str(port)], env=environment)
    until_s = time.monotonic() + 120
    while time.monotonic() < until_s:
        try:
            httpx.get(f"http://127.0.0.1:{port}/docs", auth=USER, timeout=5)
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return server
    raise TimeoutError("The server did not start.")


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main()
