"""The arithmetic of capacity, with round numbers, and the tables in docs/capacity.md."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from bench.capacity import HOURS, Costs, costs_table, measured, need, table
from dagster_project.settings import ROOT

ROUND = Costs(
    episode_hours=0.5, gpu_speed=100, gpu_busy=0.5, decode_speed=100, cpu_s_per_episode=1, analysis_speed=50, audio_mb=50,
    copy_mb=10, waveform_mb=100, cached_hours=100, lake_mb=0.5, events_per_episode=10, event_kb=2, archived_share=1,
    puts_per_episode=20, gets_per_episode=30,
)  # fmt: skip


def test_every_need_follows_from_the_costs() -> None:
    found = need(12_000, ROUND, days=5)
    assert found.episodes == found.downloads == 24_000
    assert found.gpu_days == 10  # 12 000 h at 50 × real time are 240 h
    assert (found.gpus, found.days) == (2, 5)
    core_s = 12_000 * 36 + 12_000 * 72 + 24_000
    assert found.cores == -(-core_s // (5 * 86_400)) == 4
    assert (found.audio_tb, found.copies_tb, found.lake_tb) == (0.6, 0.12, 0.006)
    assert found.waveforms_tb == 0.02  # two caches of 100 hours
    assert found.downloads_per_s == pytest.approx(24_000 / 432_000)
    assert found.network_mbit_s == pytest.approx(12_000 * 400 / 432_000)
    assert (found.s3_writes, found.s3_reads) == (480_000, 720_000)
    assert (found.event_rows, found.database_gb) == (240_000, 0.48)


def test_few_hours_need_one_gpu_for_less_time() -> None:
    found = need(1_200, ROUND, days=30)
    assert (found.gpus, found.days) == (1, 1)


def test_the_work_is_done_within_the_days_and_scales() -> None:
    for hours in HOURS:
        found = need(hours, Costs())
        assert found.days <= 30
        assert found.gpus * found.days == pytest.approx(found.gpu_days)
    small, large = (need(hours, Costs()) for hours in HOURS[1:])
    assert large.gpu_days == pytest.approx(100 * small.gpu_days)
    faster = need(HOURS[2], replace(Costs(), gpu_speed=2 * Costs().gpu_speed))
    assert faster.gpu_days == pytest.approx(large.gpu_days / 2)


def test_the_document_has_these_tables() -> None:
    text = (ROOT / "docs" / "capacity.md").read_text()
    assert table([need(hours, Costs()) for hours in HOURS]) in text
    assert costs_table(Costs()) in text


def test_the_command_takes_other_assumptions() -> None:
    command = [sys.executable, "-m", "bench.capacity", "12000", "--gpu-speed", "1000", "--episode-hours", "0.5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "| hours | 12 000 |" in done.stdout
    assert "| episodes | 24 000 |" in done.stdout
    assert "| `gpu_speed` | 1000 |" in done.stdout


def test_what_is_measured_here_is_plausible() -> None:
    found = measured(Costs())
    assert 20 < found.decode_speed < 5_000
    assert 0.05 < found.lake_mb < 2
