"""`podlake.lake()` answers in pandas, Polars and Arrow; `podlake.export()` writes data sets."""

from __future__ import annotations

from pathlib import Path

import pytest

import podlake
from tests.exports import land_exportable, talk
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


def test_export_and_summary(tmp_path: Path) -> None:
    land_exportable(tmp_path / "home", [talk("show-20260101-00000001", 4)], {"show": {}})
    home = str(tmp_path / "home")
    made = podlake.export("parquet", str(tmp_path / "set"), home=home, split="50/50", split_by="voice")
    assert podlake.summary(made) == (
        f"{tmp_path}/set: 4 utterances, 0.00 h.\n  train: 2 utterances, 0.00 h\n  validation: 2 utterances, 0.00 h"
    )
    none = podlake.export("parquet", str(tmp_path / "none"), home=home, licenses=["mit"])
    assert podlake.summary(none).startswith("No utterance can be exported, so nothing was written.\nLeft out:\n")
    assert not (tmp_path / "none").exists()
    assert "earlier data set" not in podlake.summary(none)
    older = podlake.export("parquet", str(tmp_path / "set"), home=home, licenses=["mit"])
    assert podlake.summary(older).endswith(
        "set still has an earlier data set, of episodes that are left out now: remove the folder."
    )
