"""Engines on a real Ray cluster of one node, with two fake GPUs and real processes that are killed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import wave
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray_toy_engine as toy

from resources.engines import progress
from resources.engines.ray_cluster import NAMESPACE, EngineName, connect
from resources.engines.ray_host import READ_AHEAD, RayHost
from resources.engines.routing import Audio, Done
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import SEGMENTS
from speech.engines import registry
from speech.engines.protocols import EngineChoice
from speech.errors import EngineCrashed, EngineUnavailable, StorageError
from tests.landings import open_keys

ROOT, HERE = Path(__file__).parents[3], Path(__file__).parent
DURATIONS_MS = [500, 520, 540, 560, 580, 600, 620, 640]


ON_A_CLUSTER = pytest.mark.ray


def test_an_actor_name_is_parsed_back() -> None:
    name = EngineName("diarizer", "0123456789abcdef", "01234567", 0.5, 3)
    assert str(name) == "diarizer-0123456789abcdef-01234567-0.5gpu-3"
    assert EngineName.parse(str(name)) == name
    assert EngineName.parse("another-actor") is None


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster of its own, ended by the ids of its processes."""
    pytest.importorskip("ray", reason="needs the extra `ray`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python_path = os.pathsep.join(map(str, [HERE / "ray_node", HERE, ROOT]))
    environment = {**os.environ, "PYTHONPATH": python_path, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        command = [
            str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--node-ip-address=127.0.0.1",
            f"--port={port}", "--num-gpus=2", "--num-cpus=2", "--include-dashboard=false", f"--temp-dir={folder}",
            "--object-store-memory=100000000",
        ]  # fmt: skip
        cluster = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            assert cluster.stdout
            output = ""
            while "Ray runtime started" not in output:
                line = cluster.stdout.readline()
                assert line, f"ray start ended: {output}"
                output += line
            yield f"127.0.0.1:{port}"
        finally:
            end(cluster)


def end(cluster: subprocess.Popen[str]) -> None:
    import ray

    ray.shutdown()
    family = psutil.Process(cluster.pid).children(recursive=True)
    cluster.terminate()
    cluster.wait()
    for process in family:
        with suppress(psutil.NoSuchProcess):  # ended with its parent
            process.kill()


@pytest.fixture
def host(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayHost]:
    """The host; its actors are gone afterwards."""
    import ray

    monkeypatch.setitem(registry.DIARIZERS, "toy", "ray_toy_engine")
    connect(address)
    yield RayHost(address, 1.0, str(tmp_path / "home"), str(tmp_path / "home" / "node"), 10**9)
    for name in actors():
        ray.kill(ray.get_actor(name, NAMESPACE))


def actors() -> list[str]:
    import ray

    return sorted(entry["name"] for entry in ray.util.list_named_actors(all_namespaces=True))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def audio(tmp_path: Path) -> list[Audio]:
    """Eight short tones of different lengths; an episode is called after its length."""
    return [
        Audio(f"e{duration_ms}", f"{duration_ms:064d}", tone(tmp_path, duration_ms), "en")
        for duration_ms in DURATIONS_MS
    ]


def tone(folder: Path, duration_ms: int) -> Path:
    path = folder / f"{duration_ms}.wav"
    samples = 8000 * np.sin(np.arange(16 * duration_ms) * 2 * np.pi * 440 / 16_000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def run(host: RayHost, choice: EngineChoice, audio: list[Audio]) -> list[Done]:
    return list(host.run("diarizer", choice, toy.describe(choice), audio))


def pids(journal: Path, event: str) -> list[str]:
    return [pid for kind, pid, *_ in toy.read(journal) if kind == event]


@ON_A_CLUSTER
def test_a_batch_is_shared_by_warm_actors_on_a_gpu_each_and_the_next_run_finds_them_loaded(
    host: RayHost, journal: Path, tmp_path: Path
) -> None:
    from ray_batch import materialize

    home = tmp_path / "home"
    lake = Lake(Home.at(str(home)))
    for duration_ms in DURATIONS_MS:
        Catalogue(lake).add_single(str(tone(tmp_path, duration_ms)), f"{duration_ms} ms", "en")
    choice = EngineChoice("toy", None, {"journal": str(journal), "meet": "2"})

    assert materialize(home, host, choice)

    keys = open_keys(lake, SEGMENTS)
    segments = [lake.read(SEGMENTS, key).to_pylist() for key in keys]
    assert sorted(row["end_ms"] for rows in segments for row in rows) == DURATIONS_MS
    costs = [lake.history("diarization", key).to_pylist()[-1] for key in keys]
    assert {row["device"] for row in costs} == {"cuda:0 Toy GPU 0", "cuda:0 Toy GPU 1"}
    assert {tuple(what) for did, _, *what in toy.read(journal) if did == "loaded"} == {("cuda:0", "0"), ("cuda:0", "1")}
    assert [int(name[-1]) for name in actors()] == [0, 1]
    assert all("-" + toy.describe(choice).fingerprint + "-" in name for name in actors())

    python_path = os.pathsep.join(map(str, [HERE / "ray_node", HERE, ROOT]))
    second = subprocess.run(
        [sys.executable, "-m", "ray_batch", host.address, str(home), str(journal)],
        env={**os.environ, "PYTHONPATH": python_path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert second.returncode == 0, second.stderr
    assert len(pids(journal, "loaded")) == 2
    assert len(pids(journal, "did")) == 16
    assert set(pids(journal, "did")) == set(pids(journal, "loaded"))


@ON_A_CLUSTER
def test_an_engine_that_is_loaded_ahead_is_warm_for_the_run(host: RayHost, journal: Path, audio: list[Audio]) -> None:
    choice = toy_choice(journal)
    host.preload("diarizer", choice, toy.describe(choice))
    (loaded,) = pids(journal, "loaded")
    assert {one.error for one in run(host, choice, audio)} == {None}
    assert pids(journal, "loaded")[0] == loaded
    assert len(set(pids(journal, "loaded"))) == len(pids(journal, "loaded"))  # none loads twice
    assert loaded in pids(journal, "did")


@ON_A_CLUSTER
def test_a_run_shows_how_far_the_engines_of_the_cluster_are(
    host: RayHost, journal: Path, audio: list[Audio], tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    choice = EngineChoice("toy", None, {"journal": str(journal), "hold": str(hold)})
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(run, host, choice, audio)
        deadline = time.monotonic() + 60
        while not (shown := [one for one in progress.at_work() if one.done_ms]) and time.monotonic() < deadline:
            time.sleep(0.1)
        hold.unlink()
        assert len(done.result()) == len(audio)
    lengths = {one.episode_id: int(one.episode_id[1:]) for one in shown}
    assert shown
    assert {(one.slot, one.audio_ms) for one in shown} == {("diarizer", ms) for ms in lengths.values()}
    assert [one.done_ms for one in shown] == [lengths[one.episode_id] // 2 for one in shown]
    assert progress.at_work() == []


@ON_A_CLUSTER
def test_a_killed_actor_loses_no_episode(host: RayHost, journal: Path, audio: list[Audio]) -> None:
    choice = EngineChoice("toy", None, {"journal": str(journal), "meet": "2", "kill_once": "540"})
    done = run(host, choice, audio)
    assert Counter(one.audio.episode_id for one in done) == Counter(one.episode_id for one in audio)
    assert [one.error for one in done] == [None] * 8
    assert len(pids(journal, "killed")) == 1
    assert len(pids(journal, "did")) == 8


@ON_A_CLUSTER
def test_a_batch_longer_than_the_read_ahead_is_done_to_its_end(
    host: RayHost, journal: Path, audio: list[Audio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.engines.ray_host.READ_AHEAD", 3)
    done = list(host.run("diarizer", toy_choice(journal), toy.describe(toy_choice(journal)), iter(audio)))
    assert Counter(one.audio.episode_id for one in done) == Counter(one.episode_id for one in audio)


@ON_A_CLUSTER
def test_an_episode_that_kills_every_actor_is_the_only_one_to_fail(
    host: RayHost, journal: Path, audio: list[Audio]
) -> None:
    choice = EngineChoice("toy", None, {"journal": str(journal), "kill_always": "600"})
    done = {one.audio.episode_id: one for one in run(host, choice, audio)}
    assert {name: type(one.error) for name, one in done.items() if one.error} == {"e600": EngineCrashed}
    assert sorted(done) == sorted(one.episode_id for one in audio)
    assert len(pids(journal, "killed")) == 3


@ON_A_CLUSTER
def test_an_engine_that_cannot_load_fails_the_step_and_leaves_no_actor(host: RayHost, audio: list[Audio]) -> None:
    choice = EngineChoice("toy", None, {"unavailable": "no weights"})
    with pytest.raises(EngineUnavailable, match=r"^no weights \(on the Ray node .+\)$"):
        run(host, choice, audio)
    wait_until_gone(choice)


@ON_A_CLUSTER
def test_idle_actors_of_another_engine_are_ended(host: RayHost, journal: Path, audio: list[Audio]) -> None:
    first, other = (EngineChoice("toy", revision, {"journal": str(journal)}) for revision in ("1", "2"))
    run(host, first, audio)
    done = run(host, other, audio)
    assert {one.spec.revision for one in done if one.spec} == {"2"}
    assert not set(pids(journal, "loaded")[:1]) & set(pids(journal, "did")[8:])


@ON_A_CLUSTER
def test_a_stopped_run_cancels_its_work_and_keeps_its_actors(
    host: RayHost, journal: Path, audio: list[Audio], tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    choice = EngineChoice("toy", None, {"journal": str(journal), "meet": "2", "hold": str(hold)})
    stopped = host.run("diarizer", choice, toy.describe(choice), audio)
    next(stopped)
    stopped.close()
    hold.unlink()
    assert len(run(host, choice, audio)) == 8
    assert len(pids(journal, "loaded")) == 2
    assert 9 <= len(pids(journal, "did")) <= 8 + 2 * 2  # of the stopped run's, what each actor had begun


@ON_A_CLUSTER
def test_half_a_gpu_each_puts_two_actors_on_a_gpu(host: RayHost, journal: Path, audio: list[Audio]) -> None:
    choice = EngineChoice("toy", None, {"journal": str(journal), "meet": "4"})
    run(replace(host, gpus_per_engine=0.5), choice, audio)
    assert Counter(gpu for did, _, *what in toy.read(journal) if did == "loaded" for gpu in what[1:]) == {
        "0": 2,
        "1": 2,
    }


@ON_A_CLUSTER
def test_without_gpus_there_is_an_actor_on_each_node(host: RayHost, journal: Path, audio: list[Audio]) -> None:
    done = run(replace(host, gpus_per_engine=0.0), toy_choice(journal), audio)
    assert {one.device for one in done} == {"cpu"}
    assert len(pids(journal, "loaded")) == 1


@ON_A_CLUSTER
def test_an_actor_without_work_exits(host: RayHost, journal: Path, audio: list[Audio]) -> None:
    choice = EngineChoice("toy", None, {"journal": str(journal)})
    run(replace(host, idle_s=0.5), choice, audio[:1])
    wait_until_gone(choice)
    assert [kind for kind, *_ in toy.read(journal)] == ["loaded", "began", "did", "closed"]


@ON_A_CLUSTER
def test_audio_that_the_node_cannot_reach_fails_alone(host: RayHost, journal: Path, audio: list[Audio]) -> None:
    lost = replace(audio[0], path=Path("/nowhere/audio/00/lost.mp3"))
    done = {one.audio.episode_id: one for one in run(host, toy_choice(journal), [lost, *audio[1:]])}
    assert {name: type(one.error) for name, one in done.items() if one.error} == {"e500": StorageError}
    assert "PODLAKE_HOME has to lie on a volume" in str(done["e500"].error)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "refused"),
        ("127.0.0.1:port", "'port'"),
        ("ray://127.0.0.1:10001", "has to be on a node"),
    ],
)
def test_a_cluster_that_cannot_be_joined_fails_the_run(address: str, why: str) -> None:
    ray = pytest.importorskip("ray", reason="needs the extra `ray`")
    ray.shutdown()  # of the tests above
    with pytest.raises(EngineUnavailable, match=f"No Ray cluster at '{address}' .+{why}"):
        connect(address)


def test_audio_is_read_only_as_far_as_the_limit() -> None:
    ray = pytest.importorskip("ray", reason="needs the extra `ray`")
    ray.shutdown()  # of the tests above
    episodes = (Audio(f"e{number}", f"{number:064d}", Path("/nowhere"), "en") for number in range(READ_AHEAD + 5))
    choice = EngineChoice("toy")
    with pytest.raises(EngineUnavailable, match="No Ray cluster"):
        next(RayHost("127.0.0.1:1", 1.0, "home", "cache", 1).run("diarizer", choice, toy.describe(choice), episodes))
    assert len(list(episodes)) == 5


def test_nothing_to_do_asks_for_no_cluster() -> None:
    choice = EngineChoice("toy")
    host = RayHost("127.0.0.1:1", 1.0, "home", "cache", 1)
    assert run(host, choice, []) == []


def toy_choice(journal: Path) -> EngineChoice:
    return EngineChoice("toy", None, {"journal": str(journal)})


def wait_until_gone(choice: EngineChoice) -> None:
    while any(toy.describe(choice).fingerprint in name for name in actors()):
        time.sleep(0.1)
