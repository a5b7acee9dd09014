"""A stage costs one file and one line, and its table one definition: all else follows from the graph."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assets.dataset.utterances import rule_fingerprint
from assets.stages import EPISODE_GRAPH, STAGES
from pipeline.records import Run
from pipeline.stage import Cost, Landing
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES as CATALOGUE
from resources.tiers import load_tiers
from speech.utterances import UtteranceRule
from tests.landings import backlog, land, land_outcome, seal_settled

ROOT = Path(__file__).parents[2]
KEYS = ["show-20260101-00000001", "show-20260102-00000002"]

STAGE = '''
from pipeline.stage import Cost, Landing, Stage, each
from resources.lake.tables.speech import BREVITY, BrevityRow

@Stage(tables=(BREVITY,), ui_metadata=lambda _: {}, group="speech", version="1", inputs=("turns",), batch_size=7)
def brevity(batch):
    """Says whether an episode is short."""
    return each(batch.keys, lambda key: Landing(key, {"brevity": [BrevityRow(is_short=True)]}, Cost("a" * 64, "f" * 16)))
'''
LINE = '    "assets.speech.brevity",\n'
TABLE = """

@dataclass(frozen=True, slots=True, kw_only=True)
class BrevityRow(DerivedRow):
    is_short: Annotated[bool, "Short."]

BREVITY = Table("brevity", "brevity", ("episode_id",), BrevityRow)
"""

SCRIPT = """
import sys
from datetime import timedelta
import dagster as dg
from assets.stages import EPISODE_GRAPH, STAGES
from dagster_project.planning import Situation, plan_settings
from dagster_project.settings import Settings
from partitions.window import Window
from pipeline.asset_definition import as_asset
from pipeline.live_window import admit, finished, keys_to_seal
from pipeline.planner import batches_of
from pipeline.progress import EPISODE_STAGES, progress
from pipeline.run_keys import key_tags
from resources.lake.catalogue import Catalogue
from resources.lake.compaction import seal
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.commits import open_commits
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables.speech import BREVITY
from resources.lake.warehouse import ask, connect

lake, settings = Lake(Home.at(sys.argv[1])), Settings(home=sys.argv[1])
with dg.instance_for_test() as instance:
    print("admitted", *sorted(admit(instance, Catalogue(lake), Window(), EPISODE_GRAPH)))
    found = Situation.of_episodes(instance, lake)
    limits = plan_settings(settings)
    (batch,) = batches_of(found.readiness(limits))
    print("planned", batch.stage, *sorted(batch.keys), batch.reason)
    print("next", progress(lake, EPISODE_STAGES).state(batch.keys[0]))
    result = dg.materialize(
        [as_asset(STAGES["brevity"], batch_size=settings.batch_size(STAGES["brevity"]), code_version="1")],
        instance=instance, resources={"lake": lake}, tags=key_tags(batch.keys),
    )
    print("run", result.success, settings.batch_size(STAGES["brevity"]))
    print("state", progress(lake, EPISODE_STAGES).state(batch.keys[0]))
    with connect(lake.home) as connection:
        print("shown", *sorted({stages[-1] for (stages,) in ask(connection, "select stages from episode_overview")}))
    print("finished", *sorted(finished(instance, lake, EPISODE_GRAPH)))
    keys = keys_to_seal(instance, lake, EPISODE_GRAPH, timedelta(0))
    print("to seal", *sorted(keys))
    list(seal(lake, keys))
    print("open", *open_commits(lake.home, "brevity"), "rows", len(SealedFiles(lake.home, BREVITY).landings(list(keys))))
"""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Two complete episodes in sealed files, which no window holds."""
    lake = Lake(Home.at(str(tmp_path / "home")))
    land(lake, CATALOGUE, "show", [{"episode_id": key, "feed_id": "show"} for key in KEYS])
    rules = {"quality": load_tiers().fingerprint, "utterances": rule_fingerprint(UtteranceRule(), has_mos=True)}
    for key in KEYS:
        for stage in EPISODE_GRAPH.names:
            run = Run("run", "run", datetime.now(UTC), 1)
            fingerprint = rules.get(stage, "f" * 16)
            land_outcome(lake, STAGES[stage], Landing(key, {}, Cost("a" * 64, fingerprint)), run)
    seal_settled(lake)
    assert backlog(lake) == 0
    return lake


def test_a_stage_beside_quality_is_planned_run_shown_and_compacted(lake: Lake, tmp_path: Path) -> None:
    code = tmp_path / "code"
    for package in ("assets", "dagster_project", "pipeline", "resources", "partitions", "speech", "sql", "profiles"):
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
    (code / "assets" / "speech" / "brevity.py").write_text(STAGE)
    _insert(code / "assets" / "stages.py", LINE, before=")\n\n\ndef _declared")
    with (code / "resources" / "lake" / "tables" / "speech.py").open("a") as tables:
        tables.write(TABLE)
    environment = {**os.environ, "PYTHONPATH": str(code)}
    command = [sys.executable, "-c", SCRIPT, lake.home.root]
    done = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True, check=False)
    both = " ".join(KEYS)
    assert done.stdout.splitlines() == [
        f"admitted {both}",
        f"planned brevity {both} 2 missing",
        "next next: brevity",
        "run True 7",
        "state done",
        "shown brevity",
        f"finished {both}",
        f"to seal {both}",
        "open rows 2",
    ], done.stderr[-3000:]


def _insert(path: Path, text: str, *, before: str) -> None:
    source = path.read_text()
    assert source.count(before) == 1
    path.write_text(source.replace(before, text + before))
