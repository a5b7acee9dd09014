"""What so many hours of audio need: `python -m bench.capacity [--measure] [--gpu-speed 150] [--days 30] [HOURS …]`.

Computes GPUs, decoding cores, storage, requests, database rows and days from costs per hour of audio. The costs are those
of bench/RESULTS.md; `--measure` measures decoding and the size of the tables on this machine. The table in
docs/capacity.md is what this prints without arguments.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, get_type_hints

import pyarrow as pa

from bench.decode import FORMATS, best_s, encode
from bench.lake_rows import blank_rows
from resources.lake.home import Home
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import SEGMENTS, TURNS, UTTERANCES, WORD_SPEAKERS, WORDS, Table
from speech.decoding import decode_to_wav

HOURS = (10_000, 1_000_000, 100_000_000)
_ROWS_OF_AN_HOUR: dict[Table, int] = {SEGMENTS: 900, WORDS: 9_000, WORD_SPEAKERS: 9_000, TURNS: 450, UTTERANCES: 500}
_EPISODES_MEASURED = 40


@dataclass(frozen=True)
class Costs:
    """What an hour of audio, or an episode, costs."""

    episode_hours: Annotated[float, "length of an episode, hours (assumed)"] = 0.75
    gpu_speed: Annotated[
        float, "× real time of a GPU, diarizer and transcriber together (assumed: no GPU was measured)"
    ] = 150.0
    gpu_busy: Annotated[float, "busy share of the GPUs (python -m bench.simulate: 0.991)"] = 0.95
    decode_speed: Annotated[float, "× real time of a core that decodes MP3 (python -m bench.decode: 265)"] = 265.0
    cpu_s_per_episode: Annotated[
        float, "CPU seconds of the pipeline per episode, six stages (python -m bench.overlap: 0.67)"
    ] = 0.67
    analysis_speed: Annotated[float, "× real time of a core for hashes, loudness and utterances (assumed)"] = 60.0
    audio_mb: Annotated[float, "MB of audio as fetched, 128 kbit/s"] = 57.6
    copy_mb: Annotated[float, "MB of the Opus copy that PODLAKE_AUDIO_COPY=opus keeps"] = 11.0
    waveform_mb: Annotated[float, "MB of the 16 kHz waveform in the cache"] = 115.2
    cached_hours: Annotated[float, "hours of waveforms in the cache of each GPU's machine"] = 170.0
    lake_mb: Annotated[
        float, "MB of sealed tables: 900 segments, 9 000 words, 450 turns, 500 utterances (--measure)"
    ] = 0.24
    events_per_episode: Annotated[float, "events in Dagster's log: planned and materialized, eight stages"] = 16.0
    event_kb: Annotated[float, "kB of an event in PostgreSQL (docs/cluster.md: 3.4)"] = 3.4
    archived_share: Annotated[float, "share of the events that stays after the live window is archived"] = 1.0
    puts_per_episode: Annotated[
        float, "S3 writes per episode: a file for each table and each commit of eight stages, and the audio"
    ] = 20.0
    gets_per_episode: Annotated[
        float, "S3 reads per episode: inputs of stages, audio, and compaction (estimated: three for each write)"
    ] = 60.0


@dataclass(frozen=True)
class Need:
    """What so many hours need."""

    hours: float
    episodes: int
    gpus: int
    gpu_days: float
    days: float
    cores: int
    audio_tb: float
    copies_tb: float
    waveforms_tb: float
    lake_tb: float
    downloads: int
    downloads_per_s: float
    network_mbit_s: float
    s3_writes: int
    s3_reads: int
    event_rows: int
    database_gb: float


def need(hours: float, costs: Costs, *, days: float = 30.0) -> Need:
    """What has to be there so that the hours are done within the days; never less than one GPU."""
    episodes = math.ceil(hours / costs.episode_hours)
    gpu_days = hours / (costs.gpu_speed * costs.gpu_busy) / 24
    gpus = max(1, math.ceil(gpu_days / days))
    taken_days = gpu_days / gpus
    seconds = taken_days * 86_400
    core_s = 3600 * hours * (1 / costs.decode_speed + 1 / costs.analysis_speed) + episodes * costs.cpu_s_per_episode
    return Need(
        hours=hours,
        episodes=episodes,
        gpus=gpus,
        gpu_days=gpu_days,
        days=taken_days,
        cores=max(1, math.ceil(core_s / seconds)),
        audio_tb=hours * costs.audio_mb / 1e6,
        copies_tb=hours * costs.copy_mb / 1e6,
        waveforms_tb=min(hours, gpus * costs.cached_hours) * costs.waveform_mb / 1e6,
        lake_tb=hours * costs.lake_mb / 1e6,
        downloads=episodes,
        downloads_per_s=episodes / seconds,
        network_mbit_s=hours * costs.audio_mb * 8 / seconds,
        s3_writes=round(episodes * costs.puts_per_episode),
        s3_reads=round(episodes * costs.gets_per_episode),
        event_rows=round(episodes * costs.events_per_episode * costs.archived_share),
        database_gb=episodes * costs.events_per_episode * costs.archived_share * costs.event_kb / 1e6,
    )


def table(needs: Sequence[Need]) -> str:
    """A table in Markdown, a column for each number of hours."""
    rows = [
        ("episodes", [_number(one.episodes) for one in needs]),
        ("GPUs", [_number(one.gpus) for one in needs]),
        ("days", [f"{one.days:.1f}" for one in needs]),
        ("GPU days", [_number(one.gpu_days) for one in needs]),
        ("cores for decoding, measures and the pipeline", [_number(one.cores) for one in needs]),
        ("audio as fetched, TB", [_number(one.audio_tb) for one in needs]),
        ("or Opus copies, TB", [_number(one.copies_tb) for one in needs]),
        ("waveform caches, TB", [_number(one.waveforms_tb) for one in needs]),
        ("lake, sealed, TB", [_number(one.lake_tb) for one in needs]),
        ("downloads", [_number(one.downloads) for one in needs]),
        ("downloads per second", [_number(one.downloads_per_s) for one in needs]),
        ("network, Mbit/s", [_number(one.network_mbit_s) for one in needs]),
        ("S3 writes", [_number(one.s3_writes) for one in needs]),
        ("S3 reads", [_number(one.s3_reads) for one in needs]),
        ("rows of events", [_number(one.event_rows) for one in needs]),
        ("PostgreSQL, GB", [_number(one.database_gb) for one in needs]),
    ]
    head = "| hours | " + " | ".join(f"{one.hours:,.0f}".replace(",", " ") for one in needs) + " |"
    lines = [f"| {name} | {' | '.join(values)} |" for name, values in rows]
    return "\n".join([head, "|---" * (len(needs) + 1) + "|", *lines])


def costs_table(costs: Costs) -> str:
    """The costs with what they mean and where they come from."""
    notes = get_type_hints(Costs, include_extras=True)
    lines = [
        f"| `{each.name}` | {getattr(costs, each.name):g} | {notes[each.name].__metadata__[0]} |"
        for each in fields(costs)
    ]
    return "\n".join(["| cost | value | what it is |", "|---|---|---|", *lines])


def measured(costs: Costs) -> Costs:
    """With the speed of decoding and the size of the tables on this machine: about a minute."""
    with tempfile.TemporaryDirectory() as folder:
        return replace(costs, decode_speed=_decode_speed(Path(folder)), lake_mb=_lake_mb(Path(folder) / "home"))


def _decode_speed(folder: Path, minutes: float = 2.0) -> float:
    container, codec, bitrate_bps, options = FORMATS["MP3 128k CBR"]
    source, target = folder / "in", folder / "out.wav"
    encode(source, container, codec, bitrate_bps, options, minutes)
    return 60 * minutes / best_s(lambda: decode_to_wav(source, target))


def _lake_mb(home: Path) -> float:
    """Sealed bytes of an hour: words of a vocabulary of 20 000 in natural frequencies, times in order."""
    chance = random.Random(1)
    keys = [f"show-20260101-{n:08x}" for n in range(_EPISODES_MEASURED)]
    total = 0
    for rows_table, count in _ROWS_OF_AN_HOUR.items():
        files = SealedFiles(Home.at(str(home)), rows_table)
        files.commit(files.write(_hour(rows_table, key, count, chance) for key in keys))
        total += files.size()
    return total / len(keys) / 1e6


def _hour(rows_table: Table, key: str, count: int, chance: random.Random) -> pa.Table:
    step_ms = 3_600_000 // count
    starts = [n * step_ms + chance.randrange(step_ms // 2) for n in range(count)]
    columns: dict[str, pa.Array] = {"episode_id": pa.array([key] * count)}
    names = set(rows_table.schema.names)
    texts = {"word": 1, "text": 9_000 // count}
    for name in names:
        if name in texts:
            words = [" ".join(_word(chance) for _ in range(texts[name])) for _ in range(count)]
            columns[name] = pa.array(words)
        elif name.endswith("_idx"):
            columns[name] = pa.array(range(count))
        elif name == "start_ms":
            columns[name] = pa.array(starts)
        elif name == "end_ms":
            columns[name] = pa.array([start + chance.randrange(80, step_ms) for start in starts])
        elif name in ("confidence", "mean_confidence"):
            columns[name] = pa.array([chance.random() for _ in range(count)], pa.float32())
        elif name == "speaker":
            columns[name] = pa.array([f"S{chance.randrange(1, 4)}" for _ in range(count)])
    return blank_rows(rows_table, count, **columns)


def _word(chance: random.Random) -> str:
    rank = min(20_000, int(chance.paretovariate(0.9)))
    return f"{rank:x}w"


def _number(value: float) -> str:
    """Three digits that count, in groups of thousands."""
    if value and abs(value) < 100:
        return f"{value:.3g}"
    digits = max(0, len(str(int(abs(value)))) - 3)
    return f"{round(value, -digits):,.0f}".replace(",", " ")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("hours", nargs="*", type=float, default=HOURS)
    parser.add_argument("--measure", action="store_true", help="measure decoding and the size of tables here")
    parser.add_argument("--gpu-speed", type=float, help="× real time of a GPU, diarizer and transcriber together")
    parser.add_argument("--episode-hours", type=float)
    parser.add_argument("--days", type=float, default=30.0)
    chosen = parser.parse_args()
    given = {name: value for name in ("gpu_speed", "episode_hours") if (value := getattr(chosen, name))}
    costs = replace(measured(Costs()) if chosen.measure else Costs(), **given)
    print(table([need(hours, costs, days=chosen.days) for hours in chosen.hours]))
    print()
    print(costs_table(costs))


if __name__ == "__main__":
    main()
