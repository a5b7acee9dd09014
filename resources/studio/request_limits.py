"""How many requests a user may have open, and how many a user may make in a day of UTC: the rule of podcasts and videos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

REMEMBERED = timedelta(days=7)
"""Requests that have no end after this time are not started again, and do not count as open."""


@dataclass(frozen=True)
class Exceeded:
    """Which limit a further request would exceed. HTTP says 429."""

    code: str
    message: str
    retry_after_s: int | None = None
    """None: when an open request ends."""


def exceeded(
    connection: sa.Connection, requests: sa.Table, user_id: str, now: datetime, *,
    name: str, at_once: int, per_day: int, n_open: Callable[[sa.Select[Any]], int],
) -> Exceeded | None:  # fmt: skip
    """None: the user may make one more. `n_open` counts the pending and processing ones of those that a query selects."""
    own = sa.select(requests).where(requests.c.user_id == user_id)
    since = (now - REMEMBERED).timestamp()
    if n_open(own.where(requests.c.admitted_at >= since, requests.c.cancelled_at.is_(None))) >= at_once:
        of_one = f"Please wait for your current {name} to complete."
        of_many = f"Please wait: {at_once} of your {name}s are not finished."
        return Exceeded("rate_limit_exceeded", of_one if at_once == 1 else of_many)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    today = own.where(requests.c.admitted_at >= midnight.timestamp()).subquery()
    if (connection.execute(sa.select(sa.func.count()).select_from(today)).scalar() or 0) >= per_day:
        return Exceeded(
            "daily_limit_exceeded",
            f"You have requested {per_day} {name}s today. The next day begins at midnight UTC.",
            int((midnight + timedelta(days=1) - now).total_seconds()),
        )
    return None
