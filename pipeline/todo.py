"""What is left to do: told from the names of commits and failures, not from Dagster's events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.stage import Stage
from resources.lake.commits import Commit, inputs_version
from resources.lake.tries import Tries


def left_to_do(tries: Tries, stage: Stage, keys: Sequence[str], *, failed_too: bool = False) -> list[str]:
    """The keys that can be worked on at the stage: its inputs have landed, and it has not, or from other data.

    What failed is left alone until its next try is due (never, where another try is pointless), unless `failed_too`.
    """
    landed, failed = tries.landed[stage.name], tries.failed[stage.name]

    def is_left(key: str) -> bool:
        if key in failed:
            return failed_too or is_due(tries, stage.name, key)
        if key not in landed and key not in tries.sealed:
            return True
        return any(key in tries.landed[name] for name in stage.upstream) and _is_outdated(tries, stage, key)

    return [key for key in keys if is_left(key) and all(_has_landed(tries, name, key) for name in stage.upstream)]


def is_due(tries: Tries, stage: str, key: str) -> bool:
    """Whether the failure of the key is worth another try by now."""
    next_try = tries.next_try(stage, key)
    return next_try is not None and next_try <= datetime.now(UTC)


def _has_landed(tries: Tries, stage: str, key: str) -> bool:
    return key in tries.landed[stage] or key in tries.sealed


def _is_outdated(tries: Tries, stage: Stage, key: str) -> bool:
    """Whether the inputs have other data now than those that the landing was made from. When they landed is no matter."""
    inputs = {name: _commit(tries, name, key).data_version for name in stage.upstream}
    return _commit(tries, stage.name, key).inputs_version != inputs_version(inputs)


def _commit(tries: Tries, stage: str, key: str) -> Commit:
    found = tries.landed[stage].get(key)
    return found if found is not None else tries.lake.current(stage, [key])[key]
