"""Time and memory of `podlake add` for a list of 2 000 000 audio URLs: `python -m bench.bulk_import [LINES]`.

The bar is 120 s and 1 GB.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from dagster_project.commands.bulk_import import import_file
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake


def write_list(path: Path, n_lines: int) -> None:
    with path.open("w") as stream:
        for n in range(n_lines):
            line = {
                "url": f"https://media.example.org/show-{n % 50_000}/{n}.mp3?source=feed",
                "language": ("en", "de", "es-MX")[n % 3],
                "title": f"Episode {n}: about something",
                "guid": f"5f0c2a9e-{n:012x}",
                "date": f"20{10 + n % 15}-{1 + n % 12:02}-{1 + n % 28:02}T08:00:00Z",
            }
            stream.write(json.dumps(line) + "\n")


def main() -> None:
    n_lines = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    with tempfile.TemporaryDirectory(prefix="podlake-bench-") as folder:
        path = Path(folder) / "list.jsonl"
        write_list(path, n_lines)
        for attempt in ("first", "again, all duplicates"):
            started, cpu = time.monotonic(), time.process_time()
            done = import_file(Catalogue(Lake(Home.at(f"{folder}/home"))), str(path), None)
            seconds, cpu_s = time.monotonic() - started, time.process_time() - cpu
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{attempt}: {done.summary()}; {seconds:.0f} s, {cpu_s:.0f} CPU-s, peak {peak_mb:.0f} MB")


if __name__ == "__main__":
    main()
