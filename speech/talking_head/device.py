"""A device for talking heads: a pair of servers, one that clones voices and one that films, on one GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class HeadDevice:
    """Where the two servers of a GPU answer, and the folders that they and podlake share."""

    name: str
    speech_url: str
    """fish-speech: `http://127.0.0.1:18180`."""
    video_url: str
    """HeyGem (Duix.Avatar): `http://127.0.0.1:8383`."""
    speech_folder: Path
    """The folder that fish-speech sees as `/code/data`."""
    video_folder: Path
    """The folder that HeyGem sees as `/code/data`."""
    gpu: int | None = None
    """The number that nvidia-smi gives it, to show its memory and use; None: not on this machine."""

    @property
    def urls(self) -> tuple[str, str]:
        """Of both servers."""
        return self.speech_url, self.video_url

    def __post_init__(self) -> None:
        if not self.name or not all(char.isalnum() or char in "-_" for char in self.name):
            raise ValueError(f"{self.name!r} is no name of a device: letters, digits, - and _")
        for url in self.urls:
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
                raise ValueError(f"{url!r} is no address of a server: write http://127.0.0.1:8383")


def parse_devices(devices: tuple[HeadDevice, ...]) -> tuple[HeadDevice, ...]:
    """The devices. Raises ValueError if two have the same name or share a server."""
    for what in ("name", "speech_url", "video_url"):
        values = [getattr(device, what) for device in devices]
        if len(set(values)) != len(values):
            raise ValueError(f"Two devices have the same {what}: each needs its own.")
    return devices
