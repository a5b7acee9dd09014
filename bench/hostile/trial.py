"""Runs the commands of podlake against hostile servers in a fresh home, and looks at what they leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.hostile.downloads import feed_of
from bench.hostile.exchanges import SECRETS
from bench.hostile.server import Case, answer, serving
from resources.lake.home import Home
from resources.lake.warehouse import connect

ROOT = Path(__file__).parents[2]
LONGEST_COMMAND_S = 3600
DOWNLOADS = "Downloads"
_USER, _PATH = "me:hunter2secret@", "x?token=tok3nInQuery"
_OUTCOMES = "select stage, error_class, count(*) from failures group by all order by all"
_BUGS = "select stage || ' ' || episode_id || ': ' || message from failures where error_class = 'bug' order by all"


@dataclass(frozen=True)
class Report:
    """What came of a trial. All lists are empty if nothing is wrong."""

    commands_s: Mapping[str, float]
    outcomes: tuple[tuple[str, str, int], ...]
    """Stage, class of the error, episodes or feeds."""
    not_asked: tuple[str, ...]
    """Cases that no request reached, which prove nothing."""
    longest_s: Mapping[str, float]
    """Case → its longest connection."""
    bugs: tuple[str, ...]
    """Failures of the class `bug`, and tracebacks of commands."""
    forbidden: tuple[str, ...]
    """Requests to a server that may not be asked."""
    leaks: tuple[str, ...]
    """Files and outputs that contain a part of a secret URL."""


def run_trial(folder: Path, feeds: Mapping[str, Case], downloads: Mapping[str, Case]) -> Report:
    """`podlake add`, `refresh` twice, `run`, `list` and `status`, in `folder`."""
    home = folder / "home"
    with ExitStack() as stack:
        files = stack.enter_context(serving(downloads, path=_PATH, user=_USER))
        listed = {"the list of downloads": answer(feed_of(files.urls))}
        site = stack.enter_context(serving({**feeds, **listed}, path=_PATH, user=_USER))
        urls = dict(site.urls)
        own = urls.pop("the list of downloads")
        lines = [{"url": url, "kind": "feed", "title": name} for name, url in urls.items()]
        (folder / "feeds.jsonl").write_text("\n".join(map(json.dumps, lines)))
        allowed = ",".join(f"127.1.0.0/16:{one.port}" for one in (site, files))
        commands = {
            "add the list of downloads": ["add", own, "--title", DOWNLOADS],
            "add every tenth feed": ["add", *list(urls.values())[::10]],
            "add a list": ["add", str(folder / "feeds.jsonl")],
            "refresh": ["refresh"],
            "refresh again": ["refresh"],
            "run": ["run", "--feed", DOWNLOADS.lower()],
            "list": ["list"],
            "status": ["status"],
        }
        took = {name: _podlake(folder, home, allowed, name, arguments) for name, arguments in commands.items()}
        with connect(Home.at(str(home))) as lake:
            outcomes = tuple(lake.execute(_OUTCOMES).fetchall())
            bugs = [text for (text,) in lake.execute(_BUGS).fetchall()]
        outputs = sorted(folder.glob("*.log"))
        bugs += [f"{path.name}: a traceback" for path in outputs if b"Traceback (most recent" in path.read_bytes()]
        return Report(
            took,
            outcomes,
            tuple(name for one in (site, files) for name in one.urls if name not in one.asked),
            {**site.longest_s, **files.longest_s},
            tuple(bugs),
            (*site.forbidden_requests, *files.forbidden_requests),
            tuple(str(path.relative_to(folder)) for path in [*outputs, *home.rglob("*")] if _leaks(path)),
        )


def _podlake(folder: Path, home: Path, allowed: str, name: str, arguments: list[str]) -> float:
    """Run a command. Returns its seconds."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("DAGSTER_", "PODLAKE_"))}
    environment |= {"PODLAKE_HOME": str(home), "PODLAKE_ALLOW_HOSTS": allowed, "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    with (folder / f"{name}.log").open("wb") as log:
        subprocess.run(
            [sys.executable, "-m", "dagster_project.cli", *arguments], cwd=folder, env=environment, stdout=log,
            stderr=log, timeout=LONGEST_COMMAND_S, check=False,
        )  # fmt: skip
    return time.monotonic() - started


def _leaks(path: Path) -> bool:
    return path.is_file() and any(secret.encode() in path.read_bytes() for secret in SECRETS)
