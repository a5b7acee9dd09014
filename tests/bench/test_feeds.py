"""A small version of the benchmark of feeds: what it measures is really done."""

from __future__ import annotations

from pathlib import Path

from bench.feeds import FILE_BYTES, Server, downloads, polls


def test_polls_and_downloads(tmp_path: Path) -> None:
    with Server() as base:
        assert list(polls(base, tmp_path / "feeds", 3, 4)) == ["first poll", "poll of unchanged feeds"]
        downloads(base, tmp_path, 1)
    assert (tmp_path / "0").stat().st_size == FILE_BYTES
