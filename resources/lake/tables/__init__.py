"""Every table of the lake. The module of a group defines the rows, key and asset of each of its tables."""

from resources.lake.tables import (
    audio,
    catalogue,
    dataset,
    duplicates,
    lessons,
    pipeline,
    publisher,
    speech,
    studio,
    videos,
    voices,
)
from resources.lake.tables.audio import ACQUISITIONS, HASHES, REMOVED_AUDIO
from resources.lake.tables.catalogue import EPISODES, POLLS, SUBSCRIPTIONS, UNCHANGED_POLLS
from resources.lake.tables.dataset import QUALITY, UTTERANCES
from resources.lake.tables.duplicates import REPEATED_AUDIO, SAME_AUDIO
from resources.lake.tables.pipeline import CHECK_RESULTS, FAILURES, STAGE_RUNS
from resources.lake.tables.publisher import CHAPTERS, PUBLISHER_SEGMENTS
from resources.lake.tables.speech import SEGMENTS, SPEAKERS, TURNS, WORD_SPEAKERS, WORDS
from resources.lake.tables.studio import (
    PODCAST_AUDIO,
    PODCAST_HEARINGS,
    PODCAST_TRANSCRIPTS,
    PODCAST_TURNS,
    SCRIPT_TURNS,
    SCRIPTS,
    SPEECH_LINES,
    STREAM_CLUSTERS,
    STREAM_PACKAGES,
)
from resources.lake.tables.table import Table
from resources.lake.tables.videos import CLONED_SPEECH, REFERENCE_AUDIO, SPEECH_TEXTS, TALKING_HEAD_VIDEOS
from resources.lake.tables.voices import SPEAKER_LINKS, VOICES

__all__ = [
    "ACQUISITIONS", "CHAPTERS", "CHECK_RESULTS", "CLONED_SPEECH", "EPISODES", "FAILURES", "HASHES", "PODCAST_AUDIO",
    "PODCAST_HEARINGS", "PODCAST_TRANSCRIPTS", "PODCAST_TURNS", "POLLS", "PUBLISHER_SEGMENTS",
    "QUALITY", "REFERENCE_AUDIO", "REMOVED_AUDIO", "REPEATED_AUDIO", "SAME_AUDIO", "SCRIPTS", "SCRIPT_TURNS", "SEGMENTS", "SPEAKERS", "SPEAKER_LINKS", "SPEECH_LINES", "SPEECH_TEXTS", "STAGE_RUNS", "STREAM_CLUSTERS", "STREAM_PACKAGES", "SUBSCRIPTIONS", "TABLES", "TALKING_HEAD_VIDEOS",
    "TURNS", "UNCHANGED_POLLS", "UTTERANCES", "VOICES", "WORDS",
    "WORD_SPEAKERS", "Table",
]  # fmt: skip

TABLES: dict[str, Table] = {
    table.name: table
    for group in (catalogue, audio, speech, publisher, dataset, voices, duplicates, studio, lessons, videos, pipeline)
    for table in vars(group).values()
    if isinstance(table, Table)
}
"""Name → table, in the order of the groups and of their definitions."""
