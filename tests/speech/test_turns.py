"""How words become turns, and that none is lost on the way."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.assignment import AssignedWord, assign_speakers
from speech.turns import MAX_GAP_MS, Turn, build_turns, join_words, turn_idx_of_words
from speech.types import Segment, Word


def who(*speakers: str | None, overlapped: tuple[int, ...] = ()) -> list[AssignedWord]:
    return [AssignedWord(i, s, "inside" if s else "none", i in overlapped) for i, s in enumerate(speakers)]


def test_no_words_no_turns():
    assert build_turns([], []) == []


def test_a_dialogue():
    words = [
        Word("Good", 0, 300, 0.5),
        Word("morning.", 300, 800, 1.0),
        Word("Hi", 700, 900),
        Word("there,", 950, 1_200),
        Word("hm", 1_500, 1_600, 0.25),
        Word("Today", 2_000, 2_400),
    ]
    turns = build_turns(words, who("A", "A", "B", "B", None, "A", overlapped=(1, 2)))
    assert turns == [
        Turn(0, "A", 0, 800, "Good morning.", 2, 0.75, True, None, 0),
        Turn(1, "B", 700, 1_200, "Hi there,", 2, None, True, -100, 2),
        Turn(2, None, 1_500, 1_600, "hm", 1, 0.25, False, 300, 4),
        Turn(3, "A", 2_000, 2_400, "Today", 1, None, False, 400, 5),
    ]
    assert turn_idx_of_words(turns) == [0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize(("pause_ms", "n_turns"), [(0, 1), (600, 1), (MAX_GAP_MS, 1), (MAX_GAP_MS + 1, 2)])
def test_only_a_long_pause_cuts_a_monologue(pause_ms, n_turns):
    words = [Word("one", 0, 500), Word("two", 500 + pause_ms, 900 + pause_ms)]
    assert len(build_turns(words, who("A", "A"))) == n_turns


def test_the_pause_counts_from_the_end_of_the_longest_word():
    words = [Word("one", 0, 3_000), Word("two", 100, 200), Word("three", 4_000, 4_100)]
    [turn] = build_turns(words, who("A", "A", "A"))
    assert (turn.start_ms, turn.end_ms) == (0, 4_100)


def test_words_and_assignment_of_different_recordings_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        build_turns([Word("one", 0, 1), Word("two", 1, 2)], who("A"))


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (["hello", "world"], "hello world"),
        (["你", "好", "，", "世界", "。"], "你好，世界。"),
        (["今日", "は", "いい", "天気"], "今日はいい天気"),
        (["안녕", "하세요"], "안녕 하세요"),
        (["我", "用", "Python", "写"], "我用 Python 写"),
        (["Python", "，", "好"], "Python，好"),
        (["สวัสดี", "ครับ"], "สวัสดีครับ"),
        ([" padded ", "", "  ", "words"], "padded words"),
        ([], ""),
    ],
)
def test_spaces_follow_the_script(texts, line):
    assert join_words(texts) == line


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Word], list[Segment]]:
    texts = st.sampled_from(["yes", "Ärger", "你", "好", "カタ", "no.", "12"])
    starts_ms = sorted(draw(st.lists(st.integers(0, 20_000), max_size=15)))
    words = [
        Word(draw(texts), start_ms, start_ms + draw(st.integers(0, 900)), draw(st.sampled_from([None, 0.25, 0.75])))
        for start_ms in starts_ms
    ]
    segments = draw(
        st.lists(
            st.tuples(st.sampled_from("AB"), st.integers(0, 20_000), st.integers(1, 5_000)).map(
                lambda s: Segment(s[0], s[1], s[1] + s[2])
            ),
            max_size=6,
        )
    )
    return words, segments


@given(conversations())
@settings(deadline=None)
def test_conservation(conversation):
    words, segments = conversation
    assigned = assign_speakers(words, segments)
    turns = build_turns(words, assigned)
    idx = turn_idx_of_words(turns)

    assert [turn.turn_idx for turn in turns] == list(range(len(turns)))
    assert len(idx) == len(words)
    assert [turns[i].speaker for i in idx] == [w.speaker for w in assigned]
    assert [turn.first_word_idx for turn in turns] == [idx.index(i) for i in range(len(turns))]
    assert "".join(t.text for t in turns).replace(" ", "") == "".join(w.text for w in words)
    assert [t.start_ms for t in turns] == sorted(t.start_ms for t in turns)
    for turn in turns:
        own = [word for word, i in zip(words, idx, strict=True) if i == turn.turn_idx]
        assert (turn.start_ms, turn.end_ms) == (own[0].start_ms, max(w.end_ms for w in own))
        assert turn.has_overlap == any(w.in_overlap for w, i in zip(assigned, idx, strict=True) if i == turn.turn_idx)
    for before, turn in pairwise(turns):
        assert turn.gap_before_ms == turn.start_ms - before.end_ms
        assert turn.speaker != before.speaker or turn.gap_before_ms > MAX_GAP_MS
