"""Subtitles: read back by other libraries, and their rules for any text."""

from __future__ import annotations

import io
import re
from itertools import pairwise

import pysubs2
import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from speech.subtitles import (
    Cue,
    SubtitleRule,
    SubtitleText,
    bilingual_cues,
    source_cues,
    srt,
    target_cues,
    too_fast,
    vtt,
    width,
)
from speech.types import Word

LONG = "A garden on a roof needs light soil, a frame that carries the water, and somebody who comes every day to look at it."
LONG_ES = (
    "Un jardín en la azotea necesita tierra ligera, una estructura que soporte el agua y alguien que venga cada día."
)


def test_a_short_sentence_is_one_cue() -> None:
    text = SubtitleText(1_000, 3_000, "Hello there.", "Hola.", speaker="alice")
    assert source_cues([text]) == [Cue(1_000, 3_000, ("Hello there.",), "alice")]
    assert target_cues([text]) == [Cue(1_000, 3_000, ("Hola.",), "alice")]
    assert bilingual_cues([text]) == [Cue(1_000, 3_000, ("Hola.", "Hello there."), "alice")]


def test_a_long_sentence_is_cut_after_punctuation() -> None:
    cues = source_cues([SubtitleText(0, 8_000, LONG)])
    assert [cue.lines for cue in cues] == [
        ("A garden on a roof needs light soil,", "a frame that carries the water,"),
        ("and somebody who comes", "every day to look at it."),
    ]
    assert (cues[0].start_ms, cues[0].end_ms, cues[1].end_ms) == (0, cues[1].start_ms, 8_000)


def test_cuts_have_the_times_of_their_words() -> None:
    words = tuple(Word(word, 500 * i, 500 * i + 400) for i, word in enumerate(LONG.split()))
    cues = source_cues([SubtitleText(0, words[-1].end_ms, LONG, words=words)])
    assert cues[1].start_ms == words[LONG.split().index("and")].start_ms
    assert " ".join(line for cue in cues for line in cue.lines) == LONG


def test_both_languages_have_a_line_each() -> None:
    cues = bilingual_cues([SubtitleText(0, 9_000, LONG, LONG_ES)])
    assert {len(cue.lines) for cue in cues} == {2}
    assert " ".join(cue.lines[0] for cue in cues) == LONG_ES
    assert " ".join(dict.fromkeys(cue.lines[1] for cue in cues)) == LONG
    assert bilingual_cues([SubtitleText(0, 900, "Hello.")])[0].lines == ("Hello.",)


def test_lines_without_a_translation_are_not_shown() -> None:
    assert target_cues([SubtitleText(0, 900, "Hello."), SubtitleText(900, 1_800, "", "")]) == []


def test_gaps_of_less_than_a_second_are_closed() -> None:
    texts = [SubtitleText(0, 1_500, "One."), SubtitleText(2_400, 4_000, "Two."), SubtitleText(6_000, 7_500, "Three.")]
    assert [(cue.start_ms, cue.end_ms) for cue in source_cues(texts)] == [(0, 2_400), (2_400, 4_000), (6_000, 7_500)]


def test_a_cue_stays_as_long_as_it_takes_to_read() -> None:
    text = "Thirty-four characters of text now."
    alone = source_cues([SubtitleText(0, 400, text)])
    assert (alone[0].end_ms, too_fast(alone)) == (2_058, [])
    followed = source_cues([SubtitleText(0, 400, text), SubtitleText(500, 2_000, "Next.")])
    assert (followed[0].end_ms, too_fast(followed)) == (500, followed[:1])


def test_wide_characters_count_more() -> None:
    assert (width("abc"), width("你好"), width("ｶ"), width("안녕")) == (3, 3.5, 1, 3.5)
    text = "我们今天谈谈屋顶上的花园，它需要轻的土壤，一个能承受水的框架，还有一个每天都来看它的人。"
    cues = target_cues([SubtitleText(0, 9_000, LONG, text)])
    assert all(width(line) <= 42 for cue in cues for line in cue.lines)
    assert "".join(line for cue in cues for line in cue.lines) == text
    assert not any(line[0] in "，。" for cue in cues for line in cue.lines)
    assert [len(cue.lines) for cue in cues] == [2]
    assert cues[0].lines[0].endswith("，")


def test_files_are_read_by_others() -> None:
    texts = [
        SubtitleText(0, 2_000, "A --> B & <i>\n\nC", "Ä", speaker="S. <1>"),
        SubtitleText(3_600_000, 3_602_000, "End."),
    ]
    cues = source_cues(texts)
    read = pysubs2.SSAFile.from_string(srt(cues), format_="srt")
    assert [(one.start, one.end) for one in read] == [(0, 2_000), (3_600_000, 3_602_000)]
    assert srt(cues).startswith("1\n00:00:00,000 --> 00:00:02,000\nA → B & <i> C\n\n2\n")
    captions = webvtt.from_buffer(io.StringIO(vtt(cues))).captions
    assert [(one.start, one.end) for one in captions] == [
        ("00:00:00.000", "00:00:02.000"), ("01:00:00.000", "01:00:02.000"),
    ]  # fmt: skip
    assert "<v S. &lt;1&gt;>A --&gt; B &amp; &lt;i&gt; C</v>" in vtt(cues)


def test_rules_that_cannot_hold_are_refused() -> None:
    with pytest.raises(ValueError):
        SubtitleRule(line_width=1)
    with pytest.raises(ValueError):
        SubtitleRule(min_ms=2, max_ms=1)


CHARACTERS = st.sampled_from("ab cé你好。，カ한ไท้\n\t-(«».,?x    ")
TEXT = st.text(CHARACTERS, max_size=160) | st.text(max_size=40)


@st.composite
def lessons(draw: st.DrawFn) -> list[SubtitleText]:
    texts = []
    for _ in range(draw(st.integers(0, 6))):
        start_ms = draw(st.integers(0, 20_000))
        end_ms = start_ms + draw(st.integers(0, 9_000))
        source, target = draw(TEXT), draw(st.none() | TEXT)
        words = ()
        if draw(st.booleans()):
            said = source.split()
            step_ms = (end_ms - start_ms) // max(1, len(said))
            words = tuple(
                Word(word, start_ms + i * step_ms, start_ms + (i + 1) * step_ms) for i, word in enumerate(said)
            )
        texts.append(SubtitleText(start_ms, end_ms, source, target, words))
    return texts


def without_spaces(text: str) -> str:
    return re.sub(r"\s+", "", text)


@given(lessons(), st.sampled_from([8.0, 42.0]))
def test_the_rules_hold_for_any_text(texts: list[SubtitleText], line_width: float) -> None:
    rule = SubtitleRule(line_width=line_width)
    for cues in (source_cues(texts, rule), target_cues(texts, rule), bilingual_cues(texts, rule)):
        for cue in cues:
            assert 1 <= len(cue.lines) <= 2
            assert cue.start_ms < cue.end_ms
            assert all(line.strip() == line and line and width(line) <= line_width for line in cue.lines)
        for cue, following in pairwise(cues):
            gap_ms = following.start_ms - cue.end_ms
            assert gap_ms == 0 or gap_ms >= rule.close_gap_ms
            is_read = cue.characters_per_second <= rule.characters_per_second + 0.1
            assert gap_ms == 0 or is_read or cue.end_ms - cue.start_ms >= rule.max_ms
    ordered = sorted((text for text in texts if text.target), key=lambda text: text.start_ms)
    if all(one.end_ms <= two.start_ms for one, two in pairwise(ordered)):
        shown = "".join(line for cue in target_cues(texts, rule) for line in cue.lines)
        assert without_spaces(shown) == without_spaces("".join(text.target or "" for text in ordered))
