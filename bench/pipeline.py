"""The cost of the pipeline beside its engines: the same episodes through each engine alone, and through its stage.

    python -m bench.pipeline --diarizer nemo:tests/nemo/sortformer_tiny.nemo --transcriber nemo:tests/nemo/parakeet_tdt_tiny.nemo
    python -m bench.pipeline --device cuda:0 --diarizer nemo --transcriber nemo --episodes 8 --minutes 60

Alone, an engine is loaded and given waveforms. Its stage is a Dagster run: it loads the engine, decodes MP3s ahead of
it, lands every row and logs every event. The ratio of the two wall times is the cost of the pipeline.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import dagster as dg

from assets.catalogue.feeds import feeds
from bench.engines import recordings_of, write_mp3
from bench.timing import Measured, measured, table
from dagster_project.build_resources import build_resources
from dagster_project.in_process import QUIET
from dagster_project.settings import Settings
from dagster_project.stages import stage_assets
from pipeline.run_keys import key_tags
from resources.engines.local_host import load
from resources.engines.routing import Slot
from resources.lake.catalogue import SINGLES
from speech.engines.protocols import EngineChoice
from speech.types import SAMPLE_RATE_HZ, Recording

STAGES: dict[str, Slot] = {"diarization": "diarizer", "transcript": "transcriber"}


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder, dg.instance_for_test() as instance:
        recordings = recordings_of(Path(folder), options.episodes, options.minutes)
        rows = list(_rows(options, recordings, Path(folder), instance))
    print(table(rows))
    for alone, staged in zip(rows[::2], rows[1::2], strict=True):
        print(f"{staged.stage}: {staged.wall_s / alone.wall_s:.2f} × the engine alone")


def _rows(
    options: argparse.Namespace, recordings: Sequence[Recording], folder: Path, instance: dg.DagsterInstance
) -> Iterator[Measured]:
    """For each stage: its engine alone, then the stage."""
    settings = Settings(
        home=str(folder / "home"),
        diarizer=options.diarizer,
        transcriber=options.transcriber,
        gpus=options.device.partition(":")[2] or "none",
    )
    given = build_resources(settings)
    assets = [feeds, *stage_assets(settings, given["engines"], given["voices"])]

    def run(name: str, **partitions: object) -> None:
        made = dg.materialize(
            assets, selection=[name], instance=instance, resources=given, run_config=QUIET, **partitions
        )  # type: ignore[arg-type]
        assert made.success

    for recording in recordings:
        mp3 = recording.waveform_path.with_suffix(".mp3")
        write_mp3(mp3, recording.samples())
        given["catalogue"].add_single(str(mp3), None, "en")
    run("feeds")
    run("episodes", partition_key=SINGLES)
    keys = instance.get_dynamic_partitions("episodes")
    all_keys = key_tags(keys)
    run("audio", tags=all_keys)
    choices = {"diarization": given["engines"].diarizer, "transcript": given["engines"].transcriber_for("en")}
    audio_s = sum(len(recording.samples()) for recording in recordings) / SAMPLE_RATE_HZ
    for stage, slot in STAGES.items():
        _alone(slot, choices[stage], options.device, recordings[:1])  # so that the files are in the page cache
        yield measured(
            f"{slot}, alone",
            audio_s,
            lambda: _alone(slot, choices[stage], options.device, recordings),  # noqa: B023
        )
        yield measured(f"{stage}, a Dagster run", audio_s, lambda: run(stage, tags=all_keys))  # noqa: B023


def _alone(slot: Slot, choice: EngineChoice, device: str, recordings: Sequence[Recording]) -> None:
    with closing(load(slot, choice, device)) as engine:
        work = engine.diarize if slot == "diarizer" else engine.transcribe  # type: ignore[union-attr]
        for _, result in work(recordings):
            assert not isinstance(result, Exception), result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--diarizer", default="campplus", help="engine[:model], as in PODLAKE_DIARIZER")
    parser.add_argument("--transcriber", default="whisper", help="engine[:model], as in PODLAKE_TRANSCRIBER")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N")
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=3.0, help="length of every episode")
    return parser.parse_args()


if __name__ == "__main__":
    main()
