"""Utterances: one speaker, 1–30 s, cut in pauses only."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.assignment import AssignedWord
from speech.turns import build_turns, turn_idx_of_words
from speech.types import Word
from speech.utterances import Utterance, UtteranceRule, build_utterances

RULE = UtteranceRule()


def spoken(*words: tuple[int, int], speakers: str = "") -> tuple[list[Word], list[AssignedWord], list[int]]:
    """Words w0, w1, … with these times, their speakers (one letter for each; `-`: none) and turns."""
    made = [Word(f"w{i}", start_ms, end_ms) for i, (start_ms, end_ms) in enumerate(words)]
    names = speakers or "A" * len(made)
    who = [
        AssignedWord(i, None if name == "-" else name, "none" if name == "-" else "inside", in_overlap=False)
        for i, name in enumerate(names)
    ]
    return made, who, turn_idx_of_words(build_turns(made, who))


def cut(*words: tuple[int, int], speakers: str = "", rule: UtteranceRule = RULE) -> list[Utterance]:
    return build_utterances(*spoken(*words, speakers=speakers), duration_ms=100_000, rule=rule)


def test_a_short_turn_is_one_utterance_with_half_of_the_pauses_around_it_at_most() -> None:
    found = cut((50, 1_000), (1_050, 2_000), (2_060, 4_000), speakers="AAB")
    assert found == [
        Utterance(0, "A", 0, 0, 2_030, "w0 w1", 0, 2),
        Utterance(1, "B", 1, 2_030, 4_100, "w2", 2, 1),
    ]


def test_a_pause_ends_an_utterance() -> None:
    found = cut((0, 1_500), (1_600, 3_000), (3_800, 5_000))
    assert [(one.first_word_idx, one.n_words, one.start_ms, one.end_ms) for one in found] == [
        (0, 2, 0, 3_100),
        (2, 1, 3_700, 5_100),
    ]


def test_a_long_turn_is_cut_at_its_longest_gap_and_of_equal_ones_in_the_middle() -> None:
    words = [(1_000 * i, 1_000 * i + (950 if i != 9 else 700)) for i in range(40)]
    assert [one.n_words for one in cut(*words)] == [10, 15, 15]


def test_without_a_gap_nothing_is_cut_and_too_short_or_too_long_stretches_are_left_out() -> None:
    assert cut(*((1_000 * i, 1_000 * i + 980) for i in range(40))) == []
    assert cut((5_000, 5_500)) == []
    assert cut((0, 5_000), speakers="-") == []


def test_overlapping_words_are_not_cut_apart() -> None:
    rule = UtteranceRule(min_ms=100, pause_ms=500)
    assert [one.n_words for one in cut((0, 3_000), (200, 900), (1_500, 2_000), (3_100, 3_500), rule=rule)] == [4]


def test_the_audio_ends_where_the_recording_does() -> None:
    made = build_utterances(*spoken((0, 2_000)), duration_ms=2_040, rule=RULE)
    assert (made[0].start_ms, made[0].end_ms) == (0, 2_040)


def test_the_fingerprint_names_the_rule() -> None:
    assert UtteranceRule().fingerprint == UtteranceRule().fingerprint
    assert len({UtteranceRule(max_ms=n).fingerprint for n in (10_000, 20_000, 30_000)}) == 3
    with pytest.raises(ValueError, match="min_ms < max_ms"):
        UtteranceRule(min_ms=5_000, max_ms=4_000)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1_500), st.integers(1, 3_000), st.sampled_from("AB-")), min_size=1, max_size=60)
)
def test_every_utterance_keeps_the_rule(drawn: list[tuple[int, int, str]]) -> None:
    words, at_ms = [], 0
    for gap_ms, length_ms, _ in drawn:
        words.append((at_ms + gap_ms, at_ms + gap_ms + length_ms))
        at_ms += gap_ms + length_ms
    made, who, turns = spoken(*words, speakers="".join(name for *_, name in drawn))
    found = build_utterances(made, who, turns, duration_ms=at_ms, rule=RULE)
    assert [one.utterance_idx for one in found] == list(range(len(found)))
    for one, after in zip(found, [*found[1:], None], strict=False):
        own = slice(one.first_word_idx, one.first_word_idx + one.n_words)
        assert RULE.min_ms <= one.end_ms - one.start_ms <= RULE.max_ms
        assert {word.speaker for word in who[own]} == {one.speaker}
        assert set(turns[own]) == {one.turn_idx}
        assert 0 <= one.start_ms <= made[own][0].start_ms
        assert made[own][-1].end_ms <= one.end_ms <= at_ms
        assert one.text == " ".join(word.text for word in made[own])
        assert after is None or one.end_ms <= after.start_ms
