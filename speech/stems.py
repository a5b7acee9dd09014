"""Separates the voices of a recording from its music and noise, with Demucs where it is installed.

Demucs brings torch along, and is not a dependency: `pip install demucs`. Without it, the whole sound is the background,
which is made soft while somebody speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from speech.errors import EngineUnavailable
from speech.sound_files import RATE_HZ, even_blocks, read_blocks, write_blocks

BLOCK_S = 120
"""Demucs keeps five times the block in memory."""
OVERLAP_S = 2
"""Blocks are separated with what is around them, and cross-faded."""
_VOICE = "vocals"

Split = Callable[[np.ndarray], np.ndarray]
"""Sound of shape (2, n) at 48 kHz → its voices, of the same shape. The rest is the background."""


def separate(source: Path, vocals: Path, background: Path, model: str) -> None:
    """Write the voices and the background of a recording as FLAC. Raises `EngineUnavailable`."""
    split = load_demucs(model)
    parts = vocals.with_suffix(".voices.npy")
    try:
        with parts.open("wb") as file:
            for voices in separated(read_blocks(source), split):
                file.write(np.ascontiguousarray(voices.T).tobytes())
        known = np.memmap(parts, np.float32, "r").reshape(-1, 2).T
        write_blocks(vocals, (known[:, at : at + RATE_HZ] for at in range(0, known.shape[1], RATE_HZ)), codec="flac")
        write_blocks(background, _rest(source, known), codec="flac")
    finally:
        parts.unlink(missing_ok=True)


def separated(blocks: Iterator[np.ndarray], split: Split) -> Iterator[np.ndarray]:
    """The voices of the blocks, as long as they are. Neighbouring blocks overlap, and are faded into each other."""
    overlap = OVERLAP_S * RATE_HZ
    fade = np.linspace(0.0, 1.0, overlap, dtype=np.float32)
    before: np.ndarray | None = None
    tail: np.ndarray | None = None
    for block in even_blocks(blocks, BLOCK_S * RATE_HZ):
        own = block if before is None else np.concatenate([before, block], axis=1)
        voices = split(own)
        if tail is not None:
            n_faded = min(overlap, voices.shape[1], tail.shape[1])
            voices[:, :n_faded] = tail[:, :n_faded] * (1 - fade[:n_faded]) + voices[:, :n_faded] * fade[:n_faded]
        keep = min(overlap, own.shape[1])
        before, tail = own[:, own.shape[1] - keep :], voices[:, voices.shape[1] - keep :]
        yield voices[:, : voices.shape[1] - keep]
    if tail is not None:
        yield tail


def _rest(source: Path, voices: np.ndarray) -> Iterator[np.ndarray]:
    at = 0
    for block in even_blocks(read_blocks(source), RATE_HZ):
        yield block - voices[:, at : at + block.shape[1]]
        at += block.shape[1]


def load_demucs(name: str) -> Split:
    """The model, on a GPU if there is one. Raises `EngineUnavailable`.

    A path names a model of a local repository: its folder, and the model's file without the suffix.
    """
    path = Path(name).expanduser()
    repository = path.parent if "/" in name else None
    if repository is not None and not repository.is_dir():
        raise EngineUnavailable(f"The folder {repository} of the Demucs model {path.name} does not exist.")
    try:
        import torch
        from demucs.apply import apply_model
        from demucs.pretrained import get_model

        model = get_model(path.name, repository) if repository else get_model(name)
    except Exception as error:
        raise EngineUnavailable(f"Demucs cannot load its model {name}: {error}. Or set PODLAKE_STEMS=duck.") from error
    model.eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    voice = model.sources.index(_VOICE)

    def split(sound: np.ndarray) -> np.ndarray:
        from scipy.signal import resample_poly

        own_hz = model.samplerate
        wave = torch.from_numpy(resample_poly(sound, own_hz, RATE_HZ, axis=1).astype(np.float32))
        mean, spread = wave.mean(), wave.std() + 1e-8  # the model was trained on normalised sound
        with torch.no_grad():
            normal = ((wave - mean) / spread)[None]
            found = apply_model(model, normal, device=device, shifts=0)[0]  # shifts are random: other samples each time
        voices = (found[voice] * spread + mean).cpu().numpy()
        resampled: np.ndarray = resample_poly(voices, RATE_HZ, own_hz, axis=1).astype(np.float32)
        return np.pad(resampled, ((0, 0), (0, max(0, sound.shape[1] - resampled.shape[1]))))[:, : sound.shape[1]]

    return split
