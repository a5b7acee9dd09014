"""Speakers across episodes: `python -m bench.voices [speakers]`; `python -m bench.voices mean` makes the models' mean.

Ten real readers of `../shared/data`, five episodes each with another gain, codec and noise: pairwise F1 of the links, with
true turns and with the turns that `campplus` finds, at several thresholds. Then the cost for many speakers (random
vectors), by default 1 000 000.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import av
import numpy as np

from bench.recordings import demo, meetings
from speech.decoding import decode_to_wav
from speech.engines.onnx_models import MODELS
from speech.engines.protocols import ON_CPU, EngineChoice
from speech.engines.registry import load_diarizer
from speech.engines.speaker_embeddings import EMBEDDING_MODEL, SpeakerEmbedder, embedding_mean, with_speaker_embeddings
from speech.errors import PodlakeError
from speech.types import SAMPLE_RATE_HZ, Diarization, Recording, Segment, mapped_samples
from speech.voices import SAME_VOICE, DiarizedEpisode, EpisodeSpeaker, Link, feed_of_voice, link_feed
from speech.voices_across import link_across

DATA = Path(__file__).parents[2] / "shared" / "data"
EPISODES_EACH = 5
PAUSE = np.zeros(SAMPLE_RATE_HZ // 2, np.int16)
WINDOW = 6 * SAMPLE_RATE_HZ
"""The length of a turn. Of a reader with few recordings, each turn has another part; a shorter recording is repeated."""
CHANNELS = (
    ("mp3", "libmp3lame", 64_000, 0.9, 30),
    ("opus", "libopus", 24_000, 0.3, 20),
    ("mp4", "aac", 48_000, 0.6, 25),
    ("mp3", "libmp3lame", 32_000, 0.15, 20),
    ("opus", "libopus", 16_000, 1.0, 15),
)
"""Container, codec, bits per second, gain, and dB of speech above the noise of each round."""
ACROSS_THRESHOLDS = (0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75)
THRESHOLDS = (0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60)


@dataclass(frozen=True)
class Episode:
    """An episode with known readers."""

    name: str
    waveform: Path
    turns: tuple[Segment, ...]


def main(n_speakers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = list(episodes(Path(folder), list(readers())))
        print(f"{len(made)} episodes of two of {len(readers())} readers\n")
        true = from_true_turns(made)
        for name, found in (("true turns", true), ("turns of campplus", from_campplus(made))):
            print(name)
            for threshold in THRESHOLDS:
                print(f"  threshold {threshold:.2f}: F1 {f1(linked(found, threshold), readers_of(true, found)):.3f}")
            print(f"  relabelled while episodes arrive one by one: {relabelled(found)}")
            print("  across feeds, each round a feed")
            for threshold in ACROSS_THRESHOLDS:
                pairs = pairs_across(found, threshold, readers_of(true, found))
                print(
                    f"  threshold {threshold:.2f}: F1 {pairs.f1:.3f}, precision {pairs.precision:.3f}, recall {pairs.recall:.3f}"
                )
    print()
    scale(n_speakers)


def readers() -> dict[str, list[Path]]:
    """Reader → recordings."""
    found: dict[str, list[Path]] = {}
    for folder in ("librispeech", "asr"):
        for path in sorted((DATA / folder).glob("*.[fw]*")):
            found.setdefault(path.stem.removeprefix("libri-").partition("-")[0], []).append(path)
    return found


def short_rounds(n_rounds: int) -> list[DiarizedEpisode]:
    """The first rounds with one turn of each of four readers, for the test suite."""
    names = ("1688", "2412", "2033", "jfk")
    with tempfile.TemporaryDirectory() as folder:
        return from_true_turns(episodes(Path(folder), names, CHANNELS[:n_rounds], turns_each=1))


def episodes(
    folder: Path,
    names: Sequence[str],
    channels: Sequence[tuple[str, str, int, float, int]] = CHANNELS,
    turns_each: int = 2,
) -> Iterator[Episode]:
    """Each round has all readers in pairs, other pairs every time, through another channel."""
    noise = np.random.default_rng(0)
    for turn, channel in enumerate(channels):
        order = list(names[:1]) + [names[1 + (i + turn) % (len(names) - 1)] for i in range(len(names) - 1)]
        for first, second in zip(order[::2], order[1::2], strict=True):
            yield _episode(folder, f"{turn}-{first}-{second}", (first, second), turn, turns_each, channel, noise)


def _episode(
    folder: Path, name: str, pair: Sequence[str], turn: int, turns_each: int, channel: tuple[str, str, int, float, int],
    noise: np.random.Generator,
) -> Episode:  # fmt: skip
    sound, turns, at_ms = [PAUSE], [], 500
    for reader, samples in ((r, s) for part in range(turns_each) for r in pair for s in [_part(r, turn, part, folder)]):
        turns.append(Segment(reader, at_ms, at_ms + len(samples) // 16))
        sound += [samples[: len(samples) // 16 * 16], PAUSE]
        at_ms = turns[-1].end_ms + 500
    container, codec, bitrate, gain, snr_db = channel
    speech = np.concatenate(sound).astype(np.float32) * gain
    hiss = noise.standard_normal(len(speech)) * np.sqrt(np.mean(speech**2)) * 10 ** (-snr_db / 20)
    encoded = folder / f"{name}.{container}"
    _encode(encoded, np.clip(speech + hiss, -32_768, 32_767).astype(np.int16), codec, bitrate)
    waveform = folder / f"{name}.wav"
    decode_to_wav(encoded, waveform)
    return Episode(name, waveform, tuple(turns))


def _part(reader: str, turn: int, part: int, folder: Path) -> np.ndarray:
    """What the reader says in this round: a recording of its own if there are enough, else a part of one."""
    own = readers()[reader]
    path = own[(2 * turn + part) % len(own)]
    waveform = folder / f"source-{path.stem}.wav"
    if not waveform.exists():
        decode_to_wav(path, waveform)
    samples = np.array(mapped_samples(waveform))
    if len(own) >= 2 * EPISODES_EACH or len(samples) <= WINDOW:
        return np.resize(samples, WINDOW)
    start = (len(samples) - WINDOW) * (2 * turn + part) // (2 * EPISODES_EACH - 1)
    return samples[start : start + WINDOW]


def _encode(path: Path, samples: np.ndarray, codec: str, bitrate: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48_000 if codec == "libopus" else SAMPLE_RATE_HZ)
        stream.bit_rate, stream.layout = bitrate, "mono"
        resampler = av.AudioResampler(stream.format, "mono", stream.rate, stream.frame_size or 1_024)
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], "s16", "mono")
        frame.rate = SAMPLE_RATE_HZ
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))


def from_true_turns(made: Iterable[Episode]) -> list[DiarizedEpisode]:
    embedder = SpeakerEmbedder(ON_CPU.name)
    return [
        diarized(one.name, with_speaker_embeddings(Diarization(one.turns), mapped_samples(one.waveform), embedder))
        for one in made
    ]


def from_campplus(made: Sequence[Episode]) -> list[DiarizedEpisode]:
    diarizer = load_diarizer(EngineChoice("campplus"), "cpu")
    found = []
    for recording, result in diarizer.diarize(Recording(one.name, "", one.waveform, "en") for one in made):
        if isinstance(result, PodlakeError):
            raise result
        found.append(diarized(recording.episode_id, result))
    diarizer.close()
    return found


def diarized(name: str, result: Diarization) -> DiarizedEpisode:
    speakers = dict.fromkeys(segment.speaker for segment in result.segments)
    return DiarizedEpisode(name, "1", tuple(
        EpisodeSpeaker(one, result.embeddings.get(one), result.embedding_model, result.embedding_speech_ms.get(one))
        for one in speakers
    ))  # fmt: skip


def linked(found: Sequence[DiarizedEpisode], threshold: float = SAME_VOICE) -> dict[tuple[str, str], str | None]:
    """(episode, speaker) → voice."""
    links, _ = link_feed("show", found, {}, same_voice=threshold)
    return {(name, link.speaker): link.voice_id for name, of_one in links.items() for link in of_one}


def readers_of(true: Sequence[DiarizedEpisode], found: Sequence[DiarizedEpisode]) -> dict[tuple[str, str], str]:
    """(episode, speaker) → the most similar true speaker of the episode, whose label is the reader."""
    truth = {one.episode_id: one for one in true}
    of: dict[tuple[str, str], str] = {}
    for episode in found:
        for speaker in episode.speakers:
            if speaker.embedding is not None:
                similar = {
                    t.speaker: float(t.embedding @ speaker.embedding) for t in truth[episode.episode_id].speakers
                }
                of[episode.episode_id, speaker.speaker] = max(similar, key=similar.__getitem__)
    return of


def f1(voices: Mapping[tuple[str, str], str | None], truth: Mapping[tuple[str, str], str]) -> float:
    """Of pairs of speakers: those with one voice against those of one reader."""
    pairs = list(combinations(sorted(truth), 2))
    same = [(voices[a] is not None and voices[a] == voices[b], truth[a] == truth[b]) for a, b in pairs]
    both = sum(found and true for found, true in same)
    return 2 * both / max(1, sum(found for found, _ in same) + sum(true for _, true in same))


@dataclass(frozen=True)
class Pairs:
    """Pairs of voices of different feeds: linked, of one reader, and both."""

    linked: int
    same: int
    both: int

    @property
    def precision(self) -> float:
        return self.both / max(1, self.linked)

    @property
    def recall(self) -> float:
        return self.both / max(1, self.same)

    @property
    def f1(self) -> float:
        return 2 * self.both / max(1, self.linked + self.same)


def pairs_across(found: Sequence[DiarizedEpisode], threshold: float, truth: Mapping[tuple[str, str], str]) -> Pairs:
    """Each round is a feed of its own, in which a reader is heard once: what `podlake voices link --across` links."""
    voices, reader = [], {}
    for feed in sorted({one.episode_id.partition("-")[0] for one in found}):
        links, of_feed = link_feed(feed, [one for one in found if one.episode_id.partition("-")[0] == feed], {})
        voices += list(of_feed)
        for episode, of_one in links.items():
            reader |= {
                link.voice_id: truth[episode, link.speaker]
                for link in of_one
                if link.voice_id is not None and (episode, link.speaker) in truth
            }
    person = {name: same.voice_id for name, same in link_across(voices, {}, threshold).items()}
    pairs = [(a, b) for a, b in combinations(sorted(reader), 2) if feed_of_voice(a) != feed_of_voice(b)]
    linked = {pair for pair in pairs if len({person.get(one, one) for one in pair}) == 1}
    same = {pair for pair in pairs if reader[pair[0]] == reader[pair[1]]}
    return Pairs(len(linked), len(same), len(linked & same))


def relabelled(found: Sequence[DiarizedEpisode]) -> int:
    """Speakers whose voice changes while the episodes arrive one by one."""
    known: dict[str, list[Link]] = {}
    changed = 0
    for count in range(1, len(found) + 1):
        links, _ = link_feed("show", found[:count], known)
        changed += sum(links[name] != before for name, before in known.items())
        known = links
    return changed


def scale(n_speakers: int, per_episode: int = 4, dimensions: int = 192) -> None:
    """Many speakers in feeds of 50 episodes, and in one feed as large as fits, with 20 voices for 200 speakers."""
    for n_feeds in (n_speakers // 200, 1):
        per_feed = min(n_speakers // n_feeds, 100_000)
        started, count, next_s = time.process_time(), 0, 0.0
        for feed in range(n_feeds):
            made = random_feed(feed, per_feed // per_episode, per_episode, dimensions)
            links, _ = link_feed(f"feed-{feed}", made[:-5], {})
            again = time.process_time()
            link_feed(f"feed-{feed}", made, links)
            next_s += time.process_time() - again
            count += per_feed
        total_s = time.process_time() - started
        peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{count:,} speakers of {n_feeds:,} feeds: {total_s:.1f} CPU s with making them, "
              f"of which {next_s / n_feeds:.4f} s a feed to add five episodes; peak {peak_gb:.2f} GB")  # fmt: skip


def random_feed(seed: int, n_episodes: int, per_episode: int, dimensions: int) -> list[DiarizedEpisode]:
    generator = np.random.default_rng(seed)
    people = generator.standard_normal((max(20, n_episodes * per_episode // 10), dimensions)).astype(np.float32)
    found = []
    for number in range(n_episodes):
        own = people[generator.choice(len(people), per_episode, replace=False)]
        noisy = own + 0.6 * generator.standard_normal(own.shape).astype(np.float32)
        noisy = noisy / np.linalg.norm(noisy, axis=1, keepdims=True) + embedding_mean()
        unit = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
        speakers = tuple(EpisodeSpeaker(str(i), vector, EMBEDDING_MODEL, 30_000) for i, vector in enumerate(unit))
        found.append(DiarizedEpisode(f"e{number:07}", "1", speakers))
    return found


def make_mean() -> None:
    """Write the mean embedding of the speakers of meetings (AMI) and of the demo: none of the readers."""
    embedder = SpeakerEmbedder(ON_CPU.name)
    with tempfile.TemporaryDirectory() as folder:
        found = [
            with_speaker_embeddings(Diarization(case.segments), mapped_samples(case.waveform_path), embedder)
            for case in (*meetings(Path(folder)), *demo(Path(folder)))
        ]
    vectors = [vector for one in found for vector in one.embeddings.values()]
    np.save(MODELS / "campplus_mean.npy", np.mean(vectors, axis=0, dtype=np.float32))
    print(f"mean of {len(vectors)} speakers")


if __name__ == "__main__":
    if sys.argv[1:] == ["mean"]:
        make_mean()
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
