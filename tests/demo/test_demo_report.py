"""What the demo says of an episode that failed at several stages."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from assets.stages import EPISODE_GRAPH, STAGES
from demo.__main__ import EPISODES, FAILURES
from pipeline.records import Run
from pipeline.stage import Batch, Failure, Landing
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.warehouse import ask, connect
from speech.errors import NotFound
from tests.fetch import loopback
from tests.landings import land_outcome


def test_the_outcome_is_the_stage_that_failed_first(tmp_path: Path) -> None:
    lake, run = Lake(Home.at(str(tmp_path / "home"))), Run("run", "run", datetime.now(UTC), 1)
    catalogue = Catalogue(lake)
    catalogue.add_single("/nowhere/one.wav", "One", "en")
    (poll,) = STAGES["episodes"].work(Batch(("singles",), {}), catalogue, loopback())
    assert isinstance(poll, Landing)
    land_outcome(lake, STAGES["episodes"], poll, run)
    with connect(lake.home) as connection:
        ((key,),) = ask(connection, "select episode_id from episodes")
    for stage in ("transcript", "diarization", "audio", "quality"):
        land_outcome(lake, STAGES[stage], Failure(key, NotFound("gone")), run)
    asked = {"feed": "singles", "stages": list(EPISODE_GRAPH.names)}
    with connect(lake.home) as connection:
        ((*_, outcome),) = ask(connection, EPISODES, asked)
        ((title, stages, error_class, message),) = ask(connection, FAILURES, asked)
    assert outcome == "failed at audio"
    assert (title, error_class, message) == ("One", "http_not_found", "gone")
    assert stages == "audio, diarization, transcript, quality"
