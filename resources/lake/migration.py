"""Migration of a lake that an earlier version of podlake wrote.

Version 1 names an open file `<key>.parquet` and keeps all tries of a key at a stage in `stage_runs/open/<key>.<stage>.parquet`.
Each landing becomes a commit, as since version 2. A process that is killed leaves the rest to the next one.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pyarrow.parquet as pq

from resources.lake.commits import NO_VERSION, data_version, digest, engine_version, inputs_version, new_commit
from resources.lake.compaction import exclusive
from resources.lake.home import Home
from resources.lake.lake import OPEN, Lake
from resources.lake.sealed_files import MANIFEST, SEALED, SealedFile, SealedFiles
from resources.lake.tables import STAGE_RUNS, TABLES
from resources.lake.tables.pipeline import InputVersion, StageRunRow

log = logging.getLogger("podlake")

VERSION = 3
"""Version 3 lists superseded keys in the manifests of sealed files: earlier versions would show these rows."""
VERSION_FILE = ("lake", "version.json")
_INPUTS = {
    "hashes": ("audio",), "diarization": ("audio",), "transcript": ("audio",), "turns": ("diarization", "transcript"),
    "quality": ("hashes", "turns"),
}  # fmt: skip
"""The stages of version 1 and what they are made from. They were run in the order of `_ORDER`."""
_ORDER = ("episodes", "audio", "hashes", "diarization", "transcript", "turns", "quality")


def version_of(home: Home) -> int:
    """The version of the lake's format; the current one where there is no lake yet."""
    if home.exists(*VERSION_FILE):
        return int(json.loads(home.read(*VERSION_FILE))["version"])
    records = [name for name in home.names("lake", STAGE_RUNS.name, OPEN) if "@" not in name]
    sealed, manifests = (home.names("lake", STAGE_RUNS.name, folder) for folder in (SEALED, MANIFEST))
    return 1 if records or (sealed and not manifests) else VERSION


def migrate(home: Home) -> None:
    """Bring the lake to the current version. Raises `StorageError`, and `ValueError` for a lake of a later version.

    Processes of the earlier version must have ended.
    """
    version = version_of(home)
    if version == VERSION:
        return
    if version > VERSION:
        raise ValueError(
            f"The lake at {home.uri} has format {version}; this podlake reads up to {VERSION}. Upgrade podlake."
        )
    with exclusive(home):
        if version_of(home) == VERSION:  # another process has migrated it meanwhile
            return
        log.warning("The lake at %s has format %d. It is migrated to format %d.", home.uri, version, VERSION)
        if version == 1:
            _migrate_sealed(home)
            _migrate_open(home)
        write_version(home)
        log.warning("The lake is migrated.")


def write_version(home: Home) -> None:
    """Record that the lake has the current version."""
    with home.writing(*VERSION_FILE) as stream:
        stream.write(json.dumps({"version": VERSION}).encode())


def _migrate_sealed(home: Home) -> None:
    """Version 1 had no manifests: every sealed file counts."""
    for table in TABLES.values():
        files = SealedFiles(home, table)
        if table.is_sealable and not home.names("lake", table.name, MANIFEST):
            files.commit([SealedFile(name.removesuffix(".parquet")) for name in home.names("lake", table.name, SEALED)])


def _migrate_open(home: Home) -> None:
    names = [name for name in home.names("lake", STAGE_RUNS.name, OPEN) if name.count(".") == 2]
    by_stage: dict[str, list[str]] = {}
    for name in names:
        key, stage, _ = name.split(".")
        by_stage.setdefault(stage, []).append(key)
    for stage in sorted(by_stage, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER)):
        for count, key in enumerate(by_stage[stage], start=1):
            _migrate_key(home, stage, key)
            if count % 1000 == 0:
                log.warning("%s: %d of %d landings are migrated", stage, count, len(by_stage[stage]))
    for table in TABLES.values():
        for name in home.names("lake", table.name, OPEN) if table.is_sealable and table is not STAGE_RUNS else ():
            if "@" not in name:
                home.remove("lake", table.name, OPEN, name)


def _migrate_key(home: Home, stage: str, key: str) -> None:
    """Commit the last landing of the key; keep the records of its other tries."""
    name = f"{key}.{stage}.parquet"
    with home.filesystem.open_input_file(home.path("lake", STAGE_RUNS.name, OPEN, name)) as file:
        tries = STAGE_RUNS.rows_of(STAGE_RUNS.conform(pq.ParquetFile(file).read()))
    landed = next((row for row in reversed(tries) if row.outcome == "landed"), None)
    lake = Lake(home)
    for row in tries:
        if row is not landed:
            data = digest([f"{stage}.{row.run_id}"])
            attempt = new_commit(key, stage, data=data, inputs=NO_VERSION, engine=NO_VERSION, at=row.finished_at)
            lake.record_failed_try(replace(row, stamp=attempt.stamp, inputs=()))
    if landed:
        _commit(lake, landed)
    home.remove("lake", STAGE_RUNS.name, OPEN, name)


def _commit(lake: Lake, record: StageRunRow) -> None:
    stage, key, landing = record.stage, record.episode_id, []
    for table in (table for table in TABLES.values() if table.asset == stage and table.is_sealable):
        rows = lake.read_file(table, key)
        if rows is None:  # sealed, and only its record was left open
            rows = SealedFiles(lake.home, table).landings([key]).get(key, table.schema.empty_table())
        landing.append((table, rows))
    inputs = _inputs(lake, record)
    commit = new_commit(
        key,
        stage,
        data=data_version([rows.select(["audio_sha256"]) if stage == "audio" else rows for _, rows in landing]),
        inputs=inputs_version({one.stage: one.data_version for one in inputs}),
        engine=engine_version(record.engine_fingerprint, "1"),
        at=record.finished_at,
    )
    lake.write_rows(commit, landing)
    lake.commit(replace(record, stamp=commit.stamp, inputs=inputs))


def _inputs(lake: Lake, record: StageRunRow) -> tuple[InputVersion, ...]:
    """The data versions of the inputs. An input that landed later, as version 1 judged, makes the landing outdated."""
    found = []
    for name in _INPUTS.get(record.stage, ()):
        commit = lake.current(name, [record.episode_id]).get(record.episode_id)
        is_older = commit is not None and commit.landed_at <= record.finished_at
        found.append(InputVersion(name, commit.data_version if commit is not None and is_older else NO_VERSION))
    return tuple(found)
