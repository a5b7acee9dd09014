"""Claims of attempts: of all processes that want to start the same run, one does. A claim without a run expires."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from resources.database import writing

CLAIM_LASTS = timedelta(minutes=2)
"""From the decision to run an attempt to its Dagster run. After this time, another process may try."""


def claim(engine: sa.Engine, table: sa.Table, attempt: Mapping[str, object], now: datetime) -> bool:
    """Claim the attempt, whose columns identify a row of the table. False: another process holds it."""
    here = [table.c[name] == value for name, value in attempt.items()]
    try:
        with writing(engine) as connection:
            held = connection.execute(sa.select(table.c.claimed_at).where(*here)).scalar()
            if held is None:
                connection.execute(table.insert().values(**attempt, claimed_at=now.timestamp()))
                return True
            expired = table.c.claimed_at <= (now - CLAIM_LASTS).timestamp()
            taken = connection.execute(table.update().where(*here, expired).values(claimed_at=now.timestamp()))
            return bool(taken.rowcount)
    except sa.exc.IntegrityError:  # another process has inserted the same row at this moment
        return False
