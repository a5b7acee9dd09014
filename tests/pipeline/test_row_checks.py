"""Rows that would make later stages wrong do not land."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from partitions.definitions import EPISODES, add_keys
from pipeline.asset_definition import as_asset
from pipeline.row_checks import verify
from pipeline.stage import Cost, Landing, Stage
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import FAILURES, SEGMENTS, SPEAKERS
from speech.errors import BadOutput
from tests.instances import instance_for_test
from tests.landings import filled

GOOD, BAD = "show-20260101-00000001", "show-20260102-00000002"


def segments(*spans: tuple[int, int], **values: Any) -> dict[str, Any]:
    rows = [
        filled(SEGMENTS, {"segment_idx": i, "start_ms": start_ms, "end_ms": end_ms, **values})
        for i, (start_ms, end_ms) in enumerate(spans)
    ]
    return {"segments": SEGMENTS.of(rows)}


def test_rows_that_are_right_pass() -> None:
    verify(segments((0, 5_000), (4_000, 10_900)), GOOD, 10_000)
    verify(segments(), GOOD, 0)
    verify(segments((0, 5_000)), GOOD, None)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (segments((0, 10), (10, 11_001)), "segments of .*: row 1 lasts from 10 to 11001 ms; the audio has 10000 ms"),
        (segments((20, 10)), "row 0 lasts from 20 to 10 ms"),
        (segments((-1, 10)), "row 0 lasts from -1 to 10 ms"),
        (segments((0, 10), (10, 20), segment_idx=7), "1 of 2 rows have the key of another one"),
    ],
)
def test_each_thing_that_is_wrong_is_named(rows: dict[str, Any], message: str) -> None:
    with pytest.raises(BadOutput, match=message):
        verify(rows, BAD, 10_000)


def test_the_episode_fails_and_the_others_land(tmp_path) -> None:
    lake = Lake(Home.at(str(tmp_path)))
    provenance = ("episode_id", "audio_sha256", "engine_fingerprint", "run_id", "landed_at", "data_version")

    def outcomes(batch: Any):
        for key in batch.keys:
            row = filled(SEGMENTS, {"start_ms": 5, "end_ms": 9 if key == GOOD else 4})
            own = {name: row[name] for name in row if name not in provenance}
            yield Landing(key, {"segments": [own], "speakers": []}, Cost("a" * 64, "f" * 16))

    toy = replace(
        Stage(tables=(SEGMENTS, SPEAKERS), ui_metadata=lambda _: {}, group="speech", version="1"),
        name="diarization", work=outcomes,
    )  # fmt: skip
    with instance_for_test() as instance:
        add_keys(instance, EPISODES, [GOOD, BAD])
        tags = {"dagster/asset_partition_range_start": GOOD, "dagster/asset_partition_range_end": BAD}
        asset = as_asset(toy, batch_size=2, code_version="1")
        made = dg.materialize([asset], instance=instance, resources={"lake": lake}, tags=tags, raise_on_error=False)
        assert not made.success
        assert instance.get_materialized_partitions(dg.AssetKey("diarization")) == {GOOD}
    (failure,) = FAILURES.rows_of(lake.read_file(FAILURES, f"{BAD}.diarization"))
    assert (failure.error_class, "row 0 lasts from 5 to 4 ms" in failure.message) == ("bad_output", True)
