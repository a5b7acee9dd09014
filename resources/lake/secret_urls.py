"""URLs that contain credentials, by the URLs that tables and messages show instead.

They stand in `secrets/` of the home, a file for each owner that only the user can read. The values are encoded, not
encrypted: a search of the folder does not print them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from partitions.credentials import HIDDEN
from resources.lake.home import Home


@dataclass(frozen=True)
class SecretUrls:
    """The secret URLs of an owner: a subscription, or the episodes of a feed."""

    home: Home
    owner: str
    """Such as `feeds/my-show`."""

    def real(self, shown: str, scope: str = "") -> str:
        """The URL to fetch, for the one that is shown."""
        return self.read().get(f"{scope} {shown}", shown) if HIDDEN in shown else shown

    def read(self) -> dict[str, str]:
        """`<scope> <shown URL>` → URL."""
        if not self.home.exists("secrets", f"{self.owner}.json"):
            return {}
        found = json.loads(self.home.read("secrets", f"{self.owner}.json"))
        return {key: base64.b64decode(value).decode() for key, value in found.items()}

    def add(self, urls: Mapping[str, str]) -> None:
        """Add to what is known, or replace it. Raises `StorageError`."""
        known = self.read()
        if urls.items() <= known.items():
            return
        self._write({**known, **urls})

    def forget(self, scopes: Collection[str]) -> None:
        """Remove the URLs of the scopes."""
        known = self.read()
        left = {key: url for key, url in known.items() if key.partition(" ")[0] not in scopes}
        if left != known:
            self._write(left)

    def remove(self) -> None:
        self.home.remove("secrets", f"{self.owner}.json")

    def _write(self, urls: Mapping[str, str]) -> None:
        encoded = {key: base64.b64encode(url.encode()).decode() for key, url in urls.items()}
        with self.home.writing("secrets", f"{self.owner}.json", private=True) as stream:
            stream.write(json.dumps(encoded).encode())
