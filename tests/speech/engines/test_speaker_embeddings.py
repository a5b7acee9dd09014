"""Speaker embeddings for diarizations of any engine, on the demo's voices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from speech.decoding import decode_to_wav
from speech.engines.embedding_diarizer import EmbeddingDiarizer
from speech.engines.protocols import ON_CPU, EngineSpec
from speech.engines.speaker_embeddings import EMBEDDING_MODEL
from speech.errors import BadOutput
from speech.overlaps import alone
from speech.types import Diarization, Recording, Segment, Span

DEMO = Path(__file__).parents[3] / "demo"


class Fixed:
    """A diarizer with given results."""

    spec = EngineSpec("fixed", "fixed", "1")

    def __init__(self, *answers) -> None:
        self.answers = answers

    def diarize(self, recordings):
        yield from zip(recordings, self.answers, strict=True)

    def device_use(self):
        return ON_CPU

    def close(self) -> None:
        """Nothing is held."""


def test_every_speaker_of_any_diarizer_has_an_embedding(tmp_path: Path) -> None:
    turns = json.loads((DEMO / "reference" / "the-sound-of-rain.json").read_text())["turns"]
    segments = tuple(
        Segment(f"{turn['speaker']} {number // 2 % 2}", turn["start_ms"], turn["end_ms"])
        for number, turn in enumerate(turns)
    )
    cough = Segment("cough", segments[0].start_ms, segments[0].start_ms + 200)
    decode_to_wav(DEMO / "audio" / "the-sound-of-rain.flac", tmp_path / "rain.wav")
    recording = Recording("rain", "0" * 64, tmp_path / "rain.wav")
    engine = EmbeddingDiarizer(Fixed(Diarization((*segments, cough)), BadOutput("nothing")))
    (_, found), (_, error) = engine.diarize([recording, recording])
    assert isinstance(error, BadOutput)
    assert found.embedding_model == EMBEDDING_MODEL
    names = sorted(found.embeddings)
    assert names == sorted({segment.speaker for segment in segments})
    assert names == sorted(found.embedding_speech_ms)
    vectors = np.array([found.embeddings[name] for name in names])
    voices = np.array([name.rpartition(" ")[0] for name in names])
    similarity, same = vectors @ vectors.T, voices[:, None] == voices
    assert similarity[same].min() > 0.75
    assert similarity[~same].max() < 0.65


def test_alone_is_where_no_other_speaks() -> None:
    segments = [Segment("a", 0, 1_000), Segment("b", 400, 600), Segment("a", 1_000, 1_500), Segment("c", 1_400, 2_000)]
    assert alone("a", segments) == [Span(0, 400), Span(600, 1_400)]
    assert alone("b", segments) == []
