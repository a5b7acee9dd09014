"""What the hub's client has already downloaded, found without importing the client."""

from __future__ import annotations

import os
from pathlib import Path


def cached_commit(repository: str) -> str | None:
    """The commit of the snapshot in the local cache; None before the first download."""
    ref = hub_cache() / f"models--{repository.replace('/', '--')}" / "refs" / "main"
    return ref.read_text().strip() if ref.is_file() else None


def hub_cache() -> Path:
    """The folder of the downloads, found as the hub's client does."""
    if cache_dir := os.environ.get("HF_HUB_CACHE"):
        return Path(cache_dir).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"
