"""Formats as their specifications write them, and that what is written can be read again."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.assignment import AssignedWord, assign_speakers
from speech.formats.captions import Cue, cut_cues, read_srt, read_vtt, write_srt, write_vtt
from speech.formats.manifests import lhotse_recording, lhotse_supervisions, nemo_manifest
from speech.formats.nist import Utterance, read_ctm, read_rttm, read_stm, write_ctm, write_rttm, write_stm
from speech.turns import Turn, build_turns
from speech.types import Segment, Word

REAL_RTTM = Path(__file__).parents[2].parent / "shared" / "data" / "diar" / "debug.train.rttm"

WORDS = [
    Word("Good", 0, 300, 0.5),
    Word("morning.", 300, 800, 1.0),
    Word("Hi,", 1_000, 1_200),
    Word("R&D!", 1_200, 1_700),
]
TURNS = build_turns(WORDS, [AssignedWord(i, s, "inside", False) for i, s in enumerate(["A", "A", "B c", "B c"])])


# Captions


def spoken(text: str, word_ms: int = 300, first_ms: int = 0) -> list[Word]:
    return [Word(word, first_ms + i * word_ms, first_ms + (i + 1) * word_ms) for i, word in enumerate(text.split())]


def cues_of(words: list[Word]) -> list[Cue]:
    return cut_cues(words, build_turns(words, assign_speakers(words, [])))


def test_srt_is_written_as_players_expect_it():
    assert write_srt(cut_cues(WORDS, TURNS)) == (
        "1\n00:00:00,000 --> 00:00:00,800\n[A]\nGood morning.\n\n2\n00:00:01,000 --> 00:00:01,700\n[B c]\nHi, R&D!\n"
    )


def test_srt_names_a_speaker_only_at_a_change():
    cues = [Cue(0, 1, "a", "A"), Cue(1, 2, "b", "A"), Cue(2, 3, "c"), Cue(3, 4, "d", "A")]
    assert [cue.text for cue in read_srt(write_srt(cues))] == ["[A]\na", "b", "c", "[A]\nd"]


def test_vtt_names_the_speaker_in_a_voice_tag():
    assert write_vtt([Cue(0, 800, "a < b\n& c", "A"), Cue(3_661_005, 3_662_000, "so --> there", "B & C")]) == (
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:00.800\n<v A>a &lt; b\n&amp; c\n\n"
        "01:01:01.005 --> 01:01:02.000\n<v B &amp; C>so --&gt; there\n"
    )


def test_vtt_of_others_is_read():
    text = (
        "\ufeffWEBVTT - a title\r\nKind: captions\r\n\r\nNOTE\r\n00:00 --> is a comment\r\n\r\nSTYLE\r\n::cue {}\r\n\r\n"
        "intro\r\n00:01.500 --> 00:02.000 align:start position:0%\r\n<v.loud Ann>Hello <c.red>you</c></v>\r\n\r\n\r\n"
        "100:00:00.000 --> 100:00:01.000\r\n<v Ann>Yes?</v>\r\n<v Bob>No &amp; <00:00:01.000>never\r\n"
    )
    hours_ms = 360_000_000
    assert read_vtt(text) == [
        Cue(1_500, 2_000, "Hello you", "Ann"),
        Cue(hours_ms, hours_ms + 1_000, "Yes?", "Ann"),
        Cue(hours_ms, hours_ms + 1_000, "No & never", "Bob"),
    ]


def test_srt_of_others_is_read():
    text = "\ufeff1\r\n00:00:01,500 --> 00:00:02,000\r\nOne\r\ntwo\r\n \r\n\r\n0:00:02.000 --> 0:00:03.250\r\nthree"
    assert read_srt(text) == [Cue(1_500, 2_000, "One\ntwo"), Cue(2_000, 3_250, "three")]


def test_what_is_no_caption_file_is_refused():
    with pytest.raises(ValueError, match="a cue without times: 'hello'"):
        read_srt("hello")
    with pytest.raises(ValueError, match="must begin with WEBVTT"):
        read_vtt("1\n00:00:01,500 --> 00:00:02,000\nOne\n")


def test_no_captions():
    assert (read_srt(write_srt([])), read_vtt(write_vtt([]))) == ([], [])


lines = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1).filter(lambda line: "-->" not in line)
cue_lists = st.lists(
    st.builds(
        lambda start_ms, length_ms, text, speaker: Cue(start_ms, start_ms + length_ms, "\n".join(text), speaker),
        st.integers(0, 400_000_000),
        st.integers(1, 7_000),
        st.lists(lines, min_size=1, max_size=2),
        st.none() | lines,
    )
)


@given(cue_lists)
@settings(deadline=None)
def test_captions_round_trip(cues):
    assert read_vtt(write_vtt(cues)) == cues
    nameless = [Cue(cue.start_ms, cue.end_ms, cue.text) for cue in cues]
    assert read_srt(write_srt(nameless)) == nameless


def test_cues_are_two_lines_of_42_columns():
    cues = cues_of(spoken("the quick brown fox jumps over the lazy dog and then it sleeps in the warm sun until", 100))
    assert [cue.text for cue in cues] == [
        "the quick brown fox jumps over the lazy\ndog and then it sleeps in the warm sun",
        "until",
    ]


def test_a_full_width_character_takes_two_columns():
    words = [Word("好", i * 100, (i + 1) * 100) for i in range(45)]
    assert [len(line) for cue in cues_of(words) for line in cue.text.split("\n")] == [21, 21, 3]


def test_cues_end_after_7_s_at_a_pause_and_after_a_sentence_that_filled_a_line():
    assert [cue.end_ms for cue in cues_of(spoken("a b c d e f g h", 1_000))] == [7_000, 8_000]
    assert [cue.text for cue in cues_of([Word("one", 0, 100), Word("two", 1_601, 1_700)])] == ["one", "two"]
    assert [cue.text for cue in cues_of([Word("one", 0, 100), Word("two", 1_600, 1_700)])] == ["one two"]
    sentence = "No. This is a sentence which is a little longer than a line. Next"
    assert [cue.text for cue in cues_of(spoken(sentence, 100))] == [
        "No. This is a sentence which is a little\nlonger than a line.",
        "Next",
    ]


@given(
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["a", "好", "word.", "x" * 60])), max_size=60),
    st.integers(0, 9_000),
)
@settings(deadline=None)
def test_cues_hold_every_word_and_one_stands_at_a_time(steps, length_ms):
    at_ms = 0
    words = []
    for step_ms, text in steps:
        at_ms += step_ms
        words.append(Word(text, at_ms, at_ms + length_ms))
    cues = cut_cues(
        words, build_turns(words, assign_speakers(words, [Segment("A", 0, 3_000), Segment("B", 2_000, 4_000)]))
    )
    assert "".join(c.text for c in cues).replace(" ", "").replace("\n", "") == "".join(w.text for w in words)
    assert all(0 < cue.end_ms - cue.start_ms <= 7_000 and cue.text.count("\n") <= 1 for cue in cues)
    assert all(before.end_ms <= cue.start_ms for before, cue in pairwise(cues))


# RTTM, CTM, STM


def test_rttm_has_ten_fields():
    text = write_rttm({"ep-1": [Segment("A", 0, 1_500, 0.87654), Segment("Zoë", 1_400, 18_000_001)]})
    assert text == (
        "SPEAKER ep-1 1 0.000 1.500 <NA> <NA> A 0.8765 <NA>\nSPEAKER ep-1 1 1.400 17998.601 <NA> <NA> Zoë <NA> <NA>\n"
    )


def test_rttm_of_others_is_read():
    text = (
        ";; made by hand\n\nSPKR-INFO f 1 <NA> <NA> <NA> unknown A <NA>\n"
        "SPEAKER f 1 0.5 1.25 <NA> <NA> A <NA>\nSPEAKER  g\t1 1 2.0004 <NA> <NA> B 0.5 <NA>\nSPEAKER f 1 3 0 <NA> <NA> A\n"
    )
    assert read_rttm(text) == {
        "f": [Segment("A", 500, 1_750), Segment("A", 3_000, 3_000)],
        "g": [Segment("B", 1_000, 3_000, 0.5)],
    }


def test_the_line_that_cannot_be_read_is_named():
    with pytest.raises(ValueError, match="line 2 cannot be read: 'SPEAKER f 1 zero"):
        read_rttm(";;\nSPEAKER f 1 zero 1 <NA> <NA> A <NA> <NA>\n")
    with pytest.raises(ValueError, match="line 1 cannot be read"):
        read_ctm("f 1 0.0 1.0\n")
    with pytest.raises(ValueError, match="line 1 cannot be read"):
        read_stm("f 1 A inf 1.0 hello\n")


def test_names_with_white_space_are_refused():
    with pytest.raises(ValueError, match="one word without white space, not 'my speaker'"):
        write_rttm({"f": [Segment("my speaker", 0, 1)]})
    with pytest.raises(ValueError, match="not ''"):
        write_ctm({"f": [Word("", 0, 1)]})


def test_ctm():
    text = "f 1 0.000 0.300 Good 0.5000\nf 1 0.300 0.500 morning. 1.0000\nf 1 1.000 0.200 Hi,\n"
    assert write_ctm({"f": WORDS[:3]}) == text
    assert read_ctm(text + "f A 2.0 0.5 so NA\n") == {"f": [*WORDS[:3], Word("so", 2_000, 2_500)]}


def test_stm():
    turns = [
        Turn(0, "A", 0, 800, "Good  morning.", 2, None, False, None, 0),
        Turn(1, None, 900, 1_000, "<noise> hm", 2, None, False, 100, 2),
    ]
    text = "f 1 A 0.000 0.800 Good morning.\nf 1 <NA> 0.900 1.000 <NA> <noise> hm\n"
    assert write_stm({"f": turns}) == text
    assert read_stm(text + "g A B 1.1 2.25 <o,f0,male> yes <unk>\ng A B 3 4\n") == {
        "f": [Utterance("A", 0, 800, "Good morning."), Utterance(None, 900, 1_000, "<noise> hm")],
        "g": [Utterance("B", 1_100, 2_250, "yes <unk>", "o,f0,male"), Utterance("B", 3_000, 4_000, "")],
    }


names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=9)
tokens = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=9)
times_ms = st.tuples(st.integers(0, 20_000_000), st.integers(0, 20_000_000)).map(sorted)
confidences = st.none() | st.integers(0, 10_000).map(lambda n: n / 10_000)
segments = st.builds(lambda who, span_ms, conf: Segment(who, *span_ms, conf), names, times_ms, confidences)
timed_words = st.builds(lambda text, span_ms, conf: Word(text, *span_ms, conf), tokens, times_ms, confidences)
utterances = st.builds(
    lambda who, span_ms, text, label: Utterance(who, *span_ms, " ".join(text), label),
    st.none() | names,
    times_ms,
    st.lists(tokens, max_size=4),
    st.none() | names.filter(lambda label: label != "NA"),
)


@given(
    st.dictionaries(names, st.lists(segments, min_size=1, max_size=4), max_size=3),
    st.dictionaries(names, st.lists(timed_words, min_size=1, max_size=4), max_size=3),
    st.dictionaries(names, st.lists(utterances, min_size=1, max_size=4), max_size=3),
)
@settings(deadline=None)
def test_nist_formats_round_trip(by_segments, by_words, by_utterances):
    assert read_rttm(write_rttm(by_segments)) == by_segments
    assert read_ctm(write_ctm(by_words)) == by_words
    assert read_stm(write_stm(by_utterances)) == by_utterances


@pytest.mark.skipif(not REAL_RTTM.exists(), reason="shared/data/diar is not here")
def test_a_real_rttm_file_round_trips_line_by_line():
    text = REAL_RTTM.read_text(encoding="utf-8")
    recordings = read_rttm(text)
    assert sum(map(len, recordings.values())) == 77
    assert recordings["trn00"][:2] == [Segment("MÉO069", 3_168, 3_968), Segment("MÉO069", 5_463, 6_103)]
    assert sorted(write_rttm(recordings).splitlines()) == sorted(text.splitlines())


# Manifests


def test_nemo_manifest():
    rows = [json.loads(line) for line in nemo_manifest("audio/a.wav", TURNS[:1], "en").splitlines()]
    assert rows == [
        {
            "audio_filepath": "audio/a.wav",
            "offset": 0.0,
            "duration": 0.8,
            "text": "Good morning.",
            "speaker": "A",
            "lang": "en",
        }
    ]
    nobody = Turn(0, None, 900, 1_000, "嗯", 1, None, False, None, 0)
    assert (
        nemo_manifest("a.wav", [nobody])
        == '{"audio_filepath": "a.wav", "offset": 0.9, "duration": 0.1, "text": "嗯"}\n'
    )


def test_lhotse_manifests():
    assert json.loads(lhotse_recording("ep-1", "audio/a.wav", 16_000, 24_000)) == {
        "id": "ep-1",
        "sources": [{"type": "file", "channels": [0], "source": "audio/a.wav"}],
        "sampling_rate": 16_000,
        "num_samples": 24_000,
        "duration": 1.5,
    }
    assert json.loads(lhotse_supervisions("ep-1", WORDS, TURNS[:1], "en")) == {
        "id": "ep-1-00000",
        "recording_id": "ep-1",
        "start": 0.0,
        "duration": 0.8,
        "channel": 0,
        "text": "Good morning.",
        "language": "en",
        "speaker": "A",
        "alignment": {"word": [["Good", 0.0, 0.3, 0.5], ["morning.", 0.3, 0.5, 1.0]]},
    }
