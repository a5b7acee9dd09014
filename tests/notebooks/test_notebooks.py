"""The notebooks run top to bottom, also on an empty lake, and show what they gave on the demo's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.talks import land_talks

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("is_empty", [True, False])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_top_to_bottom(path: Path, is_empty: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_empty:
        land_talks(tmp_path)
    pytest.importorskip("matplotlib", reason="the extra `notebooks` is not installed").use("Agg")
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path))
    names: dict[str, object] = {}
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), str(path), "exec"), names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_says_first_what_it_shows_and_has_outputs_without_errors(path: Path) -> None:
    first, *cells = json.loads(path.read_text())["cells"]
    assert re.fullmatch(r"# .+\n\nThis notebook shows [^\n]+\.", "".join(first["source"]))
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs
    assert {output["output_type"] for output in outputs} <= {"execute_result", "display_data", "stream"}
    assert "stderr" not in {output.get("name") for output in outputs}
