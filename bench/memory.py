"""How much memory an engine takes beyond its model, on an episode of two hours.

    python -m bench.memory --diarizer nemo:tests/nemo/sortformer_tiny.nemo
    python -m bench.memory --transcriber nemo:tests/nemo/parakeet_tdt_tiny.nemo --hours 5

Anonymous memory is what counts: pages of the memory-mapped waveform are the system's, to drop at will.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.engines import recordings_of
from speech.engines import registry
from speech.engines.protocols import EngineChoice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--diarizer", help="engine[:model]")
    parser.add_argument("--transcriber", help="engine[:model]")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        (short,) = recordings_of(Path(one), episodes=1, minutes=1)
        (long,) = recordings_of(Path(other), episodes=1, minutes=options.hours * 60)
        if options.diarizer:
            engine = registry.load_diarizer(EngineChoice.parse(options.diarizer), options.device)
            work = engine.diarize
        else:
            engine = registry.load_transcriber(EngineChoice.parse(options.transcriber), options.device)
            work = engine.transcribe
        list(work([short]))
        began = time.perf_counter()
        with _watched() as peak_mb:
            before_mb = _anonymous_mb()
            ((_, result),) = work([long])
        print(f"{options.hours:g} h in {time.perf_counter() - began:.0f} s: {type(result).__name__}, ", end="")
        print(f"{peak_mb[0] - before_mb:.0f} MB beyond {before_mb:.0f} MB")


@contextmanager
def _watched() -> Iterator[list[float]]:
    """The highest anonymous memory of this process while inside, in MB, looked at 20 times a second."""
    peak_mb = [_anonymous_mb()]
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(0.05):
            peak_mb[0] = max(peak_mb[0], _anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak_mb
    finally:
        finished.set()
        watcher.join()


def _anonymous_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
