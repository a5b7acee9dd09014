"""A small version of the simulation: work never stalls, and all that is good is complete and up to date at the end."""

from __future__ import annotations

from bench.simulate import Simulation
from bench.simulation.episodes import Scenario
from bench.simulation.report import missed


def test_a_small_cluster_finishes_all_work_through_failures_and_an_engine_upgrade() -> None:
    report = Simulation(Scenario(episodes=4_000, feeds=40, devices=2, days=10, upgrade_day=3, window=300)).run()
    assert missed(report) == []
    assert (report.complete, report.failed, report.window_max) == (3_877, 123, 300)


def test_a_window_full_of_permanent_failures_lets_the_others_in() -> None:
    report = Simulation(Scenario(episodes=600, feeds=10, devices=1, days=8, window=20, permanent=0.8)).run()
    assert (report.unfinished, report.stalled_ticks) == (0, 0)
