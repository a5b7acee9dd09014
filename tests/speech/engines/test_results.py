"""Results of engines as JSON: they come back equal, and what no engine can have found is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from speech.engines.results import result_from_json, result_json
from speech.errors import BadOutput
from speech.types import Diarization, Segment, SpokenLanguage, Transcript, Word

TRANSCRIPT = Transcript(
    words=(Word("so", 0, 300, 0.9), Word("\u4f60\u597d", 300, 800, None, 1, times_estimated=True)),
    speech_ms=800,
    engine_ms=70,
    dropped_words=2,
    language="zh",
    spoken_languages=(SpokenLanguage("zh", 0.8, 1.0),),
)
DIARIZATION = Diarization(
    segments=(Segment("A", 0, 900, 0.7), Segment("B", 500, 1000)),
    embeddings={"A": np.array([0.6, -0.8], np.float32)},
    embedding_model="campplus",
    embedding_speech_ms={"A": 500},
    engine_ms=30,
)


def test_a_transcript_comes_back():
    assert result_from_json("transcriber", result_json(TRANSCRIPT), 1000) == TRANSCRIPT


def test_a_diarization_comes_back():
    found = result_from_json("diarizer", result_json(DIARIZATION), 1000)
    assert isinstance(found, Diarization)
    assert found.segments == DIARIZATION.segments
    assert found.embedding_speech_ms == {"A": 500}
    np.testing.assert_array_equal(found.embeddings["A"], DIARIZATION.embeddings["A"])


def test_the_latest_end_is_a_frame_after_the_audio():
    assert result_from_json("transcriber", result_json(TRANSCRIPT), 700) == TRANSCRIPT


@pytest.mark.parametrize(
    ("slot", "change"),
    [
        ("transcriber", {"words": [{"text": "so", "start_ms": 900, "end_ms": 300}]}),
        ("transcriber", {"words": [{"text": "so", "start_ms": -1, "end_ms": 300}]}),
        ("transcriber", {"words": [{"text": "so", "start_ms": 0, "end_ms": 999_999}]}),
        ("transcriber", {"words": [{"text": "so", "start_ms": "0", "end_ms": 300}]}),
        ("transcriber", {"words": [{"text": " ", "start_ms": 0, "end_ms": 300}]}),
        ("transcriber", {"words": [{"text": "o" * 201, "start_ms": 0, "end_ms": 300}]}),
        ("transcriber", {"words": [{"text": "so", "start_ms": 0, "end_ms": 300, "confidence": 1.5}]}),
        ("transcriber", {"words": "so"}),
        ("transcriber", {"speech_ms": None}),
        ("transcriber", {"speech_ms": 90_000}),
        ("transcriber", {"engine_ms": -5}),
        ("transcriber", {"spoken_languages": [{"language": "en", "probability": 3.0, "share_of_windows": 1.0}]}),
        ("diarizer", {"segments": [{"speaker": "", "start_ms": 0, "end_ms": 10}]}),
        ("diarizer", {"segments": [{"speaker": "A", "start_ms": 9, "end_ms": 10}, {"speaker": "A", "start_ms": 0, "end_ms": 1}]}),
        ("diarizer", {"speaker_capacity": 1}),
        ("diarizer", {"embeddings": {"C": [1.0]}}),
        ("diarizer", {"embeddings": {"A": []}}),
        ("diarizer", {"embeddings": {"A": [1.0], "B": [1.0, 0.0]}}),
        ("diarizer", {"embedding_speech_ms": {"A": -1}}),
    ],
)  # fmt: skip
def test_what_no_engine_finds_is_refused(slot, change):
    whole = json.loads(result_json(TRANSCRIPT if slot == "transcriber" else DIARIZATION))
    with pytest.raises(BadOutput):
        result_from_json(slot, json.dumps({**whole, **change}).encode(), 1000)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"words": NaN}', b"\xff", b'{"segments": [], "speech_ms": 0}'])
def test_other_documents_are_refused(data):
    with pytest.raises(BadOutput):
        result_from_json("transcriber", data, 1000)
