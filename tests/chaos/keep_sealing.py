"""Archives and compacts complete episodes again and again, until the process is killed."""

import time
from datetime import UTC, datetime

from assets.stages import EPISODE_GRAPH, FEED_GRAPH
from dagster_project.instance import open_instance
from dagster_project.settings import Settings
from pipeline.live_window import archive
from resources.lake.compaction import seal, settled
from resources.lake.home import Home
from resources.lake.lake import Lake

settings = Settings()
lake = Lake(Home.at(settings.home))
with open_instance(settings) as instance:
    while True:
        now = datetime.now(UTC)
        finished = settled(lake, EPISODE_GRAPH, now)
        archive(instance, finished)
        keys = finished | settled(lake, FEED_GRAPH, now)
        if keys:
            list(seal(lake, keys))
        time.sleep(0.2 if keys else 0.5)
