"""Checks of the whole lake: queries whose rows are what is wrong. Each file of sql/checks is one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from resources.lake.duckdb_files import retry_if_file_vanished
from resources.lake.lake import Lake
from resources.lake.tables import CHECK_RESULTS, TABLES
from resources.lake.tables.pipeline import CheckResultRow
from resources.lake.warehouse import SQL

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class Check:
    """A check of what an asset has landed."""

    name: str
    asset: str
    description: str
    is_error: bool
    """Whether later results are wrong where it fails; else it is a warning."""
    sql: str
    """A row, partition and detail, for each thing that is wrong."""


def checks() -> list[Check]:
    """Every check: that primary keys are unique, and the files of sql/checks."""
    return [*_unique_keys(), *map(_of_file, sorted((SQL / "checks").glob("*.sql")))]


def run_checks(
    connection: DuckDBPyConnection, chosen: Iterable[Check] | None = None, partitions: Sequence[str] | None = None
) -> Iterator[CheckResultRow]:
    """The result of each check, one after the other: a check reads whole columns.

    `partitions`: only these are checked.
    """
    for check in checks() if chosen is None else chosen:
        sql = _counted(check.sql, partitions)
        found = retry_if_file_vanished(lambda: connection.execute(sql).fetchall())  # noqa: B023
        n_wrong = found[0][2] if found else 0
        examples = tuple(f"{partition}: {detail}" for partition, detail, _ in found)
        yield CheckResultRow(
            check_name=check.name, asset=check.asset, description=check.description, is_error=check.is_error,
            n_wrong=n_wrong, examples=examples,
        )  # fmt: skip


def land_results(lake: Lake, rows: Sequence[CheckResultRow], run_id: str) -> None:
    """Put the results into `check_results`, beside those of other assets."""
    assets = {row.asset for row in rows}
    found = lake.read_file(CHECK_RESULTS, "all")
    known = {check.name for check in checks()}
    others = [] if found is None else CHECK_RESULTS.rows_of(found)
    kept = [row for row in others if row.asset not in assets and row.check_name in known]
    made = CHECK_RESULTS.rows_of(CHECK_RESULTS.of(rows, run_id=run_id, landed_at=datetime.now(UTC)))
    lake.replace(CHECK_RESULTS, "all", CHECK_RESULTS.of([*kept, *made]))


def elsewhere(lake: Lake, check: str, partitions: Collection[str]) -> CheckResultRow | None:
    """The last result of the check for the whole lake, if it failed for other partitions than these."""
    found = lake.read_file(CHECK_RESULTS, "all")
    for row in [] if found is None else CHECK_RESULTS.rows_of(found):
        other = [one for one in row.examples if one.split(": ")[0] not in partitions]
        if row.check_name == check and (other or row.n_wrong > len(row.examples)):
            return row
    return None


def _counted(sql: str, partitions: Sequence[str] | None) -> str:
    chosen = "true"
    if partitions is not None:
        # A list of constants reaches the files: DuckDB rules them out by name.
        names = ", ".join("'" + key.replace("'", "''") + "'" for key in partitions)
        chosen = f"partition in ({names})" if names else "false"
    return (
        f"with wrong as ({sql}) select partition, detail, count(*) over () from wrong where {chosen} "
        f"order by 1, 2 limit {EXAMPLES}"
    )


def _of_file(path: Path) -> Check:
    first, *rest = path.read_text().splitlines()
    said = dict(line.removeprefix("-- ").split(": ", 1) for line in rest[:2])
    return Check(path.stem, said["asset"], first.removeprefix("-- "), said["severity"] == "error", "\n".join(rest[2:]))


def _unique_keys() -> Iterator[Check]:
    by_asset: dict[str, list[str]] = defaultdict(list)
    for table in TABLES.values():
        if table.landing and " " not in table.asset:
            keys = ", ".join(table.key)
            by_asset[table.asset].append(
                f"select any_value({table.landing[0]}) as partition, "
                f"format('{{}} rows of {table.name} with one key', count(*)) as detail "
                f"from lake.{table.name} group by {keys} having count(*) > 1"
            )
    for asset, queries in by_asset.items():
        yield Check(
            f"unique_keys_of_{asset}", asset, "Primary keys are unique.", is_error=True, sql=" union all ".join(queries)
        )
