"""Word edges at pauses, and speech without words."""

from speech.types import Span, Word
from speech.word_edges import snapped, untranscribed

CHUNK = Span(1_000, 9_000)
VOICED = [Span(1_100, 2_000), Span(3_000, 5_000), Span(8_000, 8_900)]


def words(*edges: tuple[int, int]) -> list[Word]:
    return [Word(f"w{i}", start, end) for i, (start, end) in enumerate(edges)]


def edges(found: list[Word]) -> list[tuple[int, int]]:
    return [(word.start_ms, word.end_ms) for word in found]


def test_a_pause_belongs_to_no_word() -> None:
    found = snapped(words((1_000, 1_400), (1_400, 2_200), (2_200, 3_500), (3_500, 7_000)), VOICED, CHUNK)
    assert edges(found) == [(1_100, 1_400), (1_400, 2_000), (3_000, 3_500), (3_500, 5_000)]


def test_a_word_across_a_pause_stays_where_most_of_it_is() -> None:
    assert edges(snapped(words((1_900, 3_400)), VOICED, CHUNK)) == [(3_000, 3_400)]


def test_a_word_where_nothing_is_voiced_keeps_its_times() -> None:
    assert edges(snapped(words((6_000, 6_400)), VOICED, CHUNK)) == [(6_000, 6_400)]


def test_words_have_a_length_an_order_and_an_end_within_the_chunk() -> None:
    found = snapped(words((900, 1_200), (1_150, 1_150), (8_850, 9_100), (9_100, 9_200)), [], CHUNK)
    assert edges(found) == [(1_000, 1_200), (1_200, 1_220), (8_850, 9_000), (8_980, 9_000)]


def test_speech_without_words_is_found_at_the_start_in_the_middle_and_at_the_end() -> None:
    voiced = [Span(1_000, 9_000)]
    assert untranscribed(words((3_000, 3_500), (6_000, 6_500)), voiced, CHUNK, 1_500) == [
        Span(1_000, 3_000),
        Span(3_500, 6_000),
        Span(6_500, 9_000),
    ]


def test_a_pause_is_not_speech_without_words() -> None:
    assert untranscribed(words((1_100, 2_000), (3_000, 5_000)), VOICED, CHUNK, 1_500) == []


def test_the_end_of_a_stretched_word_is_not_believed() -> None:
    """The alignment covers words that are missing with the word before them."""
    assert untranscribed(words((1_000, 8_900)), [Span(1_000, 9_000)], CHUNK, 1_500) == [Span(2_500, 9_000)]


def test_a_chunk_without_words_is_decoded_again_whole() -> None:
    assert untranscribed([], VOICED, CHUNK, 1_500) == [CHUNK]
