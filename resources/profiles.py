"""Quality profiles: rules in YAML that say which utterances a use keeps. They become the view `utterance_profiles`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from resources.lake.tables.dataset import UTTERANCES
from resources.measure_rules import MeasureRule
from speech.errors import PodlakeError

PROFILES = Path(__file__).resolve().parents[1] / "profiles"


@dataclass(frozen=True)
class Rule(MeasureRule):
    """What a measure of an utterance must be, so that it is not dropped."""

    table = UTTERANCES

    @property
    def drops_sql(self) -> str:
        """The condition that drops an utterance."""
        bounds = [f"{self.measure} < {self.min}"] if self.min is not None else []
        bounds += [f"{self.measure} > {self.max}"] if self.max is not None else []
        bounds += [f"{self.measure} <> {self.equals}"] if self.equals is not None else []
        return f"coalesce({' or '.join(bounds)}, {self.missing == 'drop'})"


@dataclass(frozen=True)
class Example:
    """A row of `utterances`, NULL but for these measures, and the measures that drop it."""

    row: Mapping[str, Any]
    drops: tuple[str, ...]


@dataclass(frozen=True)
class Profile:
    """The rules of one use."""

    description: str
    rules: tuple[Rule, ...]
    examples: tuple[Example, ...] = ()

    @property
    def drop_reasons_sql(self) -> str:
        """A list of the measures that drop a row."""
        cases = ", ".join(f"if({rule.drops_sql}, '{rule.measure}', null)" for rule in self.rules)
        return f"list_filter([{cases}], lambda reason: reason is not null)"


_PROFILE = TypeAdapter(Profile)


def load_profiles() -> dict[str, Profile]:
    """Name → profile. Raises PodlakeError with the file that cannot be read."""
    return {path.stem: _load(path) for path in sorted(PROFILES.glob("*.yaml"))}


def _load(path: Path) -> Profile:
    import yaml

    if not path.stem.replace("-", "").replace("_", "").isalnum():  # it stands in SQL
        raise PodlakeError(
            f"The profile {path} cannot be read: its name has other characters than letters, digits, _ and -."
        )
    try:
        return _PROFILE.validate_python(yaml.safe_load(path.read_text()))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise PodlakeError(f"The profile {path} cannot be read: {wrong}.") from error
    except (ValueError, yaml.YAMLError) as error:
        raise PodlakeError(f"The profile {path} cannot be read: {error}.") from error


def view_sql() -> str:
    """The view of every utterance under every profile."""
    return "create or replace view utterance_profiles as\n" + "\nunion all\n".join(_selects())


def _selects() -> Iterator[str]:
    for name, profile in load_profiles().items():
        yield (
            f"select episode_id, audio_sha256, utterance_idx, '{name}' as profile, end_ms - start_ms as duration_ms, "
            f"{profile.drop_reasons_sql} as drop_reasons, len(drop_reasons) = 0 as keep from utterances"
        )
