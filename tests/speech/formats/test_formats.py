"""Each format is read back by a library of its own, within its resolution."""

from __future__ import annotations

import json
from pathlib import Path

import pysubs2
import pytest
import webvtt
from praatio import textgrid
from pyannote.database.util import load_rttm

from speech.formats.document import MAX_CUE_CHARACTERS, MAX_CUE_MS, Document, Passage
from speech.formats.registry import FORMATS
from speech.types import Segment, Word


def passage(speaker: str | None, start_ms: int, text: str, confidence: float | None = 0.875) -> Passage:
    words = [
        Word(word, start_ms + 400 * i, start_ms + 400 * i + 333, confidence) for i, word in enumerate(text.split())
    ]
    return Passage(speaker, tuple(words))


LONG = " ".join(f"word{i}" for i in range(60))
DOCUMENT = Document(
    episode_id="show-20260101-00000001",
    audio_sha256="a" * 64,
    title="*One* <b>",
    feed_title="The Show",
    language="en",
    duration_ms=3_700_000,
    turns=(
        passage("S1", 1_001, 'Is 1 < 2 & "so" on?'),
        passage("Anna Maria", 5_250, LONG),
        passage(None, 60_000, "hm", confidence=None),
        passage("S1", 3_661_007, "Bye --> now."),
    ),
    segments=(Segment("S1", 900, 4_007), Segment("Anna Maria", 3_500, 30_003), Segment("S1", 3_661_000, 3_662_111)),
)
CUES = list(DOCUMENT.cues())
WORDS = [word for turn in DOCUMENT.turns for word in turn.words]


def written(name: str, folder: Path) -> Path:
    path = folder / f"out.{FORMATS[name].SUFFIX}"
    path.write_text(FORMATS[name].write(DOCUMENT), encoding="utf-8")
    return path


def test_cues_hold_every_word_once_and_keep_the_limits() -> None:
    assert [word for cue in CUES for word in cue.words] == WORDS
    assert all(cue.end_ms - cue.start_ms <= MAX_CUE_MS and len(cue.text) <= MAX_CUE_CHARACTERS for cue in CUES)


def test_srt(tmp_path: Path) -> None:
    found = [(event.start, event.end, event.plaintext) for event in pysubs2.load(str(written("srt", tmp_path)))]
    said = [f"{cue.speaker}: {cue.text}" if cue.speaker else cue.text for cue in CUES]
    times = [(cue.start_ms, cue.end_ms, text.replace("-->", "→")) for cue, text in zip(CUES, said, strict=True)]
    assert found == times


def test_vtt(tmp_path: Path) -> None:
    found = webvtt.read(str(written("vtt", tmp_path)))
    assert [(one.start, one.end, one.voice) for one in found][:1] == [("00:00:01.001", "00:00:03.734", "S1")]
    assert [one.voice for one in found] == [cue.speaker for cue in CUES]
    assert '<v S1>Is 1 &lt; 2 &amp; "so" on?</v>' in (tmp_path / "out.vtt").read_text()
    assert [one.start_in_seconds for one in found] == [cue.start_ms // 1000 for cue in CUES]


def test_rttm(tmp_path: Path) -> None:
    annotation = load_rttm(written("rttm", tmp_path))[DOCUMENT.episode_id]
    found = [
        (round(1000 * s.start), round(1000 * s.end), label) for s, _, label in annotation.itertracks(yield_label=True)
    ]
    expected = [(s.start_ms, s.end_ms, s.speaker.replace(" ", "_")) for s in DOCUMENT.segments]
    assert found == expected


def test_ctm_has_a_line_per_word_within_a_millisecond(tmp_path: Path) -> None:
    lines = [line.split() for line in written("ctm", tmp_path).read_text().splitlines()]
    assert [(line[0], line[1], line[4]) for line in lines] == [(DOCUMENT.episode_id, "1", word.text) for word in WORDS]
    assert [round(1000 * float(line[2])) for line in lines] == [word.start_ms for word in WORDS]
    assert [round(1000 * float(line[3])) for line in lines] == [word.end_ms - word.start_ms for word in WORDS]
    assert {len(line) for line in lines if line[4] == "hm"} == {5}
    assert lines[0][5] == "0.875"


def test_stm(tmp_path: Path) -> None:
    path = written("stm", tmp_path)
    lines = [line.split(maxsplit=6) for line in path.read_text().splitlines()]
    assert [line[2] for line in lines] == ["S1", "Anna_Maria", "unknown", "S1"]
    assert [(round(1000 * float(line[3])), round(1000 * float(line[4])), line[5], line[6]) for line in lines] == [
        (turn.start_ms, turn.end_ms, "<en>", turn.text) for turn in DOCUMENT.turns
    ]


def test_textgrid(tmp_path: Path) -> None:
    grid = textgrid.openTextgrid(str(written("textgrid", tmp_path)), includeEmptyIntervals=False)
    assert grid.tierNames == ("S1", "S1 words", "Anna Maria", "Anna Maria words", "unknown", "unknown words")
    assert grid.maxTimestamp == 3700
    found = [(round(1000 * start), round(1000 * end), text) for start, end, text in grid.getTier("S1").entries]
    assert found == [(turn.start_ms, turn.end_ms, turn.text) for turn in DOCUMENT.turns if turn.speaker == "S1"]
    words = [
        (round(1000 * start), round(1000 * end), text) for start, end, text in grid.getTier("Anna Maria words").entries
    ]
    assert words == [(word.start_ms, word.end_ms, word.text) for word in DOCUMENT.turns[1].words]


def test_textgrid_gives_an_overlap_to_the_earlier_interval() -> None:
    turns = (Passage("A", (Word("a", 0, 1_000), Word("b", 900, 1_500), Word("c", 1_100, 1_200))),)
    text = FORMATS["textgrid"].write(Document("e", "a", None, None, None, 2_000, turns, ()))
    assert text.count("xmin = 1.000") == 1
    assert '"c"' not in text


def test_json_and_podcast_json() -> None:
    whole = json.loads(FORMATS["json"].write(DOCUMENT))
    assert [word["word"] for turn in whole["turns"] for word in turn["words"]] == [word.text for word in WORDS]
    assert whole["turns"][2] == {
        "speaker": None, "start_ms": 60_000, "end_ms": 60_333, "text": "hm",
        "words": [{"word": "hm", "start_ms": 60_000, "end_ms": 60_333, "confidence": None}],
    }  # fmt: skip
    captions = json.loads(FORMATS["podcast-json"].write(DOCUMENT))
    assert captions["segments"][0] == {
        "speaker": "S1",
        "startTime": 1.001,
        "endTime": 3.734,
        "body": 'Is 1 < 2 & "so" on?',
    }
    assert "speaker" not in next(one for one in captions["segments"] if one["body"] == "hm")


def test_text_and_markdown() -> None:
    assert FORMATS["txt"].write(DOCUMENT).splitlines()[-1] == "[01:01:01] S1: Bye --> now."
    lines = FORMATS["markdown"].write(DOCUMENT).splitlines()
    assert lines[0] == r"# \*One\* \<b\>"
    assert lines[-1] == r"**S1** `01:01:01` Bye \-\-\> now\."


@pytest.mark.parametrize("name", FORMATS)
def test_an_episode_without_words_makes_a_valid_file(name: str) -> None:
    empty = Document("e", "a", None, None, None, 1_000, (), ())
    assert isinstance(FORMATS[name].write(empty), str)
