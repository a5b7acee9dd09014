"""Materializes a stage of all complete episodes again: `reland.py STAGE`. A new materialization always does the work."""

import sys

from dagster_project.in_process import materialize_range
from dagster_project.instance import open_instance
from dagster_project.settings import Settings
from resources.lake.commits import open_commits
from resources.lake.home import Home

settings = Settings()
(stage,) = sys.argv[1:]
with open_instance(settings) as instance:
    landed = open_commits(Home.at(settings.home), "quality")
    if keys := [key for key in instance.get_dynamic_partitions("episodes") if key in landed]:
        materialize_range(instance, stage, keys)
