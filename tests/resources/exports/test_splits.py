"""What belongs together is in one split, and splits are about as large as asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.exports.splits import Speech, SplitRule, assign, groups


def test_parse() -> None:
    assert SplitRule.parse("98/1/1").shares == pytest.approx((0.98, 0.01, 0.01))
    assert SplitRule.parse("9/1").shares == (0.9, 0.1, 0.0)
    assert SplitRule.parse("100").shares == (1.0, 0.0, 0.0)
    for wrong in ("", "a/b", "0/50/50", "-1/2", "1/2/3/4", "1/nan", "inf"):
        with pytest.raises(ValueError, match="is no split"):
            SplitRule.parse(wrong)


def test_groups_are_named_by_their_first_member() -> None:
    assert groups([("b", "c"), ("d",), ("c", "a")]) == {"a": "a", "b": "a", "c": "a", "d": "d"}


speech = st.lists(
    st.builds(
        Speech,
        speaker=st.sampled_from([f"v{i}" for i in range(12)]),
        feed_id=st.sampled_from([f"f{i}" for i in range(8)]),
        audio_speaker=st.sampled_from([f"a{i}" for i in range(30)]),
        duration_ms=st.integers(1_000, 100_000),
    ),
    max_size=30,
)


@given(speech, st.sampled_from(["feed", "voice"]))
def test_nothing_leaks(said: list[Speech], together: str) -> None:
    found = assign(said, SplitRule((0.8, 0.1, 0.1), together))  # type: ignore[arg-type]
    assert found.split_of.keys() == {one.speaker for one in said}
    kept = [lambda one: one.audio_speaker] + ([lambda one: one.feed_id] if together == "feed" else [])
    for name in kept:
        for value in {name(one) for one in said}:
            assert len({found.split_of[one.speaker] for one in said if name(one) == value}) == 1
    assert found == assign(list(reversed(said)), SplitRule((0.8, 0.1, 0.1), together))  # type: ignore[arg-type]


def test_many_groups_are_divided_as_asked() -> None:
    said = [Speech(f"v{i}", f"f{i}", f"a{i}", 1_000 + i) for i in range(1_000)]
    split_of = assign(said, SplitRule.parse("98/1/1")).split_of
    counts = [sum(1 for name in split_of.values() if name == split) for split in ("train", "validation", "test")]
    assert sum(counts) == 1_000
    assert counts[1] in range(5, 11)
    assert counts[2] in range(5, 11)


def test_three_groups_fill_three_splits_and_one_fills_train() -> None:
    three = [Speech(f"v{i}", f"f{i}", f"a{i}", 1_000) for i in range(3)]
    assert set(assign(three, SplitRule.parse("98/1/1")).split_of.values()) == {"train", "validation", "test"}
    one = assign(three[:1], SplitRule.parse("98/1/1"))
    assert (one.split_of, one.n_groups) == ({"v0": "train"}, 1)
