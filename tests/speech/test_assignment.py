"""Which speaker a word gets, and by which rule."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.assignment import NEAREST_GAP_MS, AssignedWord, assign_speakers
from speech.types import Segment, Word

A = Segment("A", 1_000, 2_000)
B = Segment("B", 1_800, 3_000)


def assigned(start_ms: int, end_ms: int, *segments: Segment) -> AssignedWord:
    [word] = assign_speakers([Word("word", start_ms, end_ms)], segments)
    return word


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "speaker", "rule", "in_overlap"),
    [
        (1_100, 1_400, "A", "inside", False),
        (1_000, 1_800, "A", "inside", False),  # segments are half-open: B begins where the word ends
        (1_700, 1_900, "A", "most_overlap", True),  # 200 ms of A, 100 ms of B
        (1_900, 2_200, "B", "most_overlap", True),
        (1_850, 1_950, "A", "most_overlap", True),  # equal: A began first
        (900, 1_200, "A", "most_overlap", False),  # sticks out of A
        (2_900, 9_000, "B", "most_overlap", False),
        (3_000, 3_100, "B", "nearest", False),
        (3_100, 3_200, "B", "nearest", False),
        (4_000, 4_200, "B", "nearest", False),
        (4_001, 4_200, None, "none", False),
        (500, 900, "A", "nearest", False),
        (0, 0, "A", "nearest", False),  # a word of 1 ms, 999 ms before A
        (1_500, 1_500, "A", "inside", False),
        (1_900, 1_900, "A", "most_overlap", True),
        (3_000, 3_000, "B", "nearest", False),
    ],
)
def test_rule_table(start_ms, end_ms, speaker, rule, in_overlap):
    assert assigned(start_ms, end_ms, B, A) == AssignedWord(0, speaker, rule, in_overlap)


def test_without_segments_nobody_spoke():
    assert assigned(0, 100) == AssignedWord(0, None, "none", in_overlap=False)


def test_without_words_nothing_is_assigned():
    assert assign_speakers([], [A]) == []


def test_a_speakers_touching_and_overlapping_segments_are_one():
    own = Segment("A", 0, 500), Segment("A", 500, 900), Segment("A", 800, 1_200)
    assert assigned(100, 1_100, *own) == AssignedWord(0, "A", "inside", in_overlap=False)


def test_who_goes_on_talking_began_first():
    assert assigned(450, 550, Segment("B", 0, 500), Segment("B", 500, 900), Segment("A", 300, 900)).speaker == "B"


def test_equal_beginnings_are_decided_by_name():
    assert assigned(100, 200, Segment("B", 0, 300), Segment("A", 0, 300)).speaker == "A"


def test_equal_gaps_are_decided_for_the_speaker_before():
    assert assigned(500, 600, Segment("A", 700, 800), Segment("B", 0, 400)) == AssignedWord(0, "B", "nearest", False)


def test_a_segment_without_length_says_nothing():
    assert assigned(100, 200, Segment("A", 150, 150)).rule == "none"


def test_sticking_out_between_two_is_no_overlap_of_speech():
    word = assigned(300, 700, Segment("A", 0, 400), Segment("B", 500, 900))
    assert word == AssignedWord(0, "B", "most_overlap", in_overlap=False)


def brute_force(word: Word, segments: list[Segment]) -> tuple[str | None, str, bool]:
    """The table of `assign_speakers`, millisecond by millisecond."""
    talking = {
        ms: {s.speaker for s in segments if s.start_ms <= ms < s.end_ms}
        for ms in range(word.start_ms, max(word.end_ms, word.start_ms + 1))
    }
    in_overlap = any(len(speakers) > 1 for speakers in talking.values())
    common_ms = {s: sum(s in now for now in talking.values()) for s in set().union(*talking.values())}

    def began_ms(speaker: str, at_ms: int) -> int:
        while any(s.speaker == speaker and s.start_ms < at_ms <= s.end_ms for s in segments):
            at_ms -= 1
        return at_ms

    if common_ms:
        first_heard_ms = {s: min(ms for ms, now in talking.items() if s in now) for s in common_ms}
        speaker = min(common_ms, key=lambda s: (-common_ms[s], began_ms(s, first_heard_ms[s]), s))
        inside = len(common_ms) == 1 and common_ms[speaker] == len(talking)
        return speaker, "inside" if inside else "most_overlap", in_overlap
    last_ms = max(talking)
    near = [
        (gap_ms, side, began_ms(s.speaker, s.end_ms if side == 0 else s.start_ms), s.speaker)
        for s in segments
        if s.end_ms > s.start_ms
        for side, gap_ms in ((0, word.start_ms - s.end_ms), (1, s.start_ms - last_ms - 1))
        if 0 <= gap_ms <= NEAREST_GAP_MS
    ]
    return (min(near)[3], "nearest", False) if near else (None, "none", False)


def spans(longest_ms: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(0, 60), st.integers(0, longest_ms)).map(lambda span: (span[0], span[0] + span[1]))


segment_lists = st.lists(
    st.builds(lambda who, span: Segment(who, *span), st.sampled_from("ABC"), spans(25)), max_size=8
)
word_lists = st.lists(spans(12).map(lambda span: Word("w", *span)), max_size=10)


@given(word_lists, segment_lists, st.sampled_from([1, 37]))
@settings(max_examples=200, deadline=None)
def test_agrees_with_brute_force(words, segments, spread):
    """`spread` pulls everything apart, so that gaps reach beyond `NEAREST_GAP_MS`."""
    words = [Word("w", w.start_ms * spread, w.end_ms * spread) for w in words]
    segments = [Segment(s.speaker, s.start_ms * spread, s.end_ms * spread) for s in segments]
    found = [(who.speaker, who.rule, who.in_overlap) for who in assign_speakers(words, segments)]
    assert found == [brute_force(word, segments) for word in words]


@given(word_lists, segment_lists, st.randoms(use_true_random=False), st.integers(1, 10_000_000))
def test_properties(words, segments, shuffle, shift_ms):
    found = assign_speakers(words, segments)

    assert [who.word_idx for who in found] == list(range(len(words))), "a word lost, doubled or moved"
    assert {who.speaker for who in found} <= {s.speaker for s in segments} | {None}
    assert all((who.speaker is None) == (who.rule == "none") for who in found)
    assert all(who.rule == "most_overlap" for who in found if who.in_overlap)

    shuffled = list(segments)
    shuffle.shuffle(shuffled)
    assert assign_speakers(words, shuffled) == found, "the order of the segments matters"

    later_words = [Word("w", w.start_ms + shift_ms, w.end_ms + shift_ms) for w in words]
    later_segments = [Segment(s.speaker, s.start_ms + shift_ms, s.end_ms + shift_ms) for s in segments]
    assert assign_speakers(later_words, later_segments) == found, "the position on the timeline matters"
