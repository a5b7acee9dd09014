"""`podlake profile check`: what a profile keeps, and what each of its rules costs."""

from __future__ import annotations

from dagster_project.commands.terminal import render
from resources.lake.home import Home
from resources.lake.warehouse import ask, connect
from resources.profiles import Profile

_TOTALS = """
select coalesce(sum(duration_ms), 0) / 3.6e6, coalesce(sum(duration_ms) filter (keep), 0) / 3.6e6
from utterance_profiles where profile = ?
"""
_DROPPED = """
select coalesce(sum(duration_ms), 0) / 3.6e6,
    coalesce(sum(duration_ms) filter (len(drop_reasons) = 1), 0) / 3.6e6
from utterance_profiles where profile = ? and list_contains(drop_reasons, ?)
"""


def check(home: Home, name: str, profile: Profile) -> str:
    """Hours kept, and hours that each rule drops alone and after all others."""
    with connect(home) as connection:
        ((total, kept),) = ask(connection, _TOTALS, [name])
        dropped = [ask(connection, _DROPPED, [name, rule.measure])[0] for rule in profile.rules]
    rows = [
        (rule.measure, f"{alone:.2f}", f"{last:.2f}", rule.reason)
        for rule, (alone, last) in zip(profile.rules, dropped, strict=True)
    ]
    table = render(("rule", "drops alone, h", "drops last, h", "reason"), rows)
    return f"{name}: keeps {kept:.2f} of {total:.2f} hours.\n\n{table}"
