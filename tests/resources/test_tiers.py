"""Tiers of episodes, from YAML."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resources.lake.tables import QUALITY
from resources.lake.tables.dataset import QualityRow
from resources.tiers import load_tiers
from tests.landings import filled

GOOD = replace(
    QualityRow(**filled(QUALITY, {})),
    n_utterances=5, snr_db_median=30.0, overlap_ratio=0.0, mean_confidence=0.9, language_agrees=True,
)  # fmt: skip


def test_the_first_tier_whose_rules_hold_is_the_episode_s() -> None:
    tiers = load_tiers()
    assert tiers.of(GOOD) == ("A", ())
    assert tiers.of(replace(GOOD, snr_db_median=12.0, overlap_ratio=0.2)) == (
        "B",
        ("noise: snr_db_median 12 < 20", "overlapping speakers: overlap_ratio 0.2 > 0.1"),
    )
    assert tiers.of(replace(GOOD, snr_db_median=None))[1] == ("noise: snr_db_median is not known",)
    assert tiers.of(replace(GOOD, language_agrees=False)) == (
        "C",
        ("text in another language: language_agrees is false",),
    )


def test_the_fingerprint_changes_with_the_rules(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("Good:\n  - {measure: n_words, min: 10, reason: short}\nPoor: []\n")
    mine = load_tiers(str(path))
    assert mine.of(replace(GOOD, n_words=9)) == ("Poor", ("short: n_words 9 < 10",))
    assert len({mine.fingerprint, load_tiers().fingerprint}) == 2
    path.write_text(path.read_text().replace("10", "5"))
    assert load_tiers(str(path)).fingerprint != mine.fingerprint


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A:\n  - {measure: beauty, min: 1, reason: r}\nB: []", "no measure beauty"),
        ("A:\n  - {measure: n_words, min: 1, reason: r}", "The last tier must have no rules"),
        ("A: [", "mine.yaml"),
    ],
)
def test_rules_that_cannot_be_read_are_named(tmp_path, text: str, problem: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=problem):
        load_tiers(str(path))
