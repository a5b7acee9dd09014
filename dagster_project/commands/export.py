"""`podlake export`: transcripts as files for other tools."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from resources.exports.transcripts import episodes_with_turns, write_transcripts
from resources.lake.home import Home
from resources.lake.warehouse import connect


def export_transcripts(home: Home, name: str, out: Path, *, feeds: Sequence[str], episodes: Sequence[str]) -> int:
    """Write the episodes' files with a progress bar. Returns their number."""
    with connect(home) as connection:
        keys = episodes_with_turns(connection, feeds=feeds, episodes=episodes)
        files = write_transcripts(connection, name, keys, out)
        with click.progressbar(files, length=len(keys), label=f"Writing {name}", file=sys.stderr) as written:
            return sum(1 for _ in written)
