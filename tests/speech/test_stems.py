"""Blocks of sound: read, cut, separated and written; nothing is lost at the edges."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from speech import stems
from speech.errors import EngineUnavailable
from speech.separation import Separation
from speech.sound_files import RATE_HZ, even_blocks, read_blocks, write_blocks
from speech.stems import separated
from tests.videos import tone, write_video


def test_blocks_of_any_length_become_even_ones() -> None:
    sound = np.arange(2 * 1_000, dtype=np.float32).reshape(2, -1)
    cuts = [0, 3, 3, 450, 451, 999, 1_000]
    found = list(even_blocks((sound[:, a:b] for a, b in pairwise(cuts)), 300))
    assert [block.shape[1] for block in found] == [300, 300, 300, 100]
    assert np.array_equal(np.concatenate(found, axis=1), sound)


def test_separation_in_blocks_gives_all_samples_in_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stems, "BLOCK_S", 3)
    sound = np.random.default_rng(1).normal(0, 0.1, (2, 10 * RATE_HZ + 777)).astype(np.float32)

    def blocks() -> Iterator[np.ndarray]:
        for at in range(0, sound.shape[1], 12_345):
            yield sound[:, at : at + 12_345]

    voices = np.concatenate(list(separated(blocks(), lambda block: block * 0.5)), axis=1)
    assert voices.shape == sound.shape
    assert np.allclose(voices, sound * 0.5, atol=1e-6)


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    sound = np.stack([tone(1.5), tone(1.5, hz=300)])
    path = tmp_path / "a.flac"
    assert write_blocks(path, [sound[:, :50_000], sound[:, 50_000:]], codec="flac") == 72_000
    back = np.concatenate(list(read_blocks(path)), axis=1)
    assert back.shape == (2, 72_000)
    assert np.allclose(back, sound, atol=2e-4)
    assert [one.name for one in tmp_path.iterdir()] == ["a.flac"]


def test_the_sound_of_a_video_is_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", tone(1.0))
    found = np.concatenate(list(read_blocks(path, channels=1, rate_hz=16_000)), axis=1)
    assert found.shape[1] == pytest.approx(16_000, abs=400)
    assert np.abs(found).max() == pytest.approx(0.1, abs=0.02)


def test_demucs_is_used_where_it_is_installed_and_never_replaced_silently() -> None:
    assert Separation.parse("duck").method == "duck"
    assert Separation.parse("demucs:mdx").model == "mdx"
    with pytest.raises(ValueError, match="none of auto"):
        Separation.parse("spleeter")
    try:
        import demucs  # noqa: F401
    except ImportError:
        assert Separation.parse("auto").method == "duck"
        with pytest.raises(EngineUnavailable, match="pip install demucs"):
            _ = Separation.parse("demucs").method
    else:
        assert Separation.parse("auto").method == "demucs"
