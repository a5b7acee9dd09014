"""Takes what is complete out of the window and seals it, again and again, until it is killed."""

import time
from datetime import timedelta

from dagster_project.instance import open_instance
from dagster_project.settings import Settings
from pipeline.live_window import archive
from resources.lake.compaction import seal, settled
from resources.lake.home import Home
from resources.lake.lake import Lake

AT_ONCE = timedelta(0)

settings = Settings()
lake = Lake(Home.at(settings.home))
with open_instance(settings) as instance:
    while True:
        archive(instance, settled(lake, AT_ONCE))
        list(seal(lake, older_than=AT_ONCE))
        time.sleep(0.2)
