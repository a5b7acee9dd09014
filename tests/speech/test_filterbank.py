"""The filterbank beside Kaldi's."""

from __future__ import annotations

import numpy as np
import pytest

from speech.filterbank import filterbank, frame_count


def sound() -> np.ndarray:
    rng = np.random.default_rng(3)
    return (rng.normal(0, 1, 20_000) * 4_000 * np.sin(np.arange(20_000) / 900)).astype(np.int16)


def test_it_is_kaldis() -> None:
    knf = pytest.importorskip("kaldi_native_fbank", reason="kaldi_native_fbank is not installed")
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = 80
    kaldi = knf.OnlineFbank(options)
    kaldi.accept_waveform(16_000, sound().astype(np.float32).tolist())
    kaldi.input_finished()
    expected = np.array([kaldi.get_frame(i) for i in range(kaldi.num_frames_ready)])
    np.testing.assert_allclose(filterbank(sound(), 0, frame_count(sound())), expected, atol=0.01)


def test_a_part_is_the_same_as_in_the_whole() -> None:
    whole = filterbank(sound(), 0, frame_count(sound()))
    assert whole.shape == (125, 80)
    np.testing.assert_array_equal(filterbank(sound(), 40, 90), whole[40:90])
