"""The adapter of Demucs with the real library: a small model with random weights, in a local repository of models."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from speech.errors import EngineUnavailable
from speech.sound_files import RATE_HZ, read_blocks, write_blocks
from speech.stems import load_demucs, separate

pytestmark = [
    pytest.mark.nemo,
    pytest.mark.skipif(find_spec("demucs") is None, reason="needs demucs, which make test-nemo installs"),
    pytest.mark.filterwarnings("ignore:std..:UserWarning", "ignore:Initializing zero-element:UserWarning"),
]
SECONDS = 5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tenth of a million weights with the structure of `htdemucs`."""
    import torch
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(1)
    made = HTDemucs(
        sources=["drums", "bass", "other", "vocals"], channels=8, t_layers=1, t_heads=2, nfft=1024, segment=2
    )
    args, kwargs = made._init_args_kwargs
    folder = tmp_path_factory.mktemp("models")
    torch.save({"klass": HTDemucs, "args": args, "kwargs": kwargs, "state": made.state_dict()}, folder / "tiny.th")
    return str(folder / "tiny")


def sound(seconds: float = SECONDS) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, (2, round(seconds * RATE_HZ))).astype(np.float32)


def test_the_voices_have_the_shape_of_the_sound_and_are_the_same_each_time(model: str) -> None:
    split = load_demucs(model)
    for samples in (sound(), sound(0.01)):
        first, second = split(samples), split(samples)
        assert first.shape == samples.shape
        assert first.dtype == np.float32
        assert np.array_equal(first, second)
        assert np.isfinite(first).all()
    assert np.abs(split(sound())).max() > 0


def test_silence_stays_silent(model: str) -> None:
    voices = load_demucs(model)(np.zeros((2, RATE_HZ), np.float32))
    assert np.abs(voices).max() < 1e-4


def test_voices_and_background_together_are_the_recording(model: str, tmp_path: Path) -> None:
    source = tmp_path / "source.flac"
    write_blocks(source, [sound()], codec="flac")
    separate(source, tmp_path / "vocals.flac", tmp_path / "background.flac", model)
    was, voices, rest = (
        np.concatenate(list(read_blocks(tmp_path / f"{name}.flac")), axis=1)
        for name in ("source", "vocals", "background")
    )
    assert was.shape == voices.shape == rest.shape == (2, SECONDS * RATE_HZ)
    assert np.abs(voices).max() > 0
    assert np.allclose(voices + rest, was, atol=3e-4)


@pytest.mark.parametrize(("name", "message"), [("{0}/none/tiny", "does not exist"), ("{0}/large", "cannot load")])
def test_a_model_that_is_not_there_is_an_error(model: str, name: str, message: str) -> None:
    with pytest.raises(EngineUnavailable, match=message):
        load_demucs(name.format(Path(model).parent))
