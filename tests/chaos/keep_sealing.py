"""Takes what is complete out of the window and seals it, again and again, until it is killed."""

import time
from datetime import timedelta

from assets.window import archive
from dagster_project.instance import open_instance
from dagster_project.settings import Settings
from resources.home import Home
from resources.lake import Lake
from resources.sealing import seal, settled

AT_ONCE = timedelta(0)

settings = Settings()
lake = Lake(Home.at(settings.home))
with open_instance(settings) as instance:
    while True:
        archive(instance, settled(lake, AT_ONCE))
        list(seal(lake, older_than=AT_ONCE))
        time.sleep(0.2)
