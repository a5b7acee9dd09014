"""`python -m ray_batch <address> <home> <journal>`: diarize the singles of a lake on a Ray cluster, as Dagster runs it."""

from __future__ import annotations

import sys
from pathlib import Path

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from assets.audio.audio import audio
from assets.catalogue.episodes import episodes
from assets.catalogue.feeds import feeds
from assets.speech.diarization import diarization
from dagster_project.build_resources import build_resources
from dagster_project.settings import Settings
from pipeline.asset_definition import as_asset
from pipeline.stage import Stage
from resources.engines.ray_host import RayHost
from resources.engines.routing import Engines
from resources.lake.catalogue import SINGLES
from speech.engines.protocols import EngineChoice


def materialize(home: Path, host: RayHost, choice: EngineChoice) -> bool:
    """Take all singles as far as `diarization`, in one batch; what has landed before is done again."""
    given = {**build_resources(Settings(home=str(home), cache=str(home))), "engines": Engines(choice, {}, host)}
    stages = [as_asset(one, batch_size=100, code_version="1") for one in _STAGES]
    with dg.DagsterInstance.ephemeral() as instance:

        def run(name: str, **partitions: object) -> bool:
            made = dg.materialize(
                [feeds, *stages], selection=[name], instance=instance, resources=given, raise_on_error=False,
                **partitions,
            )  # fmt: skip
            return made.success

        run("feeds")
        run("episodes", partition_key=SINGLES)
        keys = instance.get_dynamic_partitions("episodes")
        batch = {ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[-1]}
        return run("audio", tags=batch) and run("diarization", tags=batch)


_STAGES: tuple[Stage, ...] = (episodes, audio, diarization)


if __name__ == "__main__":
    address, home, journal = sys.argv[1:]
    host = RayHost(address, 1.0, home, f"{home}/node", 10**9)
    sys.exit(not materialize(Path(home), host, EngineChoice("toy", None, {"journal": journal, "meet": "2"})))
