"""Checks of the whole lake: queries whose rows are what is wrong. Each file of sql/checks is one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resources.lake.duckdb_files import retry_if_file_vanished
from resources.lake.tables import TABLES
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


def run_checks(connection: DuckDBPyConnection) -> Iterator[CheckResultRow]:
    """The result of each check, one after the other: a check reads whole columns."""
    for check in checks():
        found = retry_if_file_vanished(lambda: connection.execute(_counted(check.sql)).fetchall())  # noqa: B023
        n_wrong = found[0][2] if found else 0
        examples = tuple(f"{partition}: {detail}" for partition, detail, _ in found)
        yield CheckResultRow(
            check_name=check.name, asset=check.asset, description=check.description, is_error=check.is_error,
            n_wrong=n_wrong, examples=examples,
        )  # fmt: skip


def _counted(sql: str) -> str:
    return f"with wrong as ({sql}) select partition, detail, count(*) over () from wrong order by 1, 2 limit {EXAMPLES}"


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
