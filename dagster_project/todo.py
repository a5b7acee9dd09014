"""What is left to do: told from the tables, not from Dagster's events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from assets.records import last_landings
from assets.stage import Stage
from resources.lake import Lake
from resources.schemas import FAILURES


def left_to_do(lake: Lake, stage: Stage, keys: Sequence[str], *, failed_too: bool = False) -> list[str]:
    """The keys that can be worked on at the stage: upstream has landed, and the stage has not since.

    What failed is left alone until its next try is due (never, where another try is pointless), unless
    `failed_too`.
    """
    landed = last_landings(lake, stage.name, keys)
    upstream = [last_landings(lake, name, keys) for name in stage.upstream]
    failed = {name.rsplit(".", 1)[0] for name in lake.open_keys(FAILURES) if name.endswith(f".{stage.name}")}
    now = datetime.now(UTC)

    def ready(key: str) -> bool:
        return all(key in found for found in upstream)

    def current(key: str) -> bool:
        return key in landed and all(found[key].finished_at <= landed[key].finished_at for found in upstream)

    def waiting(key: str) -> bool:
        return key in failed and not failed_too and not _is_due(lake, stage, key, now)

    return [key for key in keys if ready(key) and not waiting(key) and (not current(key) or key in failed)]


def _is_due(lake: Lake, stage: Stage, key: str, now: datetime) -> bool:
    failure = lake.read(FAILURES, FAILURES.landing_key(key, stage.name))
    next_try = failure["next_retry_at"].to_pylist()[-1] if failure is not None else now
    return next_try is not None and next_try <= now
