"""`podlake search`: turns that contain words, with links in time."""

from __future__ import annotations

import sys

from pages.render import clock
from resources.lake.home import Home
from resources.lake.warehouse import connect
from resources.search import Hit, SearchIndex, SearchQuery, SearchResult
from resources.search_meaning import MeaningIndex


def find(home: Home, index: SearchIndex | MeaningIndex, query: SearchQuery, *, limit: int) -> SearchResult:
    """Index what has landed since the last search, with a progress bar if that takes long, and search."""
    from rich.console import Console
    from rich.progress import Progress

    screen = Console(stderr=True)
    with (
        connect(home) as connection,
        Progress(console=screen, transient=True, disable=not screen.is_terminal) as progress,
    ):
        task = progress.add_task("Indexing new episodes", total=None, visible=False)
        index.update(connection, lambda done, total: progress.update(task, completed=done, total=total, visible=True))
        return index.search(connection, query, limit=limit)


def to_text(result: SearchResult) -> str:
    """Two lines a hit: where, and the words around it."""
    if not result.hits:
        return "No turn matches. All words must stand in one turn."
    lines = [line for hit in result.hits for line in (_where(hit), f"  {_marked(hit)}", "")]
    shown = len(result.hits)
    more = f"; the best {shown} are shown (--limit)" if result.total > shown else ""
    return "\n".join([*lines, f"{result.total} {'turn' if result.total == 1 else 'turns'}{more}."])


def _where(hit: Hit) -> str:
    return "  ".join(filter(None, (hit.episode_id, clock(hit.start_ms), hit.who, f"“{hit.title}”")))


def _marked(hit: Hit) -> str:
    """The snippet in one line; on a terminal the found words are bold."""
    if not sys.stdout.isatty():
        return " ".join(hit.snippet.split())
    text, at = "", 0
    for start, stop in hit.marks:
        text += f"{hit.snippet[at:start]}\033[1m{hit.snippet[start:stop]}\033[0m"
        at = stop
    return " ".join((text + hit.snippet[at:]).split())
