"""Inputs and results of engines. Times are integer milliseconds on the decoded timeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SAMPLE_RATE_HZ = 16_000
"""Every waveform that an engine sees: 16 kHz, mono, int16."""


@dataclass(frozen=True, slots=True)
class Span:
    """The part `[start_ms, end_ms)` of the timeline."""

    start_ms: int
    end_ms: int

    @property
    def duration_ms(self) -> int:
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True)
class Recording:
    """The decoded audio of one acquisition: the input of an engine."""

    episode_id: str
    audio_sha256: str
    waveform_path: Path
    """A WAV file: 16 kHz, mono, int16."""
    language: str | None = None
    """Normalised primary tag from the catalogue (`en`, `zh`), None if unknown."""
    report: Callable[[int], None] = field(default=lambda _: None, compare=False, repr=False)
    """An engine calls this during its work: how much of the audio it has processed. It may raise to end the work."""

    @property
    def duration_ms(self) -> int:
        """Of the waveform, by the size of its file; 0 if there is none any more."""
        size = self.waveform_path.stat().st_size if self.waveform_path.exists() else 0
        return size // (2 * SAMPLE_RATE_HZ // 1000)

    def samples(self) -> np.ndarray:
        """The waveform as a read-only memory map, int16, shape (n,)."""
        return mapped_samples(self.waveform_path)


def mapped_samples(path: Path) -> np.ndarray:
    """The waveform as a read-only int16 memory map, shape (n,). Raises ValueError for any other kind of WAV.

    The map stays readable after the file is evicted.
    """
    from scipy.io import wavfile

    rate_hz, samples = wavfile.read(path, mmap=True)
    if (rate_hz, samples.ndim, samples.dtype) != (SAMPLE_RATE_HZ, 1, np.int16):
        raise ValueError(f"{path} is {rate_hz} Hz, {samples.dtype}, shape {samples.shape}, not 16 kHz mono int16.")
    samples.flags.writeable = False
    return samples


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
    """Posterior in 0–1; None if the engine gives none."""
    chunk_idx: int = 0
    """The silence-bounded chunk it was decoded in."""
    times_estimated: bool = False
    """True if the engine gives no word times and they were spread over the chunk."""


@dataclass(frozen=True, slots=True)
class Diarization:
    """All segments of one recording, ordered by start."""

    segments: tuple[Segment, ...]
    speaker_capacity: int | None = None
    """The most speakers that the engine can distinguish; None if there is no limit."""
    embeddings: dict[str, np.ndarray] = field(default_factory=dict)
    """Speaker → unit vector, if the engine gives one."""
    embedding_model: str | None = None
    embedding_speech_ms: dict[str, int] = field(default_factory=dict)
    """Speaker → speech that the embedding is made from."""
    engine_ms: int = 0
    """The engine's own time on this recording; shared work is split by audio length."""


@dataclass(frozen=True, slots=True)
class SpokenLanguage:
    """A language that is spoken in a recording, by its sound."""

    language: str
    """ISO 639 tag."""
    probability: float
    """Mean over the windows that were examined."""
    share_of_windows: float
    """Share of the windows in which it is the likeliest."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """All words of one recording, ordered by start; silence has none."""

    words: tuple[Word, ...]
    speech_ms: int
    """Duration of the speech that the voice activity detector found."""
    confidence_absent: str | None = None
    """Why the words have no confidence, if they have none."""
    engine_ms: int = 0
    dropped_words: int | None = None
    """Words that the engine wrote and did not keep: loops, text in noise, text after the end of the audio.

    None where the engine does not count them.
    """
    language: str | None = None
    """The language that it was decoded in; None: that of the recording."""
    spoken_languages: tuple[SpokenLanguage, ...] = ()
    """The likeliest first; empty where none was identified."""
    spoken_languages_absent: str | None = None
    """Why none was identified."""


@dataclass(frozen=True, slots=True)
class Line:
    """A turn of a script, normalised for speech: the input of a synthesizer."""

    podcast_id: str
    line_idx: int
    text: str
    path: Path
    """Where the WAV file is put. Its name changes with the voice, the text and the seed."""
    language: str = "en"
    seed: int = 0
    """The same seed gives the same samples, where the engine can do that."""
    reference: Path | None = None
    """A recording of the voice that the line is to have, for engines that clone; an absolute path."""
    report: Callable[[int], None] = field(default=lambda _: None, compare=False, repr=False)
    """An engine calls this during its work: how much it has said. It may raise to end the work."""

    @property
    def episode_id(self) -> str:
        """What progress and error messages call it."""
        return f"{self.podcast_id} turn {self.line_idx}"

    @property
    def duration_ms(self) -> int:
        """Estimated: fifteen characters a second."""
        return len(self.text) * 1000 // 15


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """What a synthesizer made of a line. The samples are in the file that the line names: WAV, mono, int16."""

    duration_ms: int
    sample_rate_hz: int
    samples_sha256: str
    engine_ms: int = 0
    was_there: bool = False
    """Whether an earlier run had made the file."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word or name that every line translates in the same way."""

    source: str
    target: str
    """Empty: nobody has decided; the translator chooses, and no translation is wrong because of it."""
    note: str = ""
    """What it means, for the translator."""


@dataclass(frozen=True, slots=True)
class TranslationRequest:
    """The lines of one lesson, in order: the input of a translator. Lines beside a line are its context."""

    lines: tuple[str, ...]
    source_language: str
    """Normalised primary tag (`en`)."""
    target_language: str
    terms: tuple[Term, ...] = ()
    max_chars: tuple[int | None, ...] = ()
    """Characters that each line may have in the target language; None: no limit. Empty: no limits at all."""
    report: Callable[[int], None] = field(default=lambda _: None, compare=False, repr=False)
    """A translator calls this during its work: how many lines are done. It may raise to end the work."""
    owner: str = ""
    """The lesson, as a name of a folder: what is cached of it can be removed."""

    def __post_init__(self) -> None:
        if self.max_chars and len(self.max_chars) != len(self.lines):
            raise ValueError(f"{len(self.lines)} lines have {len(self.max_chars)} limits.")

    def limit(self, line_idx: int) -> int | None:
        """The most characters of a translated line; None: no limit."""
        return self.max_chars[line_idx] if self.max_chars else None


@dataclass(frozen=True, slots=True)
class TranslatedLine:
    """What a translator made of one line."""

    line_idx: int
    text: str | None
    """None: the line could not be translated. It is never the source instead."""
    problem: str | None = None
    """Why there is no text; or, with a text, what is wrong with it: it has more characters than its limit."""
    n_tries: int = 1
    """Answers that were asked for until this one; 0: it was in the cache."""
