"""podlake in Python: `podlake.lake()` is a DuckDB connection to the tables.

import podlake
podlake.lake().sql("from transcript").df()      # pandas; .pl() for Polars, .to_arrow_table() for Arrow
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def lake(home: str | None = None) -> DuckDBPyConnection:
    """A read-only connection to the lake in `home`: a folder or an s3:// prefix. Default: the setting PODLAKE_HOME.

    Raises pydantic.ValidationError for a wrong setting.
    """
    from dagster_project.settings import Settings
    from resources.lake.home import Home
    from resources.lake.warehouse import connect

    return connect(Home.at(home or Settings().home))
