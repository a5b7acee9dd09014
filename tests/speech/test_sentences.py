"""Sentences as spans of words: every word in exactly one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.sentences import Sentence, SentenceRule, build_sentences
from speech.turns import join_words
from speech.types import Word


def spoken(text: str, *, gap_ms: int = 50) -> list[Word]:
    """The words of a text, 200 ms each; `|` is a pause of two seconds."""
    words: list[Word] = []
    at_ms = 0
    for token in text.split():
        if token == "|":
            at_ms += 2_000
            continue
        words.append(Word(token, at_ms, at_ms + 200))
        at_ms += 200 + gap_ms
    return words


def texts(text: str, language: str = "en", speakers: list[str | None] | None = None, **rule: int) -> list[str]:
    words = spoken(text)
    given_speakers = speakers or ["a"] * len(words)
    return [one.text for one in build_sentences(words, given_speakers, language=language, rule=SentenceRule(**rule))]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Hello there. How are you? Fine!", "en", ["Hello there.", "How are you?", "Fine!"]),
        ("Mr. Smith met J. R. Brown at 3.14 p.m. yesterday.", "en", None),
        ("It costs 3.14 euros. Good.", "en", ["It costs 3.14 euros.", "Good."]),
        ("He said “Stop.” Then he left.", "en", ["He said “Stop.”", "Then he left."]),
        ("We wait … and then go.", "en", None),
        ("Am 3. Mai kommt er. Gut.", "de", ["Am 3. Mai kommt er.", "Gut."]),
        ("no punctuation | at all", "en", ["no punctuation", "at all"]),
        ("今天 很 好。 明天 也 好。", "zh", ["今天很好。", "明天也好。"]),
        ("Привет. Как дела?", "ru", ["Привет.", "Как дела?"]),
    ],
)  # fmt: skip
def test_punctuation_and_pauses_end_sentences(text: str, language: str, expected: list[str] | None) -> None:
    assert texts(text, language) == (expected or [text])


def test_another_speaker_ends_a_sentence() -> None:
    assert texts("I think so too", speakers=["a", "a", "b", "b"]) == ["I think", "so too"]
    assert texts("I think so too", speakers=["a", None, "a", "a"]) == ["I think so too"]
    found = build_sentences(spoken("I think so too"), ["a", None, None, "b"])
    assert [(one.speaker, one.text) for one in found] == [("a", "I"), (None, "think so"), ("b", "too")]


def test_long_sentences_are_cut_at_clauses() -> None:
    text = "one two three four, five six seven eight nine ten"
    assert texts(text, max_characters=40) == ["one two three four,", "five six seven eight nine ten"]
    assert texts("one two three four", max_ms=500) == ["one two", "three four"]


def test_a_sentence_knows_its_words() -> None:
    (first, second) = build_sentences(spoken("One two. Three."), ["a"] * 3)
    assert first == Sentence(0, "a", 0, 450, "One two.", 0, 2)
    assert second == Sentence(1, "a", 500, 700, "Three.", 2, 1)


def test_speakers_belong_to_words() -> None:
    assert build_sentences([], []) == []
    with pytest.raises(ValueError):
        build_sentences(spoken("one two"), ["a", "a", "b"])
    with pytest.raises(ValueError):
        SentenceRule(max_ms=0)


TEXTS = st.sampled_from(
    ["a", "Yes.", "no,", "Dr.", "3.", "…", "(well)", "你好。", "x" * 60, "e.g.", "What?!", " ", "NaN"]
)


@st.composite
def transcripts(draw: st.DrawFn) -> tuple[list[Word], list[str | None]]:
    words, at_ms = [], 0
    for text in draw(st.lists(TEXTS, max_size=40)):
        at_ms += draw(st.sampled_from([0, 10, 300, 1_600]))
        words.append(Word(text, at_ms, at_ms + draw(st.integers(0, 900))))
    speakers = st.sampled_from(["a", "b", None])
    return words, draw(st.lists(speakers, min_size=len(words), max_size=len(words)))


@given(transcripts(), st.integers(1, 200), st.integers(1, 20_000))
def test_every_word_is_in_exactly_one_sentence(
    transcript: tuple[list[Word], list[str | None]], max_characters: int, max_ms: int
) -> None:
    words, speakers = transcript
    rule = SentenceRule(max_characters=max_characters, max_ms=max_ms)
    found = build_sentences(words, speakers, language="en", rule=rule)
    spans = [range(one.first_word_idx, one.first_word_idx + one.n_words) for one in found]
    assert [i for span in spans for i in span] == list(range(len(words)))
    assert [one.sentence_idx for one in found] == list(range(len(found)))
    for one, span in zip(found, spans, strict=True):
        own = words[span.start : span.stop]
        assert one.text == join_words(word.text for word in own)
        assert (one.start_ms, one.end_ms) == (own[0].start_ms, max(word.end_ms for word in own))
        assert {speakers[i] for i in span} <= {one.speaker, None}
        is_long = len(one.text) > max_characters or one.end_ms - one.start_ms > max_ms
        assert one.n_words == 1 or not is_long
