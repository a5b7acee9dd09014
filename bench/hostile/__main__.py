"""Runs podlake against hostile feeds and downloads: `python -m bench.hostile [--quick]`.

`--quick` leaves out the servers that never end, of which each costs minutes. Exits with 1 if anything is wrong.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench.hostile.downloads import quick_downloads, slow_downloads
from bench.hostile.feeds import quick_feeds, slow_feeds
from bench.hostile.trial import run_trial

LONGEST_CONNECTION_S = 120


def main() -> int:
    is_quick = "--quick" in sys.argv
    feeds = quick_feeds() | ({} if is_quick else slow_feeds())
    downloads = quick_downloads() | ({} if is_quick else slow_downloads())
    with tempfile.TemporaryDirectory(prefix="podlake-hostile-") as folder:
        report = run_trial(Path(folder), feeds, downloads)
    print(f"{len(feeds)} feeds, {len(downloads)} downloads")
    for name, took_s in report.commands_s.items():
        print(f"podlake {name}: {took_s:.0f} s")
    for stage, error_class, count in report.outcomes:
        print(f"{stage} {error_class}: {count}")
    hangs = [f"{name}: {took_s:.0f} s" for name, took_s in report.longest_s.items() if took_s > LONGEST_CONNECTION_S]
    print(f"longest connection: {max(report.longest_s.values()):.0f} s")
    wrong = {
        "not asked": report.not_asked, "hangs": hangs, "bugs": report.bugs, "forbidden": report.forbidden,
        "leaks": report.leaks,
    }  # fmt: skip
    for what, found in wrong.items():
        print(f"{what}: {len(found)}", *found, sep="\n  ")
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
