"""What came out of a simulation, and which bars it missed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Report:
    """What came out."""

    complete: int = 0
    outdated: int = 0
    failed: int = 0
    unfinished: int = 0
    good: int = 0
    utilization: float = 0.0
    """Engine time over device time while there is enough work for all devices."""
    busy_days: float = 0.0
    window_mean: float = 0.0
    window_max: int = 0
    runs: int = 0
    mean_batch: float = 0.0
    ticks: int = 0
    plan_mean_ms: float = 0.0
    plan_max_ms: float = 0.0
    wait_hours: Mapping[str, float] = field(default_factory=dict)
    """Of new episodes, and of the newest one of each feed at the start: median, p99 and maximum over feeds."""
    compactions: int = 0
    compacted_mean: float = 0.0
    open_max: int = 0
    stalled_ticks: int = 0
    """Ticks at which nothing had run for a while although something was left and no retry was scheduled."""
    cpu_s: float = 0.0


def missed(report: Report) -> list[str]:
    """The bars that were missed."""
    bars = {
        "all good episodes are complete": report.complete >= report.good and not report.unfinished,
        "outdated ones are redone": report.outdated == 0,
        "devices are used at 0.95 while work remains": report.utilization >= 0.95,
        "no feed waits longer than 48 h": report.wait_hours["max"] <= 48,
        "work never stalls": report.stalled_ticks == 0,
        "it takes at most 10 CPU minutes": report.cpu_s <= 600,
    }
    return [bar for bar, is_met in bars.items() if not is_met]
