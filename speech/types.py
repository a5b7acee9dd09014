"""What engines are given and what they give back. Times are integer milliseconds on the decoded timeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SAMPLE_RATE_HZ = 16_000
"""Every waveform that an engine sees: 16 kHz, mono, int16."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the timeline, `[start_ms, end_ms)`."""

    start_ms: int
    end_ms: int

    @property
    def duration_ms(self) -> int:
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True)
class Recording:
    """One acquisition's audio, decoded: what an engine is given."""

    episode_id: str
    audio_sha256: str
    waveform_path: Path
    """A WAV file: 16 kHz, mono, int16."""
    language: str | None = None
    """Normalised primary tag from the catalogue (`en`, `zh`), None where nobody said."""

    def samples(self) -> np.ndarray:
        """The waveform as a read-only memory map, int16, shape (n,)."""
        from speech.waveforms import mapped_samples

        return mapped_samples(self.waveform_path)


@dataclass(frozen=True, slots=True)
class Segment:
    """Who speaks when: a diarizer's output."""

    speaker: str
    start_ms: int
    end_ms: int
    confidence: float | None = None
    """Mean posterior, or similarity to the speaker's voice, in 0–1; None where the engine gives none."""


@dataclass(frozen=True, slots=True)
class Word:
    """A timed word: a transcriber's output."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float | None = None
    """Posterior in 0–1; None where the engine gives none."""
    chunk_idx: int = 0
    """The silence-bounded chunk it was decoded in."""
    times_estimated: bool = False
    """True where the engine gives no word times and they were spread over the chunk."""


@dataclass(frozen=True, slots=True)
class Diarization:
    """All segments of one recording, ordered by start."""

    segments: tuple[Segment, ...]
    speaker_capacity: int | None = None
    """The most speakers that the engine can tell apart; None where there is no such limit."""
    embeddings: dict[str, np.ndarray] = field(default_factory=dict)
    """Speaker → unit vector, where the engine gives one."""
    embedding_model: str | None = None
    embedding_speech_ms: dict[str, int] = field(default_factory=dict)
    """Speaker → speech that the embedding is made from."""
    engine_ms: int = 0
    """The engine's own time on this recording; shared work is split by audio length."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """All words of one recording, ordered by start; none is a valid answer to silence."""

    words: tuple[Word, ...]
    speech_ms: int
    """Speech that the voice activity detector found, and that was therefore decoded."""
    confidence_absent: str | None = None
    """Why words carry no confidence, where they carry none."""
    engine_ms: int = 0
