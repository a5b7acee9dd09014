"""`podlake export-catalogue`: the feeds and the audio as a list that `podlake add` reads."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from dagster_project.commands.import_lines import FIELDS
from resources.lake.catalogue import Catalogue
from resources.lake.duckdb_files import retry_if_file_vanished
from resources.lake.tombstones import IMPORTED
from resources.lake.warehouse import connect

_LISTED = f"""
select url, 'feed' as kind, language, title, null as guid, null as date, feed_id, 0 as part from subscribed
union all
select enclosure_url, 'audio', language_declared, title, guid, strftime(published_at, '%Y-%m-%dT%H:%M:%SZ'), episode_id, 1
from lake.episodes
where $all or feed_id = 'singles' or starts_with(feed_id, '{IMPORTED}-')
"""


def export_catalogue(catalogue: Catalogue, path: Path, form: str, *, with_episodes: bool) -> int:
    """Write the list, and replace the file when it is complete. Returns the number of lines.

    The audio of polled feeds is listed only with `with_episodes`: an import would add it beside the feed.
    """
    feeds = [(feed.url, feed.language, feed.title, feed.feed_id) for feed in catalogue.subscriptions()]
    schema = pa.schema([(name, pa.string()) for name in ("url", "language", "title", "feed_id")])
    subscribed = pa.table(
        [pa.array(list(column), pa.string()) for column in zip(*feeds, strict=True)] or [[]] * 4, schema
    )
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    # A column that is NULL everywhere stays in the list, but NULL fields are left out of JSON.
    options = (
        "format csv, header true"
        if form == "csv"
        else "format csv, header false, quote '', escape '', delimiter '\x01'"
    )
    columns = ", ".join(FIELDS) if form == "csv" else "line"
    source = f"select {', '.join(FIELDS)}, json_merge_patch('{{}}', json_object({_pairs()})) as line from listed order by part, feed_id"
    try:
        with connect(catalogue.home) as connection:
            place = str(fresh).replace("'", "''")
            sql = f"copy (select {columns} from (with listed as ({_LISTED}) {source})) to '{place}' ({options})"
            connection.register("subscribed", subscribed)
            asked = {"all": with_episodes}
            ((count,),) = retry_if_file_vanished(lambda: connection.execute(sql, asked).fetchall())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return int(count)


def _pairs() -> str:
    return ", ".join(f"'{name}', {name}" for name in FIELDS)
