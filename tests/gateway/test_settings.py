"""docs/service.md lists every setting of the service."""

from __future__ import annotations

import pytest

from dagster_project.settings import ROOT
from gateway.settings import ServeSettings


@pytest.mark.parametrize("name", ServeSettings.model_fields)
def test_a_setting_is_documented(name: str) -> None:
    field = ServeSettings.model_fields[name]
    variable = field.validation_alias or f"PODLAKE_SERVE_{name.upper()}"
    assert f"| `{variable}` |" in (text := (ROOT / "docs" / "service.md").read_text())
    assert f"| {field.description} |" in text
