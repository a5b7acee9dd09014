"""Polls all feeds, which admits their episodes to the live window."""

from dagster_project.in_process import materialize, materialize_range
from dagster_project.instance import open_instance
from dagster_project.settings import Settings

with open_instance(Settings()) as instance:
    materialize(instance, "feeds")
    materialize_range(instance, "episodes", instance.get_dynamic_partitions("feeds"))
