"""`warehouse`: make the DuckDB file of views over the lake."""

import dagster as dg

from assets.stages import EPISODE_GRAPH
from resources.lake import warehouse as duckdb_file
from resources.lake.home import Home


@dg.asset(
    group_name="lake",
    kinds={"duckdb"},
    required_resource_keys={"home"},
    deps=EPISODE_GRAPH.terminal,
    code_version="1",
)
def warehouse(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """A DuckDB file with a view of each table and the views of sql/views. It contains no data."""
    home: Home = context.resources.home
    path = duckdb_file.build(home)
    with duckdb_file.connect(home) as connection:
        found = connection.execute(
            "select view_name from duckdb_views() where not internal and schema_name = 'main'"
        ).fetchall()
    names = sorted(name for (name,) in found)
    return dg.MaterializeResult(metadata={"dagster/uri": str(path), "views": dg.MetadataValue.md(", ".join(names))})
