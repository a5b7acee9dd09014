"""What is left to do: told from the tables, not from Dagster's events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.records import last_landings
from pipeline.stage import Stage
from resources.lake.tries import Tries


def left_to_do(tries: Tries, stage: Stage, keys: Sequence[str], *, failed_too: bool = False) -> list[str]:
    """The keys that can be worked on at the stage: upstream has landed, and the stage has not since.

    What failed is left alone until its next try is due (never, where another try is pointless), unless
    `failed_too`. Landings are only opened where names and times of files leave a doubt.
    """
    tried, failed = tries.tried[stage.name], tries.failed[stage.name]

    def is_left(key: str) -> bool:
        if key in failed:
            return failed_too or is_due(tries, stage.name, key)
        if key not in tried and key not in tries.sealed:
            return True
        newer = any(tries.tried[name].get(key, 0) > tried.get(key, 0) for name in stage.inputs)
        return newer and _is_outdated(tries, stage, key)

    return [key for key in keys if is_left(key) and all(_has_landed(tries, name, key) for name in stage.inputs)]


def is_due(tries: Tries, stage: str, key: str) -> bool:
    """Whether the failure of the key is worth another try by now."""
    next_try = tries.next_try(stage, key)
    return next_try is not None and next_try <= datetime.now(UTC)


def _has_landed(tries: Tries, stage: str, key: str) -> bool:
    if key not in tries.tried[stage]:
        return key in tries.sealed
    return key not in tries.failed[stage] or bool(last_landings(tries.lake, stage, [key]))


def _is_outdated(tries: Tries, stage: Stage, key: str) -> bool:
    """Whether upstream has landed since: a failed try, and a landing brought back, are newer files but no newer rows."""
    landed = last_landings(tries.lake, stage.name, [key])
    upstream = [last_landings(tries.lake, name, [key]) for name in stage.inputs]
    return key not in landed or any(
        found[key].finished_at > landed[key].finished_at for found in upstream if key in found
    )
