"""How well near copies and repeated audio are found: episodes of real speech with known ads, jingles and copies.

`python -m bench.duplicates ../shared/data`. The ads and the jingle are speech and tones; each episode is encoded by
itself, at its own bitrate, gain and start, so that no two have the same bytes or the same alignment.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech.audio_matches import Match, find_matches, milliseconds, sketch_of
from speech.fingerprints import fingerprint_items
from speech.repeated_audio import NEAR_COPY_SHARE, RepeatedSpan, repeated_spans, shares
from speech.types import SAMPLE_RATE_HZ

RATES = (32, 48, 64, 96, 128)
N_EPISODES = 10
SEEDS = 1


@dataclass(frozen=True)
class Episode:
    """Decoded audio, and where what is in it."""

    samples: np.ndarray
    content: int
    """Episodes of one number are near copies."""
    inserted: tuple[tuple[str, int, int], ...]
    """Name, start and end (ms) of ads and jingles."""


def episodes(data: Path, seed: int = 0, jingle_s: float = 8.0) -> Iterator[Episode]:
    """Ten episodes with a jingle and an ad of 15, 30 or 60 s, and copies of four without the ad or with another."""
    rng = np.random.default_rng(seed)
    speech = _speech(data)
    rng.shuffle(speech)
    pool = np.concatenate(speech)
    ads = {}
    for seconds in (15, 30, 60):
        ads[f"ad {seconds}"], pool = pool[: seconds * SAMPLE_RATE_HZ], pool[seconds * SAMPLE_RATE_HZ :]
    jingle = melody(seed, jingle_s)
    bodies = np.array_split(pool, N_EPISODES)
    for number in [*range(N_EPISODES), *range(4)]:
        ad = str(rng.choice(list(ads)))
        yield _episode(bodies[number], number, ad, ads[ad], jingle, rng)


def _episode(
    body: np.ndarray, content: int, ad: str, ad_samples: np.ndarray, jingle: np.ndarray, rng: np.random.Generator
) -> Episode:
    cut = int(rng.integers(0, 3 * SAMPLE_RATE_HZ))
    at = int(rng.integers(len(body) // 3, len(body) // 2))
    pause = np.zeros(int(rng.integers(0, SAMPLE_RATE_HZ)), np.int16)
    parts = [("", pause), ("jingle", jingle), ("", body[cut:at]), (ad, ad_samples), ("", body[at:])]
    inserted, position = [], 0
    for name, samples in parts:
        ms = [round(1000 * place / SAMPLE_RATE_HZ) for place in (position, position + len(samples))]
        if name:
            inserted.append((name, *ms))
        position += len(samples)
    samples = np.concatenate([samples for _, samples in parts]).astype(np.float32)
    samples *= 10 ** (float(rng.uniform(-12, 3)) / 20)
    whole = encoded(samples.clip(-32_768, 32_767).astype(np.int16), int(rng.choice(RATES)))
    return Episode(whole, content, tuple(inserted))


def melody(seed: int, seconds: float) -> np.ndarray:
    """A jingle: notes with harmonics."""
    rng = np.random.default_rng(1000 + seed)
    notes = []
    while sum(map(len, notes)) < seconds * SAMPLE_RATE_HZ:
        time_s = np.arange(round(float(rng.uniform(0.1, 0.4)) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        hz = 220 * 2 ** (rng.integers(0, 24, 3) / 12)
        tones = sum(np.sin(2 * np.pi * one * k * time_s) / k for one in hz for k in (1, 2, 3))
        notes.append(tones * np.exp(-4 * time_s) * 3_000)
    return np.concatenate(notes)[: round(seconds * SAMPLE_RATE_HZ)].astype(np.int16)


def encoded(samples: np.ndarray, kbps: int) -> np.ndarray:
    """What MP3 of this bitrate leaves of the samples."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE_HZ)
        stream.bit_rate, stream.layout = 1000 * kbps, "mono"
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        sized = av.AudioResampler(format="s16p", layout="mono", rate=SAMPLE_RATE_HZ, frame_size=576)
        for part in [*sized.resample(frame), *sized.resample(None), None]:
            container.mux(stream.encode(part))
    file.seek(0)
    mono = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(file) as container:
        return np.concatenate([
            part.to_ndarray()[0] for frame in container.decode(audio=0) for part in mono.resample(frame)
        ])  # fmt: skip


def _speech(data: Path) -> list[np.ndarray]:
    """The recordings, also backwards and two semitones higher: other audio with the statistics of speech."""
    import soundfile
    from scipy.signal import resample_poly

    paths = sorted(data.glob("librispeech/**/*.flac")) + sorted(data.glob("diar/*.wav"))
    loud = [samples / np.abs(samples).max() for samples in (soundfile.read(path)[0] for path in paths)]
    recordings = [(samples * 20_000).astype(np.int16) for samples in loud]
    higher = [resample_poly(samples, 25, 28).clip(-32_768, 32_767).astype(np.int16) for samples in recordings]
    return [samples[::step] for samples in recordings + higher for step in (1, -1)]


@dataclass
class Score:
    """What was found of what is there."""

    found: int = 0
    missed: int = 0
    wrong: int = 0
    missed_ms: int = 0
    wrong_ms: int = 0
    true_ms: int = 0


def score_spans(made: list[Episode], spans: list[RepeatedSpan], score: Score) -> None:
    """Spans that cover at least 70 % of an inserted part are found; those that touch none are wrong."""
    for index, episode in enumerate(made):
        own = [milliseconds(span.start, span.n_items) for span in spans if span.recording == index]
        marks = np.zeros(len(episode.samples) // 16 + 1, bool)
        truth = np.zeros_like(marks)
        for start, end in own:
            marks[start:end] = True
        for name, start, end in episode.inserted:
            recurs = sum(name in {part[0] for part in other.inserted} for other in made) > 1
            if not recurs:
                continue
            truth[start:end] = True
            ok = marks[start:end].mean() >= 0.7
            score.found, score.missed = score.found + ok, score.missed + (not ok)
        score.wrong += sum(not truth[start:end].any() for start, end in own)
        score.true_ms += int(truth.sum())
        score.missed_ms += int((truth & ~marks).sum())
        score.wrong_ms += int((marks & ~truth).sum())


def near_copies(matches: list[Match], lengths: list[int]) -> set[tuple[int, int]]:
    """The pairs that are near copies."""
    return {pair for pair, share in shares(matches, lengths).items() if share >= NEAR_COPY_SHARE}


def main() -> None:
    data = Path(sys.argv[1])
    for jingle_s in (8.0, 5.0):
        score, copies, missing, extra, sketches = Score(), 0, 0, 0, 0
        for seed in range(SEEDS):
            made = list(episodes(data, seed, jingle_s))
            items = [fingerprint_items(episode.samples) for episode in made]
            score_spans(made, repeated_spans(items), score)
            matches = find_matches(items)
            found = near_copies(matches, [len(one) for one in items])
            pairs = {(a, b) for a in range(len(made)) for b in range(a + 1, len(made))}
            truth = {(a, b) for a, b in pairs if made[a].content == made[b].content}
            copies, missing, extra = (
                copies + len(truth & found),
                missing + len(truth - found),
                extra + len(found - truth),
            )
            words = [set(sketch_of(one).tolist()) for one in items]
            sketches += sum(len(words[a] & words[b]) >= 2 for a, b in truth)
        print(f"jingle of {jingle_s:g} s: {score}")
        print(f"  near copies: {copies} found, {missing} missed, {extra} wrong; {sketches} by sketch")


if __name__ == "__main__":
    started = time.process_time()
    main()
    print(f"{time.process_time() - started:.0f} CPU-s")
