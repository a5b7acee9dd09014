"""Every table of the lake. The module of a group defines the rows, key and asset of each of its tables."""

from resources.lake.tables import audio, catalogue, dataset, pipeline, speech
from resources.lake.tables.audio import ACQUISITIONS, HASHES
from resources.lake.tables.catalogue import EPISODES, POLLS, SUBSCRIPTIONS
from resources.lake.tables.dataset import UTTERANCES
from resources.lake.tables.pipeline import FAILURES, STAGE_RUNS
from resources.lake.tables.speech import QUALITY, SEGMENTS, SPEAKERS, TURNS, WORD_SPEAKERS, WORDS
from resources.lake.tables.table import Table

__all__ = [
    "ACQUISITIONS", "EPISODES", "FAILURES", "HASHES", "POLLS", "QUALITY", "SEGMENTS", "SPEAKERS", "STAGE_RUNS",
    "SUBSCRIPTIONS", "TABLES", "TURNS", "UTTERANCES", "WORDS", "WORD_SPEAKERS", "Table",
]  # fmt: skip

TABLES: dict[str, Table] = {
    table.name: table
    for group in (catalogue, audio, speech, dataset, pipeline)
    for table in vars(group).values()
    if isinstance(table, Table)
}
"""Name → table, in the order of the groups and of their definitions."""
