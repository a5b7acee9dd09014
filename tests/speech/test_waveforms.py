from __future__ import annotations

import multiprocessing
import os
import wave
from pathlib import Path

import numpy as np
import pytest

from speech.errors import NotAudio
from speech.signals import reset_signals
from speech.types import mapped_samples
from speech.waveforms import WaveformCache

AUDIO = Path(__file__).parents[1] / "audio"
WAV_BYTES = 64_000 * 2 + 44
"""Of `cbr.mp3` and `tone.opus`, decoded: four seconds."""


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_maps_samples_read_only_behind_any_chunk(tmp_path):
    samples = np.arange(-500, 500, dtype="<i2")
    path = tmp_path / "plain.wav"
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", ""))
        wav.writeframes(samples.tobytes())
    plain = path.read_bytes()
    listed = plain[:36] + b"LIST\x03\x00\x00\x00abc\x00" + plain[36:]
    (tmp_path / "listed.wav").write_bytes(listed[:4] + (len(listed) - 8).to_bytes(4, "little") + listed[8:])
    for name in ("plain.wav", "listed.wav"):
        mapped = mapped_samples(tmp_path / name)
        assert np.array_equal(mapped, samples)
        assert not mapped.flags.writeable


def test_refuses_to_map_another_kind_of_wav():
    with pytest.raises(ValueError, match=r"8000 Hz, int16, shape \(8000, 2\)"):
        mapped_samples(AUDIO / "stereo.wav")


def test_decodes_once_and_remembers_the_report(tmp_path):
    cache = WaveformCache(tmp_path, limit_bytes=10**9)
    wav, report = cache.get("aa", AUDIO / "cbr.mp3")
    assert (wav, report.duration_ms) == (tmp_path / "aa.wav", 4_000)
    assert files_in(tmp_path) == ["aa.json", "aa.wav"]
    again = WaveformCache(tmp_path, limit_bytes=10**9)
    assert again.get("aa", tmp_path / "the source is not needed any more.mp3") == (wav, report)


@pytest.mark.parametrize("missing", ["aa.wav", "aa.json"])
def test_makes_again_what_is_missing(tmp_path, missing):
    cache = WaveformCache(tmp_path, limit_bytes=10**9)
    first = cache.get("aa", AUDIO / "cbr.mp3")
    (tmp_path / missing).unlink()
    assert cache.get("aa", AUDIO / "cbr.mp3") == first
    assert files_in(tmp_path) == ["aa.json", "aa.wav"]


def test_makes_again_what_another_version_reported(tmp_path):
    cache = WaveformCache(tmp_path, limit_bytes=10**9)
    _, report = cache.get("aa", AUDIO / "cbr.mp3")
    (tmp_path / "aa.json").write_text('{"codec": "mp3", "a_field_of_old": 1}')
    assert cache.get("aa", AUDIO / "cbr.mp3")[1] == report


def truncate(wav: Path) -> None:
    os.truncate(wav, 1_000)


def zero_a_block(wav: Path) -> None:
    with wav.open("r+b") as file:
        file.seek(8_192)
        file.write(bytes(4_096))


def zero_the_header(wav: Path) -> None:
    with wav.open("r+b") as file:
        file.write(bytes(4_096))


@pytest.mark.parametrize("damage", [truncate, zero_a_block, zero_the_header])
@pytest.mark.parametrize("is_known", [False, True], ids=["new process", "same process"])
def test_decodes_again_instead_of_using_a_damaged_waveform(tmp_path, damage, is_known):
    cache = WaveformCache(tmp_path, limit_bytes=10**9)
    with cache.using("aa", AUDIO / "cbr.mp3") as (wav, report):
        intact = wav.read_bytes()
    damage(wav)
    if not is_known:
        cache = WaveformCache(tmp_path, limit_bytes=10**9)
    with cache.using("aa", AUDIO / "cbr.mp3") as (again, report_again):
        assert (again.read_bytes(), report_again) == (intact, report)
    assert files_in(tmp_path) == ["aa.json", "aa.wav"]


def test_evicts_the_least_recently_used(tmp_path):
    cache = WaveformCache(tmp_path, limit_bytes=2 * WAV_BYTES)
    for age_s, sha256 in ((300, "aa"), (200, "bb")):
        with cache.using(sha256, AUDIO / "cbr.mp3") as (wav, _):
            os.utime(wav, (wav.stat().st_atime - age_s, wav.stat().st_mtime))
    with cache.using("aa", AUDIO / "cbr.mp3"):
        pass  # used again: `bb` is the oldest now
    with cache.using("cc", AUDIO / "tone.opus"):
        assert files_in(tmp_path) == ["aa.json", "aa.wav", "cc.json", "cc.wav"]


def test_never_evicts_what_is_held(tmp_path):
    cache, other = (WaveformCache(tmp_path, limit_bytes=WAV_BYTES) for _ in range(2))
    held, _ = cache.get("aa", AUDIO / "cbr.mp3")
    other.get("bb", AUDIO / "tone.opus")
    assert held.exists()
    cache.release("aa")
    other.get("cc", AUDIO / "cbr.mp3")
    assert files_in(tmp_path) == ["bb.json", "bb.wav", "cc.json", "cc.wav"]


def test_a_map_outlives_its_file(tmp_path):
    cache = WaveformCache(tmp_path, limit_bytes=0)
    with cache.using("aa", AUDIO / "cbr.mp3") as (wav, report):
        samples = mapped_samples(wav)
    with cache.using("bb", AUDIO / "tone.opus"):
        assert not wav.exists()
    assert len(samples) == report.duration_ms * 16
    assert samples.std() > 0


def test_keeps_nothing_of_a_file_that_does_not_decode(tmp_path):
    cache = WaveformCache(tmp_path, limit_bytes=10**9)
    with pytest.raises(NotAudio), cache.using("aa", AUDIO / "page.mp3"):
        pass
    assert files_in(tmp_path) == []


def test_sweeps_what_a_killed_process_left(tmp_path):
    left = tmp_path / "aa.wav.1234.part"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    WaveformCache(tmp_path, limit_bytes=10**9).get("bb", AUDIO / "cbr.mp3")
    assert files_in(tmp_path) == ["bb.json", "bb.wav"]


def _get_often(folder: Path) -> list[tuple[int, str]]:
    cache = WaveformCache(folder, limit_bytes=WAV_BYTES)
    seen = []
    for turn in range(12):
        with cache.using("ab"[turn % 2], AUDIO / "stereo.wav") as (wav, report):
            seen.append((len(mapped_samples(wav)), report.pcm16k_sha256))
    return seen


def test_processes_share_one_folder(tmp_path):
    """Three processes make, use and evict the same two waveforms; nobody ever sees a torn or a missing one."""
    with multiprocessing.get_context("spawn").Pool(3, reset_signals) as pool:
        results = pool.map(_get_often, [tmp_path] * 3)
    assert {each for seen in results for each in seen} == {results[0][0]}
    assert results[0][0][0] == 16_000
    assert not list(tmp_path.glob("*.part"))
