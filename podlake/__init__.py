"""podlake in Python: `podlake.lake()` is a DuckDB connection to the tables.

import podlake
podlake.lake().sql("from transcript").df()      # pandas; .pl() for Polars, .to_arrow_table() for Arrow
podlake.export("huggingface", "my-set", profile="asr", split="98/1/1")

hits = podlake.search('"night train"', language="en")      # an Arrow table, which SQL reads by its name
podlake.lake().sql("from hits join episodes using (episode_id)").df()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import date

    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from resources.exports.dataset import Result


def lake(home: str | None = None) -> DuckDBPyConnection:
    """A read-only connection to the lake in `home`: a folder or an s3:// prefix. Default: the setting PODLAKE_HOME.

    Raises pydantic.ValidationError for a wrong setting.
    """
    from dagster_project.settings import Settings
    from resources.lake.home import Home
    from resources.lake.warehouse import connect

    return connect(Home.at(home or Settings().home))


def export(form: str, out: str, *, home: str | None = None, audio: str = "flac", **options: Any) -> Result:
    """Write a data set, as `podlake export` does. What `options` can be, `dagster_project.commands.export.choice` says.

    `print(podlake.summary(...))` tells what was written, and what was left out. Raises PodlakeError and ValueError.
    """
    from dagster_project.commands.export import choice, export_with_bar
    from dagster_project.settings import Settings

    settings = Settings(home=home) if home else Settings()
    return export_with_bar(settings, form, choice(**options), out, codec=audio)


def summary(result: Result) -> str:
    """What an export has written, and what it has left out."""
    from dagster_project.commands.export import nothing
    from dagster_project.commands.export import summary as written

    return written(result) if result.selection.n_utterances else nothing(result)


def search(
    text: str,
    *,
    feed: str | None = None,
    speaker: str | None = None,
    language: str | None = None,
    since: date | None = None,
    until: date | None = None,
    meaning: bool = False,
    limit: int = 100,
    home: str | None = None,
) -> pa.Table:
    """The turns that contain all words of `text`, or are near in meaning, best first, as an Arrow table.

    Raises ValueError if the query is not understood, or no model is configured for `meaning`.
    """
    from dagster_project.settings import Settings
    from resources.embeddings import load_embedder
    from resources.search import SearchIndex, SearchQuery, hits_table
    from resources.search_meaning import MeaningIndex

    settings = Settings(home=home) if home else Settings()
    folder = settings.cache_folder / "search"
    index: SearchIndex | MeaningIndex = SearchIndex(folder)
    if meaning:
        index = MeaningIndex(folder, load_embedder(settings.embeddings, settings.embeddings_key.get_secret_value()))
    with lake(settings.home) as connection:
        index.update(connection)
        query = SearchQuery(text, feed, speaker, language, since, until)
        return hits_table(index.search(connection, query, limit=limit))
