"""`podlake.lake()` answers in pandas, Polars and Arrow."""

from __future__ import annotations

from pathlib import Path

import pytest

import podlake
from tests.talks import land_talks


def test_a_query_is_a_frame_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    land_talks(tmp_path)
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path))
    turns = "from turns select speaker, count(*) as n group by all order by speaker"
    assert podlake.lake().sql(turns).df().to_dict("list") == {"speaker": ["S1", "S2"], "n": [4, 3]}
    assert podlake.lake(str(tmp_path)).sql(turns).to_arrow_table().to_pydict() == {"speaker": ["S1", "S2"], "n": [4, 3]}
    polars = pytest.importorskip("polars")
    expected = polars.DataFrame({"speaker": ["S1", "S2"], "n": [4, 3]})
    assert podlake.lake().sql(turns).pl().equals(expected)
