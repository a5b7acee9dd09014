"""Seals copies of a lake, each in a process of its own that dies before its n-th change to the disk: 1st, 2nd, …

    python killed_sealings.py <lake to copy> <folder for the copies>

Prints how many changes a sealing makes that nobody kills.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pyarrow as pa

from resources.lake.home import Home
from resources.lake.lake import Lake
from tests.landings import seal_settled

CHANGES = {"os.rename", "os.remove", "os.link", "os.mkdir"}


def seal_until(home: Path, last: int) -> None:
    done = 0

    def count(event: str, args: tuple[object, ...]) -> None:
        nonlocal done
        if event in CHANGES or (event == "open" and ("w" in str(args[1]) or int(args[2]) & os.O_CREAT)):
            done += 1
            if done == last:
                os._exit(9)

    sys.addaudithook(count)
    seal_settled(Lake(Home.at(str(home))))
    os._exit(0)


def main(original: Path, copies: Path) -> None:
    pa.array([""]).to_pylist()  # pyarrow looks for pandas at its first array: once, not in every process
    status, last = 1, 0
    while status:
        last += 1
        copy = copies / str(last)
        shutil.copytree(original, copy)
        child = os.fork()
        if not child:
            seal_until(copy, last)
        status = os.waitpid(child, 0)[1]
    sys.stdout.write(f"{last - 1}\n")


main(Path(sys.argv[1]), Path(sys.argv[2]))
