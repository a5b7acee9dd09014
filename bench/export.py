"""How fast data sets are written, and in how much memory: `python -m bench.export [minutes] [episodes]`.

A lake of synthetic speech-like sound is exported as FLAC and Opus in some formats, with the waveforms in the cache and
without (MP3 sources are decoded). Ratios are times real time, by wall clock on two cores and by CPU seconds of all
threads. The last lines export a quarter and all of it in processes of their own: memory must not grow.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

from resources.exports.dataset import export_dataset
from resources.exports.selection import Choice
from resources.fetch.audio_store import AudioStore
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import TABLES
from speech.waveforms import WaveformCache
from tests.landings import NOON, land

RATE_HZ = 44_100
BAR = 200
RUNS = (("webdataset", "flac"), ("huggingface", "flac"), ("jsonl", "flac"), ("webdataset", "opus"))


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "--memory":
        print(memory_mb(Path(sys.argv[2]), tuple(sys.argv[3:])))
    else:
        compare()


def compare() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    n_episodes = int(sys.argv[2]) if len(sys.argv) > 2 else 12
    with TemporaryDirectory() as folder:
        home = Path(folder, "home")
        keys = make_lake(home, minutes, n_episodes)
        hours = minutes * n_episodes / 60
        print(f"{n_episodes} MP3 episodes, {hours:.1f} h; load {os.getloadavg()[0]:.1f}\n", flush=True)
        print("| format | audio | waveforms | × real time, wall | × real time, CPU |\n|---|---|---|---|---|")
        cold = None
        for form, codec in RUNS:
            for state in ("decoded", "cached") if cold is None else ("cached",):
                wall_s, cpu_s = timed(home, form, codec)
                cold = cold or wall_s
                print(
                    f"| {form} | {codec} | {state} | {3600 * hours / wall_s:.0f} | {3600 * hours / cpu_s:.0f} |",
                    flush=True,
                )
                if (form, codec, state) == ("webdataset", "flac", "cached"):
                    bar = 3600 * hours / wall_s / BAR
        print(f"\nThe bar is {BAR}: FLAC from cached waveforms is {bar:.1f} times that.")
        quarter, whole = (
            subprocess.run(
                [sys.executable, "-m", "bench.export", "--memory", home, *some],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for some in (keys[: len(keys) // 4], ())
        )
        print(f"Peak memory: {quarter} MB for a quarter of the episodes, {whole} MB for all.")


def make_lake(home: Path, minutes: float, n_episodes: int) -> list[str]:
    """Episodes of one feed under CC BY, in utterances of 5 s."""
    lake = Lake(Home.at(str(home)))
    keys = [f"show-2026{1 + i // 28:02d}{1 + i % 28:02d}-{i:08x}" for i in range(n_episodes)]
    land(lake, TABLES["subscriptions"], "all", [{"feed_id": "show", "url": "https://show.test/rss"}])
    land(lake, TABLES["polls"], "show", [{"license": "cc-by-4.0"}])
    rows = [
        {"episode_id": key, "feed_id": "show", "guid": key, "enclosure_url": key, "published_at": NOON} for key in keys
    ]
    land(lake, TABLES["episodes"], "show", rows)
    for seed, key in enumerate(keys):
        fetched = home / "fetched.mp3"
        encode_mp3(fetched, minutes, seed)
        sha256 = hashlib.sha256(fetched.read_bytes()).hexdigest()
        uri = AudioStore(lake.home, home, 10**11).keep(fetched, sha256, "https://a.test/a.mp3", "audio/mpeg")
        of = {"episode_id": key, "audio_sha256": sha256}
        land(lake, TABLES["acquisitions"], key, [of | {"storage_uri": uri}])
        utterances = [
            of | {"utterance_idx": i, "speaker": "AB"[i % 2], "text": f"Sentence {i}.", "language": "en",
                  "start_ms": 5_000 * i, "end_ms": 5_000 * (i + 1)}
            for i in range(int(12 * minutes))
        ]  # fmt: skip
        land(lake, TABLES["utterances"], key, utterances)
    return keys


def encode_mp3(path: Path, minutes: float, seed: int) -> None:
    """Tones and noise whose level rises and falls like syllables: FLAC makes it about as small as speech."""
    random = np.random.default_rng(seed)
    sounds = [_second(random) for _ in range(20)]
    with av.open(str(path), "w", format="mp3") as target:
        stream = target.add_stream("libmp3lame", rate=RATE_HZ, layout="mono", bit_rate=96_000)
        for second in range(int(60 * minutes)):
            sound = sounds[second % len(sounds)]
            frame = av.AudioFrame.from_ndarray(sound[None, :], format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, second * RATE_HZ
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def _second(random: np.random.Generator) -> np.ndarray:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    pitch_hz = random.uniform(90, 250)
    tone = sum(np.sin(2 * np.pi * pitch_hz * k * time_s + k) / k for k in range(1, 20))
    level = np.clip(np.sin(2 * np.pi * random.uniform(2, 5) * time_s), 0, 1)
    sound: np.ndarray = (4000 * level * tone + random.normal(0, 30, RATE_HZ)).astype(np.int16)
    return sound


def timed(home: Path, form: str, codec: str) -> tuple[float, float]:
    """Wall and CPU seconds of one export."""
    out = home.parent / "out"
    started, cpu_started = time.perf_counter(), time.process_time()
    write(home, form, codec, out)
    took = time.perf_counter() - started, time.process_time() - cpu_started
    shutil.rmtree(out)
    return took


def memory_mb(home: Path, episodes: tuple[str, ...]) -> int:
    """The most memory that this process had, mapped pages of waveforms included."""
    out = home.parent / "out-memory"
    write(home, "huggingface", "flac", out, episodes)
    shutil.rmtree(out)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def write(home: Path, form: str, codec: str, out: Path, episodes: tuple[str, ...] = ()) -> None:
    lake = Lake(Home.at(str(home)))
    store, waveforms = AudioStore(lake.home, home, 10**11), WaveformCache(home / "waveforms", 10**11)
    export_dataset(lake, store, waveforms, form, Choice(episodes=episodes), str(out), codec=codec)


if __name__ == "__main__":
    main()
