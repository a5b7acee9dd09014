"""Landings of other episodes with the same audio: what an engine has made of it once is not made again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.stage import Batch, Cost, Landing, Stage
from resources.lake.catalogue import Catalogue
from resources.lake.commits import engine_version
from resources.lake.lake import Lake
from resources.lake.tables.pipeline import StageRunRow
from resources.lake.warehouse import ask, connect

_SAME_AUDIO = """
with mine as (select unnest($keys) as episode_id, unnest($sha256) as audio_sha256),
decoded as (
    select mine.episode_id, other.audio_sha256
    from mine join lake.hashes as own using (episode_id, audio_sha256) join lake.hashes as other using (pcm16k_sha256)
)
select distinct same.episode_id, other.episode_id, other.audio_sha256
from (from mine union from decoded) as same join lake.acquisitions as other using (audio_sha256)
where other.episode_id <> same.episode_id order by all
"""


def same_audio_landings(
    stage: Stage, batch: Batch, catalogue: Catalogue, fingerprint_for: Callable[[str | None], str | None]
) -> dict[str, Landing]:
    """Episode of the batch → its landing, with the rows that the same engine has made of the same audio for another.

    The audio is the same if the bytes or the decoded samples are equal, and the language if both declare the same.
    An episode that has such rows already is not in it: a new materialization makes them again.
    """
    lake = catalogue.lake
    sha256 = {key: batch.audio_sha256(key) for key in batch.keys}
    with connect(lake.home) as connection:
        asked = {"keys": list(sha256), "sha256": list(sha256.values())}
        found = [(str(key), str(other), str(digest)) for key, other, digest in ask(connection, _SAME_AUDIO, asked)]
    if not found:
        return {}
    keys = sorted({key for row in found for key in row[:2]})
    runs, entries = lake.runs(stage.name, keys), catalogue.entries(keys)
    languages = {key: entries[key].language if key in entries else None for key in keys}

    def is_made(key: str, digest: str) -> bool:
        """Whether the episode's rows are those that the configured engine makes of this audio."""
        run, fingerprint = runs.get(key), fingerprint_for(languages[key])
        return (
            run is not None
            and run.audio_sha256 == digest
            and run.engine_fingerprint == fingerprint is not None
            and run.commit.engine_version == engine_version(fingerprint, stage.version)
        )

    landings: dict[str, Landing] = {}
    for key, other, digest in found:
        is_wanted = key not in landings and languages[key] == languages[other] and not is_made(key, sha256[key])
        if is_wanted and is_made(other, digest) and (landing := _landing(stage, lake, key, sha256[key], runs[other])):
            landings[key] = landing
    return landings


def _landing(stage: Stage, lake: Lake, key: str, audio_sha256: str, run: StageRunRow) -> Landing | None:
    """The rows of the run for another episode; None if another landing has replaced them meanwhile."""
    rows: dict[str, Iterable[object]] = {}
    for table in stage.tables:
        landed = lake.read_landing(table, run.commit)
        if landed is None:
            return None
        rows[table.name] = table.rows_of(landed)
    cost = Cost(
        audio_sha256=audio_sha256, engine_fingerprint=run.engine_fingerprint, engine=run.engine, model=run.model,
        speaker_capacity=run.speaker_capacity, speech_ms=run.speech_ms, dropped_words=run.dropped_words,
        spoken_languages=run.spoken_languages, spoken_language_absent_reason=run.spoken_language_absent_reason,
        reused_from=run.reused_from or run.episode_id, redone_from=run.redone_from,
    )  # fmt: skip
    return Landing(key, {name: list(some) for name, some in rows.items()}, cost)
