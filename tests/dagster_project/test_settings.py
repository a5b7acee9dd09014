"""Batch sizes from the environment."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from assets.stages import STAGES
from dagster_project.settings import Settings


def test_a_batch_size_of_one_stage_overrides_the_sizes_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLAKE_BATCH_SIZES", '{"audio": 3, "turns": 4}')
    monkeypatch.setenv("PODLAKE_BATCH_AUDIO", "5")
    monkeypatch.setenv("PODLAKE_BATCH_FEEDS", "6")  # the old name of the stage `episodes`
    monkeypatch.setenv("PODLAKE_BATCH_HASHES", "")
    sizes = {name: Settings().batch_size(stage) for name, stage in STAGES.items()}
    assert (sizes["audio"], sizes["turns"], sizes["episodes"]) == (5, 4, 6)
    assert sizes["hashes"] == STAGES["hashes"].batch_size


def test_a_batch_has_at_least_one_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLAKE_BATCH_AUDIO", "0")
    with pytest.raises(ValidationError, match=r"batch\.audio"):
        Settings()
