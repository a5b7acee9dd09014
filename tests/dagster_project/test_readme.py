"""The README's table of settings is the code's, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from dagster_project.settings import Settings

README = Path(__file__).parents[2] / "README.md"


def test_every_setting_stands_in_the_table_with_its_description() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \|[^|]*\| (.+) \|$", README.read_text(), flags=re.M)
    settings = {
        str(field.validation_alias or f"PODLAKE_{name.upper()}"): field.description
        for name, field in Settings.model_fields.items()
    }
    assert dict(rows) == settings


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
