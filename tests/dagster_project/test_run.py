"""The main job: from a feed to a quality row, through kill -9, without doing landed work again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
import dagster as dg
import numpy as np
import pyarrow.parquet as pq
import pytest

from assets.stages import STAGES
from dagster_project.backfills import request_backfill
from dagster_project.run import _report_lost_events, requested_elsewhere
from dagster_project.settings import Settings
from demo.serve import serving
from partitions.definitions import EPISODES, FEEDS, add_keys
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import TABLES
from resources.lake.warehouse import connect
from tests.instances import instance_for_test
from tests.landings import land_stage

ROOT = Path(__file__).parents[2]
SPEECH = ROOT / "demo" / "audio" / "the-sound-of-rain.flac"
ITEM = """<item><title>Part {n}</title><guid>part-{n}</guid><pubDate>Thu, 0{n} Jan 2026 08:00:00 GMT</pubDate>
<enclosure url="http://demo.invalid/{name}" length="1" type="audio/flac"/></item>"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A feed of three short episodes cut from the demo's, one that is no audio, and one that is not there."""
    folder = tmp_path / "site"
    folder.mkdir()
    with av.open(str(SPEECH)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    samples = np.concatenate(frames, axis=1)
    for n in (1, 2, 3):
        _write_flac(folder / f"{n}.flac", samples[:, (n - 1) * 8 * 16_000 : n * 8 * 16_000])
    (folder / "4.flac").write_text("<html>not found, but 200</html>")
    items = "".join(ITEM.format(n=n, name=f"{n}.flac") for n in range(1, 6))
    feed = f'<rss version="2.0"><channel><title>Parts</title><language>en</language>{items}</channel></rss>'
    (folder / "feed.xml").write_text(feed)
    return folder


def _write_flac(path: Path, samples: np.ndarray[Any, Any]) -> None:
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def _run(home: Path) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    environment |= {"PODLAKE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "dagster_project.cli", "run"]
    log = (home.parent / "run.log").open("ab")
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)


def _landed(home: Home) -> Counter[tuple[str, str]]:
    with connect(home) as lake:
        rows = lake.execute("select episode_id, stage from stage_runs where outcome = 'landed'").fetchall()
    return Counter((str(episode), str(stage)) for episode, stage in rows)


def _assert_every_file_is_whole(home: Path) -> None:
    for name, table in TABLES.items():
        for path in (home / "lake" / name / "open").glob("*.parquet"):
            assert pq.read_table(path).schema.equals(table.schema), path


def test_a_run_knows_what_a_backfill_will_do_too() -> None:
    with instance_for_test() as instance:
        add_keys(instance, EPISODES, ["a", "b", "c"])
        assert requested_elsewhere(instance, ["a", "b"]) == set()
        request_backfill(instance, Settings(), {"quality": ["b", "c"]}, "a test")
        assert requested_elsewhere(instance, ["a", "b"]) == {"b"}


def test_killed_again_and_again_it_ends_with_everything_landed_once(site: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    lake = Lake(Home.at(str(home)))
    chance = random.Random(7)
    with serving(site) as base:
        Catalogue(lake).subscribe([(f"{base}/feed.xml", "Parts")])
        before: Counter[tuple[str, str]] = Counter()
        for expected in ("hashes", "transcript"):
            process = _run(home)
            deadline = time.monotonic() + 240
            while process.poll() is None and time.monotonic() < deadline:
                if any(stage == expected for _, stage in _landed(lake.home)):
                    break
                time.sleep(0.1)
            time.sleep(chance.uniform(0, 0.3))
            with suppress(ProcessLookupError):  # it was faster than this test
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _assert_every_file_is_whole(home)
            now = _landed(lake.home)
            assert now >= before, "what has landed stays"
            before = now
        process = _run(home)
        assert process.wait(timeout=300) == 0, (tmp_path / "run.log").read_text()[-3000:]
        after = _landed(lake.home)
        episode_stages = (
            "audio",
            "hashes",
            "diarization",
            "transcript",
            "turns",
            "utterances",
            "publisher_transcript",
            "quality",
        )
        good = sorted({episode for episode, stage in after if stage == "quality"})
        assert len(good) == 3
        assert {after[key, stage] for key in good for stage in episode_stages} == {1}
        _assert_every_file_is_whole(home)
    with connect(lake.home) as warehouse:
        counts = warehouse.execute("select count(*), count(distinct (audio_sha256, word_idx)) from words").fetchone()
        failures = warehouse.execute("select stage, error_class from failures order by all").fetchall()
        per_word = warehouse.execute(
            "select count(*), count(distinct (audio_sha256, word_idx)) from spoken_words"
        ).fetchone()
    assert counts is not None
    assert counts[0] == counts[1] > 20
    assert per_word == counts
    assert failures == [
        ("audio", "http_not_found"), ("diarization", "not_audio"), ("hashes", "not_audio"), ("transcript", "not_audio")
    ]  # fmt: skip


def test_feeds_that_cannot_be_polled_are_told_at_the_end(tmp_path: Path) -> None:
    catalogue = Catalogue(Lake(Home.at(str(tmp_path / "home"))))
    catalogue.subscribe([(str(tmp_path / f"{n}.xml"), f"Show {n}") for n in range(12)])
    process = _run(tmp_path / "home")
    assert process.wait(timeout=200) == 1
    said = (tmp_path / "run.log").read_text()
    summary = said[said.index("12 feeds could not be polled:") :].splitlines()
    assert len(summary) == 13
    assert summary[1].startswith(f"  show-0: The RSS file {tmp_path}/0.xml cannot be read: ")
    assert summary[11:] == [
        "  and 2 more: podlake refresh polls and lists them all.",
        "Error: No feed could be polled, and no episode is due.",
    ]

    (tmp_path / "0.xml").write_text('<rss version="2.0"><channel><title>Show 0</title></channel></rss>')
    (tmp_path / "run.log").unlink()
    assert _run(tmp_path / "home").wait(timeout=200) == 0
    said = (tmp_path / "run.log").read_text()
    assert said[said.index("11 feeds could not be polled:") :].splitlines()[-1].startswith("  and 1 more:")


def test_a_second_landing_whose_event_was_lost_is_reported(tmp_path: Path) -> None:
    settings, key, asset = Settings(home=str(tmp_path)), "show-20260101-00000001", dg.AssetKey("hashes")
    lake, hashes = Lake(Home.at(settings.home)), STAGES["hashes"]
    with instance_for_test() as instance:
        add_keys(instance, EPISODES, [key])
        for hours, expected in ((2, 1), (-1, 2)):
            finished_at = datetime.now(UTC) - timedelta(hours=hours)
            row = {
                "run_id": f"{hours}",
                "outcome": "landed",
                "audio_sha256": f"{hours}" * 64,
                "finished_at": finished_at,
            }
            land_stage(lake, "audio", key, {}, **row)
            land_stage(lake, "hashes", key, {"hashes": [{"duration_ms": 1000}]}, **row)
            _report_lost_events(instance, lake, hashes, [key], "1")
            events = instance.fetch_materializations(dg.AssetRecordsFilter(asset, asset_partitions=[key]), limit=9)
            assert len(events.records) == expected


def test_a_poll_whose_event_was_lost_is_reported(tmp_path: Path) -> None:
    settings, asset = Settings(home=str(tmp_path)), dg.AssetKey("episodes")
    lake = Lake(Home.at(settings.home))
    with instance_for_test() as instance:
        add_keys(instance, FEEDS, ["show"])
        land_stage(lake, "episodes", "show", {"polls": [{"title": "Show"}]}, outcome="landed")
        for _ in range(2):
            _report_lost_events(instance, lake, STAGES["episodes"], ["show"], "1")
            events = instance.fetch_materializations(dg.AssetRecordsFilter(asset, asset_partitions=["show"]), limit=9)
            assert len(events.records) == 1
