"""Translations that were found to be valid, as files that processes share: one for each line and everything it depends on."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TranslationCache:
    """A folder of translations; none if there is no folder."""

    folder: Path | None

    def of(self, owner: str) -> TranslationCache:
        """The translations of one lesson."""
        return TranslationCache(self.folder / owner if self.folder and owner else self.folder)

    def get(self, key: str) -> str | None:
        """The translation that was kept under the key; None: there is none, or its file is broken."""
        if self.folder is None:
            return None
        with suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(self._path(key).read_text("utf-8"))
            text = content["translation"]
            if content["key"] == key and isinstance(text, str):
                return text
        return None

    def put(self, key: str, text: str) -> None:
        """Keep a valid translation. The file appears complete."""
        if self.folder is None:
            return
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        hidden.write_text(json.dumps({"key": key, "translation": text}, ensure_ascii=False), "utf-8")
        hidden.replace(path)

    def _path(self, key: str) -> Path:
        assert self.folder
        return self.folder / key[:2] / f"{key}.json"


def cache_key(*parts: str | int | Sequence[object] | None) -> str:
    """SHA-256 in hex over everything that the translation depends on."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()
