"""Turns of a script as they are said."""

from __future__ import annotations

from pathlib import Path

from assets.studio.script import script
from pipeline.stage import Batch, Landing
from resources.lake.tables.studio import SpokenChange
from resources.studio.ledger import Asked, Ledger, Limits


def test_formulas_and_numbers_are_said_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/service.db")
    text = r"[S1] Let $x^2 = -4$ in 2024. [S2] No, $\foo{x}$ costs $5."
    key = ledger.admit(Asked("ann", text, "Algebra"), Limits(), lambda _: ()).podcast_id
    assert key is not None
    (landing,) = script.work(Batch((key,), {}), ledger)
    assert isinstance(landing, Landing)
    first, second = landing.rows["script_turns"]
    assert first.text == "Let $x^2 = -4$ in 2024."
    assert first.spoken_text == "Let x squared equals minus four in twenty twenty four."
    assert first.changes == (
        SpokenChange("$x^2 = -4$", "x squared equals minus four"), SpokenChange("2024", "twenty twenty four"),
    )  # fmt: skip
    assert first.problems is None
    assert second.spoken_text == "No, foo x costs five dollars."
    assert second.problems == (r"$\foo{x}$: The command \foo is unknown.",)
