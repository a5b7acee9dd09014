"""The GPU servers that the settings name, by the hosts of their services. Light to import: settings are read everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from resources.gpu_server.on_demand import GpuServer


@dataclass(frozen=True)
class GpuServers:
    """All GPU servers that the settings name; most installations have none."""

    servers: Sequence[GpuServer] = ()

    @contextmanager
    def in_use(self, urls: Iterable[str | None], what: str) -> Iterator[None]:
        """The servers that have the services at these URLs, ready, for this block. Other URLs need none."""
        wanted = [*urls]
        with ExitStack() as stack:
            for server in self.servers:
                if server.serves(wanted):
                    stack.enter_context(server.in_use(what))
            yield


def parse_servers(text: str) -> dict[str, str]:
    """`gpu-1=http://10.0.0.5:8001/health,…` → name of a server → URL of its service's health. Raises ValueError."""
    found = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        name, _, url = entry.partition("=")
        if not name.strip() or urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError(
                f"{entry!r} is no GPU server. Write its name and its service: gpu-1=http://10.0.0.5:8001/health"
            )
        found[name.strip()] = url.strip()
    return found
