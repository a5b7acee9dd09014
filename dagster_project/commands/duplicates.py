"""`podlake duplicates`: copies of episodes, and the ads, jingles and intros of feeds."""

from __future__ import annotations

from dagster_project.commands.listing import Listing
from resources.lake.home import Home
from resources.lake.warehouse import SQL, ask, connect

_COPIES = """
select episode_id, original_episode_id, method, round(share, 2), round(similarity, 2), round(offset_ms / 1000, 1)
from same_audio
where $feed is null or regexp_replace(episode_id, '-[^-]+-[^-]+$', '') = $feed
order by all limit $limit
"""


def copies(home: Home, feed_id: str | None, limit: int) -> Listing:
    """Episodes that have the audio of another."""
    with connect(home) as connection:
        rows = ask(connection, _COPIES, {"feed": feed_id, "limit": limit})
    return ("copy", "original", "method", "share", "similarity", "offset s"), rows


def repeated(home: Home, feed_id: str | None, limit: int) -> Listing:
    """What recurs in feeds, the most frequent first."""
    query = (SQL / "analysis" / "repeated_audio.sql").read_text().rstrip().rstrip(";")
    asked = (
        "select repeat_id, n_episodes, n_occurrences, seconds, usual_start_s, text "
        f"from ({query}) where $feed is null or feed_id = $feed limit $limit"
    )
    with connect(home) as connection:
        rows = ask(connection, asked, {"feed": feed_id, "limit": limit})
    return ("repeated", "episodes", "occurrences", "s", "usually at s", "said"), rows
