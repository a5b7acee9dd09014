"""The cost of a tick with nothing to request: `python -m bench.automation [keys…]`, by default 1 000 and 10 000.

Every episode of a full window has landed at every stage. Compares our sensor with Dagster's automation conditions
(`eager`) on the same stages. CPU seconds, best of 3.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from assets.stages import EPISODE_GRAPH, STAGES
from dagster_project.automation import tick as sensor_tick
from dagster_project.build_resources import build_resources
from dagster_project.flow_state import FlowState
from dagster_project.planning import engine_versions
from dagster_project.settings import Settings
from partitions.definitions import EPISODES, add_keys
from partitions.window import Window
from pipeline.records import Run
from pipeline.stage import Cost, Landing
from resources.engines.routing import Engines
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from speech.engines import registry
from tests.landings import land_outcome


def main() -> None:
    warnings.simplefilter("ignore", dg.BetaWarning)
    print(f"{'live keys':>10} {'sensor, s':>10} {'conditions, s':>14} {'ratio':>6}")
    for count in map(int, sys.argv[1:] or ("1000", "10000")):
        keys = [f"show-20260101-{n:08x}" for n in range(count)]
        with _instance(keys) as instance:
            sensor_s = _sensor(instance, keys)
            conditions_s = _conditions(instance)
        print(f"{count:10d} {sensor_s:10.2f} {conditions_s:14.2f} {conditions_s / sensor_s:5.0f}×")


@contextmanager
def _instance(keys: list[str]) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        add_keys(instance, EPISODES, keys)
        yield instance


def _sensor(instance: dg.DagsterInstance, keys: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        catalogue, settings = Catalogue(Lake(Home.at(folder))), Settings(home=folder)
        window, engines = Window(size=len(keys) + 1), build_resources(settings)["engines"]
        _land_everywhere(catalogue.lake, keys, engines)

        def tick() -> None:
            state = FlowState(len(keys), "", repr(engine_versions(engines, {})))
            after, batches = sensor_tick(instance, catalogue, window, settings, engines, state)
            assert (after.live_episodes, batches) == (len(keys), ())

        return _best_of_3(tick)


def _land_everywhere(lake: Lake, keys: list[str], engines: Engines) -> None:
    """One landing at each stage, and links to its commit for the other keys: a quiet tick opens no commit."""
    transcriber = registry.describe_transcriber(engines.transcriber_for("en")).fingerprint
    made_by = {"diarizer": engines.diarizer_spec().fingerprint, "transcriber": transcriber}
    for stage in map(STAGES.__getitem__, EPISODE_GRAPH.names):
        cost = Cost("a" * 64, made_by.get(stage.engine_slot or ""))
        land_outcome(lake, stage, Landing(keys[0], {}, cost), Run("run", "run", datetime.now(UTC), 1))
        (first,) = Path(lake.home.path("lake", "stage_runs", "open", stage.name)).iterdir()
        source = first
        for n, key in enumerate(keys[1:]):
            link = first.with_name(first.name.replace(keys[0], key))
            if n % 30_000 == 29_999:  # file systems limit the links to a file
                source = link
                source.write_bytes(first.read_bytes())
            else:
                os.link(source, link)


def _conditions(instance: dg.DagsterInstance) -> float:
    """The same stages as empty assets. Each is requested once; then there is nothing to request."""

    def bare(name: str, deps: tuple[str, ...]) -> dg.AssetsDefinition:
        @dg.asset(
            name=name, deps=list(deps), partitions_def=EPISODES, automation_condition=dg.AutomationCondition.eager()
        )
        def made() -> None: ...

        return made

    definitions = dg.Definitions([bare(stage.name, stage.inputs) for stage in EPISODE_GRAPH])
    cursor = None
    for _ in range(2):
        cursor = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor).cursor

    def tick() -> None:
        result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
        assert result.total_requested == 0

    return _best_of_3(tick)


def _best_of_3(tick: Callable[[], None]) -> float:
    def cpu_s() -> float:
        started = time.process_time()
        tick()
        return time.process_time() - started

    return min(cpu_s() for _ in range(3))


if __name__ == "__main__":
    main()
