"""`podlake check`: the checks of the whole lake, without Dagster."""

from __future__ import annotations

from collections.abc import Iterator

from resources.lake.checks import land_results, run_checks
from resources.lake.lake import Lake
from resources.lake.tables.pipeline import CheckResultRow
from resources.lake.warehouse import connect


def check(lake: Lake) -> Iterator[tuple[str, bool]]:
    """A line for each check, and whether it found an error; lands the results when all have run."""
    results = []
    with connect(lake.home) as connection:
        for row in run_checks(connection):
            results.append(row)
            yield from _lines(row)
    land_results(lake, results, "podlake check")


def _lines(row: CheckResultRow) -> Iterator[tuple[str, bool]]:
    if not row.n_wrong:
        yield f"ok       {row.check_name}", False
        return
    word = "ERROR  " if row.is_error else "warning"
    yield f"{word}  {row.check_name}: {row.n_wrong} times not so: {row.description}", row.is_error
    for example in row.examples:
        yield f"           {example}", False
    if row.n_wrong > len(row.examples):
        yield f"           … and {row.n_wrong - len(row.examples)} more: sql/checks/{row.check_name}.sql", False
