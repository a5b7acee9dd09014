"""`podlake report`: hours, languages, speakers, quality, failures and cost."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from dagster_project.commands.terminal import render
from pages.render import report_html
from pages.report import load_report
from resources.lake.home import Home
from resources.lake.warehouse import connect


def report(home: Home, feed_id: str | None, out: Path | None) -> str:
    """The report as text, which is also written as HTML to `out`. Raises PodlakeError for an unknown feed."""
    with connect(home) as connection:
        found = load_report(connection, feed_id)
    if out:
        out.write_text(report_html(found, made_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"), encoding="utf-8")
    tables = [f"{one.title}\n{render(one.columns, one.rows)}" for one in found.sections]
    return "\n\n".join([found.title, *tables])
