"""Transcriber `nemo`, on a small model of the real class."""

from __future__ import annotations

from dataclasses import replace
from difflib import SequenceMatcher

import numpy as np
import pytest

from bench.error_rates import WordErrors, cpwer, normalise, wer
from speech.assignment import assign_speakers
from speech.engines import nemo_parakeet
from speech.engines.nemo_tdt import Token, decode, words_of
from speech.engines.protocols import EngineChoice
from speech.errors import BadOutput, EngineUnavailable, OutOfMemory, StorageError
from speech.types import Span, Transcript, Word
from tests.speech.engines.conftest import MODELS, ONE_TO_THREE, Heldout

MODEL = str(MODELS / "parakeet_tdt_tiny.nemo")
nemo = pytest.mark.nemo


# What can be said without NeMo


@pytest.mark.parametrize(
    ("model", "options", "languages"),
    [
        (None, {}, nemo_parakeet.EUROPEAN),
        ("nvidia/parakeet-tdt-0.6b-v2", {}, {"en"}),
        (MODEL, {}, None),
        (MODEL, {"languages": "en, de"}, {"en", "de"}),
    ],
)
def test_languages(model: str | None, options: dict[str, str], languages: set[str] | None):
    assert nemo_parakeet.describe(EngineChoice("nemo", model, options)).languages == languages
    assert len(nemo_parakeet.EUROPEAN) == 25


def test_tokens_become_words_in_their_chunk():
    tokens = [
        Token("▁Wel", 80, 240, 0.9),
        Token("come", 240, 400, 0.7),
        Token(",", 720, 800, 0.8),  # emitted late
        Token("▁every", 880, 960, 1.0),
        Token("one", 960, 960, 1.0),
        Token("▁", 1040, 1040, 0.6),  # a mark on its own begins what follows
        Token("é", 1040, 2000, 0.9),
        Token("▁!", 2080, 2080, 0.5),
    ]
    assert words_of(tokens, Span(10_000, 11_900), chunk_idx=3) == [
        Word("Welcome,", 10_080, 10_400, 0.7, 3),
        Word("everyone", 10_880, 10_960, 1.0, 3),
        Word("é!", 11_040, 11_900, 0.5, 3),
    ]


@pytest.mark.parametrize("texts", [[], ["▁"], ["▁", "▁"]])
def test_no_text_is_no_word(texts: list[str]):
    assert words_of([Token(text, 0, 80, 1.0) for text in texts], Span(0, 1000), 0) == []


def test_punctuation_alone_is_kept():
    assert words_of([Token("▁...", 80, 160, 0.9)], Span(0, 1000), 0) == [Word("...", 80, 160, 0.9)]


# How good it is


@pytest.fixture(scope="module")
def transcripts(heldout, parakeet) -> dict[str, Transcript]:
    podcasts = [podcast.recording for podcast in heldout.values()]
    results = list(parakeet.transcribe(podcasts))
    assert sorted(recording.episode_id for recording, _ in results) == sorted(heldout)
    return {recording.episode_id: result for recording, result in results}


@nemo
def test_wer_of_the_heldout_set(heldout, transcripts):
    errors = WordErrors(0, 0)
    for name, podcast in heldout.items():
        errors += wer(_text(podcast.words), _text(transcripts[name].words))
    assert errors.rate <= 0.10


@nemo
def test_words_start_when_they_are_said(heldout, transcripts):
    apart_ms = [
        abs(said - heard) for name in heldout for said, heard in _matched_starts(heldout[name], transcripts[name])
    ]
    assert np.median(apart_ms) <= 200


@nemo
@pytest.mark.parametrize("name", ONE_TO_THREE)
def test_cpwer_with_the_diarizer(name: str, heldout, transcripts, sortformer):
    ((_, diarization),) = sortformer.diarize([heldout[name].recording])
    words = transcripts[name].words
    texts: dict[str, str] = {}
    for assigned in assign_speakers(words, diarization.segments):
        texts[str(assigned.speaker)] = f"{texts.get(str(assigned.speaker), '')} {words[assigned.word_idx].text}"
    assert cpwer(heldout[name].texts, texts).rate <= 0.10


@nemo
def test_words_are_ordered_within_their_chunks_and_as_sure_as_a_posterior(heldout, transcripts):
    for name, transcript in transcripts.items():
        duration_ms = len(heldout[name].recording.samples()) // 16
        words = transcript.words
        assert [w.start_ms for w in words] == sorted(w.start_ms for w in words)
        assert [w.chunk_idx for w in words] == sorted(w.chunk_idx for w in words)
        assert all(0 <= w.start_ms <= w.end_ms <= duration_ms for w in words)
        assert all(0 < w.confidence <= 1 and not w.times_estimated for w in words)
        assert 0 < transcript.speech_ms <= duration_ms
        assert transcript.engine_ms > 0
    assert max(w.chunk_idx for w in transcripts["pod_4spk"].words) >= 2  # 84 s in chunks of 30 s at most


# That packing changes nothing


@nemo
def test_64_chunks_at_once_say_what_each_says_alone(heldout, parakeet):
    chunks = _sentences(heldout)[:64]
    assert len(chunks) == 64
    together = [_spoken(tokens) for tokens in decode(parakeet._model, chunks)]
    alone = [_spoken(decode(parakeet._model, [chunk])[0]) for chunk in chunks]
    errors = WordErrors(0, 0)
    for one, other in zip(alone, together, strict=True):
        errors += wer(one, other)
    assert errors.reference_words > 250
    assert errors.rate <= 0.01


@nemo
def test_words_and_times_are_those_of_nemo_itself(heldout, parakeet):
    from speech.engines import nemo_runtime

    samples = np.asarray(heldout["pod_solo"].recording.samples())
    own = words_of(decode(parakeet._model, [samples])[0], Span(0, len(samples) // 16), 0)
    other = nemo_runtime.load_model(MODEL, "EncDecRNNTBPEModel", "cpu")
    (theirs,) = other.transcribe([samples.astype(np.float32) / 32768], timestamps=True, verbose=False)
    expected = [(w["word"], round(w["start"] * 1000), round(w["end"] * 1000)) for w in theirs.timestamp["word"]]
    assert [(w.text, w.start_ms, w.end_ms) for w in own] == expected


@nemo
def test_a_chunk_under_a_second_keeps_its_times(heldout, parakeet):
    podcast = heldout["pod_solo"]
    word = podcast.words[-1]
    short = np.asarray(podcast.recording.samples()[word.start_ms * 16 - 1600 : word.end_ms * 16 + 1600])
    assert len(short) < 16_000
    padded = np.pad(short, (0, 16_000 - len(short)))
    assert decode(parakeet._model, [short]) == decode(parakeet._model, [padded])


@nemo
def test_a_recording_comes_out_the_same_in_any_company(heldout, transcripts, parakeet):
    ((_, alone),) = parakeet.transcribe([heldout["pod_2spk"].recording])
    assert wer(_text(transcripts["pod_2spk"].words), _text(alone.words)).errors <= 1


# What goes wrong


@nemo
def test_silence_has_no_words(parakeet, write_recording):
    ((_, transcript),) = parakeet.transcribe([write_recording("silence", np.zeros(80_000, np.int16))])
    assert transcript == Transcript(words=(), speech_ms=0)


@nemo
def test_a_waveform_that_is_gone_costs_its_recording_alone(heldout, parakeet, sortformer, tmp_path):
    gone = replace(heldout["pod_2spk"].recording, waveform_path=tmp_path / "gone.wav")
    for work in (parakeet.transcribe, sortformer.diarize):
        results = dict(work([gone, heldout["pod_solo"].recording]))
        assert isinstance(results[gone], StorageError)
        assert not isinstance(results[heldout["pod_solo"].recording], Exception)


@nemo
def test_out_of_memory_halves_the_batch_and_goes_on(heldout, transcripts, monkeypatch):
    engine = nemo_parakeet.load(EngineChoice("nemo", MODEL, {"batch_s": "240"}), "cpu")
    _limit_memory(monkeypatch, engine._model, seconds=65)
    results = {r.episode_id: result for r, result in engine.transcribe(p.recording for p in heldout.values())}
    assert {name: _text(t.words) for name, t in results.items()}.keys() == transcripts.keys()
    errors = [wer(_text(transcripts[name].words), _text(results[name].words)).errors for name in results]
    assert sum(errors) <= 2
    assert 30 <= engine.batch_s <= 65


@nemo
def test_a_chunk_that_does_not_fit_costs_its_recording_alone(heldout, monkeypatch):
    engine = nemo_parakeet.load(EngineChoice("nemo", MODEL), "cpu")
    _limit_memory(monkeypatch, engine._model, seconds=22)
    podcasts = [heldout[name].recording for name in ("pod_solo", "pod_3spk")]
    results = {recording.episode_id: result for recording, result in engine.transcribe(podcasts)}
    assert isinstance(results["pod_3spk"], OutOfMemory)
    assert len(results["pod_solo"].words) > 25


@nemo
def test_numbers_that_are_none_are_a_failure(heldout):
    import torch

    engine = nemo_parakeet.load(EngineChoice("nemo", MODEL), "cpu")
    with torch.no_grad():
        next(engine._model.encoder.parameters()).fill_(float("nan"))
    ((_, error),) = engine.transcribe([heldout["pod_solo"].recording])
    assert isinstance(error, BadOutput)
    assert "NaN for pod_solo" in str(error)


@nemo
def test_speech_without_a_word_is_a_failure(heldout):
    import torch

    engine = nemo_parakeet.load(EngineChoice("nemo", MODEL), "cpu")
    blank = engine._model.tokenizer.vocab_size
    with torch.no_grad():
        engine._model.joint.joint_net[-1].bias[blank] += 1000
    ((_, error),) = engine.transcribe([heldout["pod_solo"].recording])
    assert isinstance(error, BadOutput)
    assert "no word in 19 s of speech in pod_solo" in str(error)


@nemo
def test_a_diarizer_is_no_transcriber():
    with pytest.raises(
        EngineUnavailable, match=r"is a SortformerEncLabelModel; this engine needs a EncDecRNNTBPEModel"
    ):
        nemo_parakeet.load(EngineChoice("nemo", str(MODELS / "sortformer_tiny.nemo")), "cpu")


def _limit_memory(monkeypatch: pytest.MonkeyPatch, model, seconds: float) -> None:
    """The model runs out of memory, as on a GPU, on batches of more than so many seconds, padding included."""
    import torch

    forward = model.forward

    def limited(*, input_signal, input_signal_length):
        if input_signal.numel() > seconds * 16_000:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(input_signal=input_signal, input_signal_length=input_signal_length)

    monkeypatch.setattr(model, "forward", limited)


def _sentences(heldout: dict[str, Heldout]) -> list[np.ndarray]:
    """Every sentence, and then every first half of one: chunks of 0.5 to 5 s."""
    cuts = [(p.recording.samples(), s.start_ms * 16, s.end_ms * 16) for p in heldout.values() for s in p.segments]
    whole = [np.asarray(samples[start:end]) for samples, start, end in cuts]
    return whole + [chunk[: len(chunk) // 2] for chunk in whole]


def _spoken(tokens: list[Token] | None) -> str:
    assert tokens is not None
    return _text(words_of(tokens, Span(0, 60_000), 0))


def _text(words) -> str:
    return " ".join(word.text for word in words)


def _matched_starts(podcast: Heldout, transcript: Transcript) -> list[tuple[int, int]]:
    """(said, heard) for the words that are the same in both."""
    said = ["".join(normalise(word.text)) for word in podcast.words]
    heard = ["".join(normalise(word.text)) for word in transcript.words]
    blocks = SequenceMatcher(a=said, b=heard, autojunk=False).get_matching_blocks()
    pairs = [(block.a + i, block.b + i) for block in blocks for i in range(block.size)]
    return [(podcast.words[a].start_ms, transcript.words[b].start_ms) for a, b in pairs]
