"""A commit makes one landing of a stage visible. Its file name says which versions it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

VERSION_DIGITS = 10


@dataclass(frozen=True)
class Commit:
    """The commit of one key at one stage, parsed from a file name."""

    key: str
    stage: str
    stamp: str

    @property
    def landed_at(self) -> datetime:
        return datetime.strptime(self.stamp.split("-", 1)[0], "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)

    @property
    def data_version(self) -> str:
        return self.stamp.split("-")[1]

    @property
    def inputs_version(self) -> str:
        return self.stamp.split("-")[2]

    @property
    def engine_version(self) -> str:
        return self.stamp.split("-")[3]


def inputs_version(inputs: Mapping[str, str]) -> str:
    """The version of a set of inputs: stage → data version."""
    return _digest("\n".join(f"{stage} {version}" for stage, version in sorted(inputs.items())))


def engine_version(fingerprint: str | None, stage_version: str) -> str:
    """The version of the engine and of the stage's own rules; zeros without an engine."""
    return "0" * VERSION_DIGITS if fingerprint is None else _digest(f"{fingerprint}\n{stage_version}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:VERSION_DIGITS]
