"""Stages of feeds that gather what their episodes have landed: which version there is to read, and for which feeds.

Only open landings are compared. A landing that is sealed has been read before, except in a lake of an earlier version.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import lru_cache

from partitions.keys import feed_of
from pipeline.readiness import Commits
from resources.lake.commits import NO_VERSION, UNKNOWN, Commit
from resources.lake.graph import StageGraph, StageSpec
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import STAGE_RUNS

_OVERLAP = timedelta(hours=1)
"""A compaction changes which landings are open. Feeds whose open landings are older than this do not run again."""


def gathered_version(commits: Collection[Commit]) -> str:
    """Changes with the open landings of a feed."""
    if not commits:
        return NO_VERSION
    return hashlib.sha256("\n".join(sorted(commit.name for commit in commits)).encode()).hexdigest()[:10]


def by_feed(commits: Mapping[str, Commit]) -> dict[str, list[Commit]]:
    """Feed → the commits of its episodes."""
    found: dict[str, list[Commit]] = defaultdict(list)
    for key, commit in commits.items():
        found[feed_of(key)].append(commit)
    return found


def planning_graph(stage: StageSpec) -> StageGraph:
    """The stage with what it gathers as inputs, as if they were stages of the feed."""
    sources = [
        StageSpec(name=name, tables=(), partition_kind="feed", batch_size=1, version="") for name in stage.gathers
    ]
    own = StageSpec(
        name=stage.name, tables=stage.tables, inputs=stage.gathers, partition_kind="feed",
        batch_size=stage.batch_size, version=stage.version,
    )  # fmt: skip
    return StageGraph((*sources, own))


def gathered_commits(lake: Lake, stage: StageSpec, landed: Mapping[str, Commit], listed: Commits) -> Commits:
    """Gathered stage → feed → a commit that stands for the landings of its episodes, where they may be unread.

    `landed`: the stage's own commits, by feed.
    """
    found = {}
    for name in stage.gathers:
        open_commits = by_feed(listed.get(name, {}))
        unread: dict[str, Commit] = {}
        for feed_id, commits in open_commits.items():
            newest = max(commits, key=lambda commit: commit.stamp)
            own = landed.get(feed_id)
            if own is None or newest.landed_at > own.landed_at - _OVERLAP:
                unread[feed_id] = _standing_for(feed_id, name, newest, gathered_version(commits))
        for feed_id, commit in _sealed_feeds(lake, name).items():
            if feed_id not in landed:
                unread.setdefault(feed_id, commit)
        found[name] = unread
    return found


def _standing_for(feed_id: str, stage: str, newest: Commit, version: str) -> Commit:
    return Commit(feed_id, stage, f"{newest.stamp.split('-')[0]}-{version}-{UNKNOWN}-{NO_VERSION}")


def _sealed_feeds(lake: Lake, stage: str) -> Mapping[str, Commit]:
    """Feeds with sealed landings of the stage. The answer is kept until a compaction writes other files."""
    return _known_sealed_feeds(lake.home.uri, tuple(SealedFiles(lake.home, STAGE_RUNS).names()), stage)


@lru_cache(maxsize=2)
def _known_sealed_feeds(uri: str, files: tuple[str, ...], stage: str) -> Mapping[str, Commit]:
    feeds = SealedFiles(Home.at(uri), STAGE_RUNS).landed_feeds(stage) if files else ()
    long_ago = Commit("", stage, "20000101T000000000000")
    return {feed_id: _standing_for(feed_id, stage, long_ago, NO_VERSION) for feed_id in feeds}
