"""`podlake export-catalogue`: the feeds and the audio as a list that `podlake add` reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from dagster_project.commands.import_lines import FIELDS
from partitions.credentials import HIDDEN
from partitions.keys import feed_of
from resources.lake.catalogue import Catalogue
from resources.lake.duckdb_files import retry_if_file_vanished
from resources.lake.tombstones import IMPORTED
from resources.lake.warehouse import ask, connect

_LISTED = f"""
select url, 'feed' as kind, language, title, null as guid, null as date, feed_id, 0 as part from subscribed
union all
select enclosure_url, 'audio', language_declared, title, guid, strftime(published_at, '%Y-%m-%dT%H:%M:%SZ'), episode_id, 1
from lake.episodes
where $all or feed_id = 'singles' or starts_with(feed_id, '{IMPORTED}-')
"""


_HIDDEN = f"select feed_id, url from ({_LISTED}) where contains(url, $hidden) order by part, feed_id"


@dataclass(frozen=True)
class Exported:
    """What a list has."""

    lines: int
    left_out: tuple[str, ...]
    """Feeds and episodes whose URLs contain credentials, which were not asked for or are not known any more."""


def export_catalogue(
    catalogue: Catalogue, path: Path, form: str, *, with_episodes: bool, with_credentials: bool = False
) -> Exported:
    """Write the list, and replace the file when it is complete.

    The audio of polled feeds is listed only with `with_episodes`: an import would add it beside the feed. A list
    `with_credentials` can be read only by the user; without them, the lines that need them are left out.
    """
    feeds = [(feed.url, feed.language, feed.title, feed.feed_id) for feed in catalogue.subscriptions()]
    schema = pa.schema([(name, pa.string()) for name in ("url", "language", "title", "feed_id")])
    subscribed = pa.table(
        [pa.array(list(column), pa.string()) for column in zip(*feeds, strict=True)] or [[]] * 4, schema
    )
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    # A column that is NULL everywhere stays in the list, but NULL fields are left out of JSON.
    options = (
        "format csv, header true, use_tmp_file false"
        if form == "csv"
        else "format csv, header false, quote '', escape '', delimiter '\x01', use_tmp_file false"
    )
    columns = ", ".join(FIELDS) if form == "csv" else "line"
    source = (
        f"select {', '.join(FIELDS)}, json_merge_patch('{{}}', json_object({_pairs()})) as line from (select listed.* replace "
        "(coalesce(revealed.url, listed.url) as url) from listed left join revealed using (feed_id)) "
        f"where not contains(url, '{HIDDEN}') order by part, feed_id"
    )
    try:
        with connect(catalogue.home) as connection:
            place = str(fresh).replace("'", "''")
            sql = f"copy (select {columns} from (with listed as ({_LISTED}) {source})) to '{place}' ({options})"
            connection.register("subscribed", subscribed)
            asked = {"all": with_episodes}
            hidden = ask(connection, _HIDDEN, {**asked, "hidden": HIDDEN})
            real = _revealed(catalogue, hidden) if with_credentials else {}
            keys, urls = pa.array(list(real), pa.string()), pa.array(list(real.values()), pa.string())
            connection.register("revealed", pa.table({"feed_id": keys, "url": urls}))
            fresh.touch(mode=0o600 if with_credentials else 0o666)
            ((count,),) = retry_if_file_vanished(lambda: connection.execute(sql, asked).fetchall())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return Exported(int(count), tuple(key for key, _ in hidden if key not in real))


def _revealed(catalogue: Catalogue, hidden: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Feed or episode → its URL with the credentials, of those that are known."""
    feeds = {feed.feed_id: feed for feed in catalogue.subscriptions()}
    secrets = {feed_id: catalogue.episode_secrets(feed_id).read() for feed_id in {feed_of(key) for key, _ in hidden}}
    real = {
        key: catalogue.address(feeds[key]) if key in feeds else secrets[feed_of(key)].get(f"{key} {url}", url)
        for key, url in hidden
    }
    return {key: url for key, url in real.items() if HIDDEN not in url}


def _pairs() -> str:
    return ", ".join(f"'{name}', {name}" for name in FIELDS)
