"""`feeds`: land the subscriptions as a table."""

from datetime import UTC, datetime

import dagster as dg

from partitions.definitions import FEEDS, add_keys
from pipeline.asset_definition import table_metadata
from pipeline.events import CATALOGUE_VERSION
from resources.lake.catalogue import SINGLES, Catalogue
from resources.lake.lake import Lake
from resources.lake.tables.catalogue import SUBSCRIPTIONS, SubscriptionRow


@dg.asset(
    group_name="catalogue",
    kinds={"parquet"},
    required_resource_keys={"lake", "catalogue"},
    code_version="1",
    metadata=table_metadata((SUBSCRIPTIONS,)),
)
def feeds(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """The feeds that were added with `podlake add`, and the feed `singles` of audio that was added by URL."""
    catalogue: Catalogue = context.resources.catalogue
    lake: Lake = context.resources.lake
    rows = [
        SubscriptionRow(
            feed_id=feed.feed_id, url=feed.url, title=feed.title, language=feed.language, n_items=0,
            added_at=feed.added_at,
        )
        for feed in catalogue.subscriptions()
    ]  # fmt: skip
    if singles := catalogue.singles():
        first_at = min(single.added_at for single in singles)
        rows.append(
            SubscriptionRow(feed_id=SINGLES, url="", title="Added by hand", n_items=len(singles), added_at=first_at)
        )
    polled = [row.feed_id for row in rows]
    rows += [
        SubscriptionRow(feed_id=feed.feed_id, url="", title="Imported", n_items=feed.n_items, added_at=feed.added_at)
        for feed in catalogue.imported()
    ]
    lake.replace(SUBSCRIPTIONS, "all", SUBSCRIPTIONS.of(rows, run_id=context.run.run_id, landed_at=datetime.now(UTC)))
    new = add_keys(context.instance, FEEDS, polled)
    return dg.MaterializeResult(
        metadata={"dagster/row_count": len(rows), "new_feeds": len(new)},
        data_version=dg.DataVersion(CATALOGUE_VERSION),
    )
