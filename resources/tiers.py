"""Tiers of episodes: rules in YAML about the columns of `quality`. The default is profiles/tiers/default.yaml."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from resources.lake.tables.dataset import QUALITY, QualityRow
from resources.measure_rules import MeasureRule

DEFAULT = Path(__file__).resolve().parents[1] / "profiles" / "tiers" / "default.yaml"


@dataclass(frozen=True)
class TierRule(MeasureRule):
    """What a measure of an episode must be, so that it stays in a tier."""

    table = QUALITY

    def failing(self, row: QualityRow) -> str | None:
        """Why the rule does not hold for the episode, with the value and the limit; None if it holds."""
        value = getattr(row, self.measure)
        if value is None:
            return f"{self.reason}: {self.measure} is not known" if self.missing == "drop" else None
        if self.equals is not None and value is not self.equals:
            return f"{self.reason}: {self.measure} is {str(value).lower()}"
        if self.min is not None and value < self.min:
            return f"{self.reason}: {self.measure} {value:.4g} < {self.min:g}"
        if self.max is not None and value > self.max:
            return f"{self.reason}: {self.measure} {value:.4g} > {self.max:g}"
        return None


@dataclass(frozen=True)
class Tiers:
    """The tiers, best first, with their rules."""

    rules: tuple[tuple[str, tuple[TierRule, ...]], ...]

    def __post_init__(self) -> None:
        if not self.rules or self.rules[-1][1]:
            raise ValueError("The last tier must have no rules: every episode is in one.")

    @property
    def fingerprint(self) -> str:
        """Changes with the rules."""
        return hashlib.sha256(repr(self.rules).encode()).hexdigest()[:16]

    def of(self, row: QualityRow) -> tuple[str, tuple[str, ...]]:
        """The episode's tier, and why it is not in the tier above: empty for the best."""
        above: tuple[str, ...] = ()
        for name, rules in self.rules:
            reasons = tuple(reason for rule in rules if (reason := rule.failing(row)))
            if not reasons:
                return name, above
            above = reasons
        raise AssertionError("The last tier has no rules.")


_FILE = TypeAdapter(dict[str, tuple[TierRule, ...]])


def load_tiers(path: str = "") -> Tiers:
    """The tiers of a YAML file, by default podlake's. Raises ValueError for one that cannot be read."""
    import yaml

    try:
        named = _FILE.validate_python(yaml.safe_load((Path(path).expanduser() if path else DEFAULT).read_text()))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error
    return Tiers(tuple(named.items()))
