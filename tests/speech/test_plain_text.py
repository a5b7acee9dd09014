"""Texts that users write: those of all alphabets, but no control characters."""

from __future__ import annotations

import pytest

from speech.plain_text import is_line, is_text

JOINED = "\u200d"
UNBROKEN = "\u00a0"


@pytest.mark.parametrize(
    "text",
    [
        "A talk", f"Pourquoi{UNBROKEN}? 12\u202f000{UNBROKEN}€", "می\u200cخواهم", "שלום\u200f!", "花園\u3000入門",
        f"Gardens \N{MAN}{JOINED}\N{EAR OF RICE}", "co\u00adoperate",
    ],
)  # fmt: skip
def test_a_line_may_have_spaces_joiners_and_marks_of_any_script(text: str) -> None:
    assert is_text(text)
    assert is_line(text)


@pytest.mark.parametrize("text", ["two\nlines", "two\u2028lines", "two\x85lines", "a\ttab", "", " \u00a0"])
def test_lines_and_texts_differ(text: str) -> None:
    assert is_text(text)
    assert not is_line(text)


@pytest.mark.parametrize("text", ["a\x00b", "a\x1bb", "a\x7fb", "a\x9bb", "a\ud800b", "a\uffffb"])
def test_control_characters_are_no_text(text: str) -> None:
    assert not is_text(text)
    assert not is_line(text)
