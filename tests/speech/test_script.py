"""Scripts are read without loss."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.script import ScriptRefused, ScriptTurn, is_same_script, joined, parse_script, without_sound_tags


def test_turns_keep_line_breaks_brackets_and_tags() -> None:
    script = "[S1] First line.\nSecond [aside] line. <|laughter|>\n\n[S2]Tight.[S1] Again"
    turns = parse_script(script)
    assert turns == (
        ScriptTurn("S1", "First line.\nSecond [aside] line. <|laughter|>"),
        ScriptTurn("S2", "Tight."),
        ScriptTurn("S1", "Again"),
    )
    assert is_same_script(joined(turns), script)


def test_a_message_says_which_turn_and_what_to_do() -> None:
    with pytest.raises(ScriptRefused, match="Turn 2, by S2, says nothing") as refused:
        parse_script("[S1] a [S2]  \n [S1] b")
    assert refused.value.code == "empty_turn"


_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)


@given(st.lists(st.tuples(st.sampled_from(["S1", "S2", "S3", "S4"]), _TEXT), min_size=1, max_size=20))
def test_every_script_is_refused_or_comes_back(parts: list[tuple[str, str]]) -> None:
    script = "".join(f"[{speaker}] {text}\n" for speaker, text in parts)
    try:
        turns = parse_script(script)
    except ScriptRefused:
        return
    assert is_same_script(joined(turns), script)


def test_sound_tags_are_removed_for_voices_that_read_them() -> None:
    assert without_sound_tags("Well <|sigh|> yes <|laughter|>") == "Well yes"
    assert without_sound_tags("a < b |> c") == "a < b |> c"
