"""What reprocessing a whole sealed table costs, by the share of superseded rows at which a sealed file is rewritten.

python -m bench.reprocessing [episodes words]

Every episode lands again once, a twentieth of them at a time and scattered over all files.
"""

from __future__ import annotations

import sys
import tempfile
import time

import numpy as np
import pyarrow as pa

from bench.lake_rows import blank_rows
from resources.lake.compaction import supersede
from resources.lake.home import Home
from resources.lake.sealed_files import SealedFiles, Sizes
from resources.lake.tables import WORDS
from resources.lake.warehouse import connect

SHARES = (0.0, 0.1, 0.3, 0.5)
COMPACTIONS = 20


def main(n_episodes: int, n_words: int) -> None:
    print("share   written ÷ landed   CPU s   most stored ÷ current   count of words, ms (most)")
    for share in SHARES:
        with tempfile.TemporaryDirectory() as folder:
            home = Home.at(folder)
            sizes = Sizes(file_bytes=n_episodes * n_words // 10, row_group_rows=10 * n_words, superseded_share=share)
            print(f"{share:5.1f}   {_reprocess(SealedFiles(home, WORDS, sizes), n_episodes, n_words)}", flush=True)


def _reprocess(files: SealedFiles, n_episodes: int, n_words: int) -> str:
    keys = [f"feed-{n % 50:03}-20260101-{n:08x}" for n in range(n_episodes)]
    for part in np.array_split(np.array(keys, dtype=object), COMPACTIONS):
        supersede(files, [], (_words(key, n_words) for key in sorted(part)))
    current = files.size()
    files.remove_replaced()
    written, stored, asked_ms, started = 0, [], [], time.process_time()
    shuffled = np.random.default_rng(1).permutation(np.array(keys, dtype=object))
    with connect(files.home) as connection:
        for part in np.array_split(shuffled, COMPACTIONS):
            before = set(files.names())
            supersede(files, list(part), (_words(key, n_words) for key in sorted(part)))
            new = [path for path, name in zip(files.paths(), files.names(), strict=True) if name not in before]
            written += sum(files.home.filesystem.get_file_info(path).size for path in new)
            files.remove_replaced()
            stored.append(files.size())
            cpu_s = time.process_time()
            connection.execute("select count(*) from lake.words").fetchall()
            asked_ms.append(1000 * (time.process_time() - cpu_s))
    cpu_s = time.process_time() - started
    return f"{written / current:16.1f}   {cpu_s:5.1f}   {max(stored) / current:21.2f}   {max(asked_ms):10.0f}"


def _words(key: str, n_words: int) -> pa.Table:
    generator = np.random.default_rng(abs(hash(key)))
    return blank_rows(
        WORDS,
        n_words,
        episode_id=pa.repeat(key, n_words),
        word_idx=pa.array(range(n_words)),
        start_ms=pa.array(np.cumsum(generator.integers(100, 600, n_words))),
        confidence=pa.array(generator.random(n_words, dtype=np.float32)),
    )


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:3] or (2_000, 300)))
