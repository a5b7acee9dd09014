"""Diarizer `nemo`, on a small model of the real class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest

from bench.error_rates import der
from speech.engines import nemo_sortformer
from speech.engines.nemo_sortformer import PRESETS, Preset, segments_of
from speech.engines.protocols import EngineChoice
from speech.errors import BadOutput, EngineUnavailable
from speech.types import Diarization, Segment
from tests.speech.engines.conftest import MODELS, ONE_TO_THREE, Heldout

MODEL = str(MODELS / "sortformer_tiny.nemo")
nemo = pytest.mark.nemo


def test_the_presets_are_those_of_the_publication():
    assert PRESETS["very_high_latency"] == Preset(340, 40, 40, 300, 188)
    assert PRESETS["high_latency"] == Preset(124, 1, 124, 124, 188)
    assert PRESETS["low_latency"] == Preset(6, 7, 188, 144, 188)
    assert PRESETS["ultra_low_latency"] == Preset(3, 1, 188, 144, 188)


def test_the_preset_is_recorded_and_changes_the_fingerprint():
    default = nemo_sortformer.describe(EngineChoice("nemo", MODEL))
    low = nemo_sortformer.describe(EngineChoice("nemo", MODEL, {"preset": "low_latency"}))
    assert default.settings["preset"] == "high_latency"
    assert (low.settings["preset"], low.settings["chunk_len"], low.settings["fifo_len"]) == ("low_latency", 6, 188)
    assert low.fingerprint != default.fingerprint


def test_an_unknown_preset_is_refused_with_the_choice():
    with pytest.raises(EngineUnavailable, match=r"no preset 'fast'.*very_high_latency, high_latency"):
        nemo_sortformer.describe(EngineChoice("nemo", MODEL, {"preset": "fast"}))


def test_segments_are_stretches_of_activity():
    activity = np.array([[0.1, 0.0], [0.2, 0.9], [0.6, 0.7], [1.0, 0.5], [0.8, 0.4], [0.0, 0.8]], np.float32)
    first, second, third = segments_of(activity, duration_ms=470)
    assert (first.speaker, first.start_ms, first.end_ms) == ("S1", 80, 320)  # who speaks first is S1
    assert (second.speaker, second.start_ms, second.end_ms) == ("S2", 160, 400)  # over the other
    assert (third.speaker, third.start_ms, third.end_ms) == ("S1", 400, 470)  # the recording ends inside the last frame
    assert [s.confidence for s in (first, second, third)] == pytest.approx([0.7, 0.8, 0.8])


def test_nobody_speaks():
    assert segments_of(np.full((3, 4), 0.49, np.float32), duration_ms=240) == ()


@nemo
@pytest.mark.parametrize("name", ["pod_solo", "pod_2spk", "pod_overlap", "pod_3spk", "pod_4spk"])
def test_chunk_by_chunk_is_exactly_one_call_on_the_whole(name: str, heldout, sortformer):
    samples = heldout[name].recording.samples()
    whole = np.asarray(samples, np.float32) / 32768
    model = sortformer._model
    _, (expected,) = model.diarize([whole], sample_rate=16_000, batch_size=1, include_tensor_outputs=True)
    assert np.array_equal(nemo_sortformer.speaker_activity(model, samples), expected[0].numpy())


@nemo
@pytest.mark.parametrize("name", ONE_TO_THREE)
def test_der_without_collar_on_one_to_three_speakers(name: str, heldout, sortformer):
    podcast = heldout[name]
    found = _diarize(sortformer, podcast)
    assert der(podcast.segments, found.segments).rate <= 0.05
    assert _speakers(found.segments) == {f"S{i + 1}" for i in range(len(podcast.texts))}


@nemo
def test_four_speakers_are_found(heldout, sortformer):
    found = _diarize(sortformer, heldout["pod_4spk"])
    assert _speakers(found.segments) == {"S1", "S2", "S3", "S4"}
    assert found.speaker_capacity == 4


@nemo
def test_talking_over_each_other_is_two_segments_at_once(heldout, sortformer, write_recording):
    podcast, over_ms = heldout["pod_2spk"], 500
    samples = podcast.recording.samples().astype(int)
    change = next(i for i, (a, b) in enumerate(pairwise(podcast.segments)) if a.speaker != b.speaker)
    first, second = podcast.segments[change], podcast.segments[change + 1]
    until, start = first.end_ms * 16, (first.end_ms - over_ms) * 16
    answer = samples[second.start_ms * 16 :]
    mixed = np.zeros(start + len(answer), int)
    mixed[:until] += samples[:until]
    mixed[start:] += answer
    ((_, found),) = sortformer.diarize([write_recording("over", mixed.clip(-32768, 32767))])
    assert 80 <= _overlap_ms(found.segments) <= over_ms


@nemo
def test_segments_are_ordered_within_the_recording_and_as_sure_as_their_frames(heldout, sortformer):
    podcast = heldout["pod_3spk"]
    segments = _diarize(sortformer, podcast).segments
    assert list(segments) == sorted(segments, key=lambda s: s.start_ms)
    assert max(s.end_ms for s in segments) <= len(podcast.recording.samples()) // 16
    assert all(0.5 <= s.confidence <= 1 for s in segments)


@nemo
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_runs(preset: str, heldout):
    engine = nemo_sortformer.load(EngineChoice("nemo", MODEL, {"preset": preset}), "cpu")
    modules = engine._model.sortformer_modules
    assert (modules.chunk_len, modules.spkcache_len) == (PRESETS[preset].chunk_len, 188)
    podcast = heldout["pod_solo"]
    assert der(podcast.segments, _diarize(engine, podcast).segments).rate <= 0.07


@nemo
def test_labels_hold_over_the_whole_recording(heldout, sortformer, write_recording):
    podcast = heldout["pod_2spk"]
    samples = podcast.recording.samples()
    twice = write_recording("twice", np.tile(samples, 2))
    shift_ms = len(samples) // 16
    truth = [*podcast.segments]
    truth += [replace(s, start_ms=s.start_ms + shift_ms, end_ms=s.end_ms + shift_ms) for s in truth]
    ((_, found),) = sortformer.diarize([twice])
    assert der(truth, found.segments).rate <= 0.05


@nemo
def test_files_of_the_same_name_are_two_recordings(heldout, sortformer, tmp_path):
    recordings = []
    for folder, name in (("a", "pod_solo"), ("b", "pod_overlap")):
        path = tmp_path / folder / "episode.wav"
        path.parent.mkdir()
        path.write_bytes(heldout[name].recording.waveform_path.read_bytes())
        recordings.append(replace(heldout[name].recording, waveform_path=path))
    solo, overlap = (result for _, result in sortformer.diarize(recordings))
    assert (len(_speakers(solo.segments)), len(_speakers(overlap.segments))) == (1, 2)


@nemo
@pytest.mark.parametrize("n_samples", [0, 159, 160, 1_000, 1_280])
def test_recordings_of_next_to_nothing(n_samples: int, sortformer, write_recording):
    ((_, found),) = sortformer.diarize([write_recording("short", np.zeros(n_samples, np.int16))])
    assert isinstance(found, Diarization)
    assert all(segment.end_ms <= n_samples // 16 for segment in found.segments)


@nemo
def test_posteriors_that_are_no_numbers_are_a_failure(heldout):
    import torch

    engine = nemo_sortformer.load(EngineChoice("nemo", MODEL), "cpu")
    with torch.no_grad():
        next(engine._model.encoder.parameters()).fill_(float("nan"))
    recording = heldout["pod_solo"].recording
    ((_, error),) = engine.diarize([recording])
    assert isinstance(error, BadOutput)
    assert "pod_solo" in str(error)


def _diarize(engine, podcast: Heldout) -> Diarization:
    ((recording, found),) = engine.diarize([podcast.recording])
    assert recording is podcast.recording
    assert isinstance(found, Diarization)
    return found


def _overlap_ms(segments: Sequence[Segment]) -> int:
    """Time in which two speakers speak, counted once per pair."""
    return sum(
        max(0, min(a.end_ms, b.end_ms) - max(a.start_ms, b.start_ms))
        for a, b in combinations(segments, 2)
        if a.speaker != b.speaker
    )


def _speakers(segments: Sequence[Segment]) -> set[str]:
    return {segment.speaker for segment in segments}
