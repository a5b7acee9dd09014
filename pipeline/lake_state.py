"""What the planner knows about keys: commits and failures, mostly from file names, and facts of the catalogue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pyarrow import fs

from partitions.window import hours
from pipeline.readiness import Commits, Episode, FailedTry, Failures
from resources.lake.commits import Commit, all_open_commits, open_commits
from resources.lake.graph import StageGraph
from resources.lake.home import Home
from resources.lake.lake import OPEN, Lake
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import FAILURES, STAGE_RUNS
from resources.lake.warehouse import ask, connect
from speech.errors import AudioRemoved

_FACTS = """
select episode_id, duration_declared_ms, enclosure_length, language from lake.episodes
where episode_id in (select unnest($keys))
"""


@dataclass(frozen=True)
class LakeState:
    """The newest commits and the last failures of some keys."""

    commits: Commits
    failures: Failures

    @classmethod
    def read(cls, lake: Lake, graph: StageGraph, keys: Collection[str], listed: Commits | None = None) -> LakeState:
        """Opens no landing, except failures that it has not read before and what is sealed of these keys.

        `listed` are the open commits, if they have been listed already.
        """
        found = all_open_commits(lake.home) if listed is None else listed
        return cls(newest_commits(lake, graph.names, keys, found), _failures(lake, graph, keys))

    @classmethod
    def from_rows(cls, lake: Lake, graph: StageGraph, keys: Collection[str]) -> LakeState:
        """The same for keys of which most are sealed."""
        commits: dict[str, dict[str, Commit]] = {name: {} for name in graph.names}
        for commit in _landed(lake, graph.names, keys):
            commits[commit.stage][commit.key] = commit
        return cls(commits, _failures(lake, graph, keys))


def newest_commits(
    lake: Lake, stages: Sequence[str], keys: Collection[str], listed: Commits | None = None
) -> dict[str, dict[str, Commit]]:
    """Stage → key → its newest commit, open or sealed. Other keys are among the open ones.

    What is sealed is remembered until a compaction writes other files. `listed` are the open commits, if they have been
    listed already.
    """
    commits = {name: dict(open_commits(lake.home, name) if listed is None else listed.get(name, {})) for name in stages}
    incomplete = [key for key in keys if not all(key in landed for landed in commits.values())]
    for commit in _sealed_commits(lake, tuple(stages), incomplete):
        commits[commit.stage].setdefault(commit.key, commit)
    return commits


def _landed(lake: Lake, stages: Iterable[str], keys: Collection[str]) -> list[Commit]:
    return [commit for name in stages for commit in lake.current(name, list(keys)).values()]


def episode_facts(home: Home, keys: Collection[str]) -> Mapping[str, Episode]:
    """Length, size and language of the episodes that the catalogue lists, in the order of the keys."""
    known = _known_facts(home.uri)
    if missing := [key for key in keys if key not in known]:
        with connect(home) as connection:
            for key, duration_ms, length, language in ask(connection, _FACTS, {"keys": missing}):
                length_hours = hours(duration_ms)
                known[key] = Episode(length_hours, length or round(length_hours * Episode.bytes), language)
    return {key: known.get(key, Episode()) for key in keys}


@lru_cache(maxsize=2)
def _known_facts(uri: str) -> dict[str, Episode]:  # noqa: ARG001 - one dictionary for each home
    return {}


def _failures(lake: Lake, graph: StageGraph, keys: Collection[str]) -> Failures:
    wanted = set(keys)
    found: dict[str, dict[str, FailedTry]] = defaultdict(dict)
    selector = fs.FileSelector(lake.home.path("lake", FAILURES.name, OPEN), allow_not_found=True)
    for info in lake.home.filesystem.get_file_info(selector):
        key, _, stage = info.base_name.removesuffix(".parquet").partition(".")
        if key in wanted and stage in graph.names:
            failure = _read_failure(lake.home.uri, f"{key}.{stage}", info.mtime_ns)
            if failure:
                found[stage][key] = failure
    return found


@lru_cache(maxsize=100_000)
def _read_failure(uri: str, name: str, written_ns: int) -> FailedTry | None:  # noqa: ARG001 - one entry per content
    row = Lake(Home.at(uri)).last_failure(name)
    if row is None:  # removed since it was listed
        return None
    return FailedTry(row.last_at, row.next_retry_at, row.error_class == AudioRemoved.error_class)


def _sealed_commits(lake: Lake, stages: tuple[str, ...], keys: Iterable[str]) -> Iterable[Commit]:
    """Commits in sealed files. The answer is kept until a compaction writes other files."""
    files = tuple(SealedFiles(lake.home, STAGE_RUNS).names())
    if not files:
        return []
    known = _known_sealed(lake.home.uri, files, stages)
    keys = list(keys)
    if missing := [key for key in keys if key not in known]:
        found: dict[str, list[Commit]] = {key: [] for key in missing}
        for commit in _landed(lake, stages, missing):
            found[commit.key].append(commit)
        known.update(found)  # complete, as other threads read it
    return [commit for key in keys for commit in known[key]]


@lru_cache(maxsize=16)
def _known_sealed(uri: str, files: tuple[str, ...], stages: tuple[str, ...]) -> dict[str, list[Commit]]:  # noqa: ARG001
    """One dictionary for each."""
    return {}
