"""Quality profiles: rules in YAML that say which utterances a use keeps. They become the view `utterance_profiles`.

Users add their own in the folder `profiles` of the home, so that all who read the home have the same view.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from resources.lake.home import Home
from resources.lake.tables.dataset import UTTERANCES
from resources.measure_rules import MeasureRule
from speech.errors import PodlakeError

PROFILES = Path(__file__).resolve().parents[1] / "profiles"
"""The packaged ones."""
FOLDER = "profiles"
"""Of the home: those of the user."""


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


def load_profile(home: Home, name: str) -> Profile:
    """A packaged profile, or one of the home. Raises PodlakeError if there is none, or its file cannot be read."""
    known = _files(home)
    if name not in known:
        raise PodlakeError(
            f"There is no profile {name}. Choose among: {', '.join(known)}; or write {home.path(FOLDER, f'{name}.yaml')}."
        )
    return _read(home, known[name])


def view_sql(home: Home) -> str:
    """The view of every utterance under every profile. A query of a profile that cannot be read fails and says why."""
    return "create or replace view utterance_profiles as\n" + "\nunion all\n".join(_selects(home))


def _files(home: Home) -> dict[str, str]:
    """Name → file. Those of the home replace packaged ones of the same name."""
    own = [home.path(FOLDER, name) for name in home.names(FOLDER) if name.endswith(".yaml")]
    return {PurePosixPath(path).stem: path for path in [*map(str, sorted(PROFILES.glob("*.yaml"))), *own]}


def _read(home: Home, path: str) -> Profile:
    import yaml

    name = PurePosixPath(path).stem
    if not name.replace("-", "").replace("_", "").isalnum():  # it stands in SQL
        raise PodlakeError(
            f"The profile {path} cannot be read: its name has other characters than letters, digits, _ and -."
        )
    is_own = path == home.path(FOLDER, f"{name}.yaml")
    try:
        content = home.read(FOLDER, f"{name}.yaml") if is_own else Path(path).read_bytes()
        return _PROFILE.validate_python(yaml.safe_load(content))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise PodlakeError(f"The profile {path} cannot be read: {wrong}.") from error
    except (ValueError, OSError, yaml.YAMLError) as error:
        raise PodlakeError(f"The profile {path} cannot be read: {error}.") from error


def _selects(home: Home) -> Iterator[str]:
    for name, path in _files(home).items():
        try:
            reasons, where = _read(home, path).drop_reasons_sql, ""
        except PodlakeError as error:
            reasons, where = "[]::varchar[]", f" where error({_quoted(str(error))})"
        yield (
            f"select episode_id, audio_sha256, utterance_idx, {_quoted(name)} as profile, end_ms - start_ms as "
            f"duration_ms, {reasons} as drop_reasons, len(drop_reasons) = 0 as keep from utterances{where}"
        )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
