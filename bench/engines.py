"""How fast the engines are: audio seconds per second of decoding, voice activity detection, diarizing, transcribing.

    python -m bench.engines --diarizer nemo:/models/sortformer.nemo --transcriber nemo:/models/parakeet.nemo
    python -m bench.engines --random-weights --device cuda:0 --minutes 60
    python -m bench.engines --batching --transcriber nemo:tests/nemo/parakeet_tdt_tiny.nemo

`--random-weights` builds models as large as the published ones, so that throughput on a GPU can be
measured without a model hub; what they say means nothing. Every rate is also given as a ratio to the
slowest stage: what the pipeline as a whole cannot exceed. What the pipeline adds: `bench.pipeline`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import random_models
from speech.engines import nemo_parakeet, nemo_sortformer, nemo_tdt, registry
from speech.engines.protocols import Diarizer, EngineChoice, Transcriber
from speech.types import SAMPLE_RATE_HZ, Recording
from speech.vad import FOR_TRANSCRIPTION, speech_spans

HELDOUT = Path(__file__).parents[1] / "tests" / "nemo"


@dataclass(frozen=True)
class Measured:
    """One stage on one amount of audio."""

    stage: str
    audio_s: float
    wall_s: float

    @property
    def rtfx(self) -> float:
        """Seconds of audio per second."""
        return self.audio_s / self.wall_s


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        recordings = recordings_of(Path(folder), options.episodes, options.minutes)
        rows = list(_batching(options, recordings) if options.batching else _stages(options, recordings))
    print(table(rows))


def table(rows: Sequence[Measured]) -> str:
    """A line per stage, with its rate as a multiple of the slowest one's."""
    slowest = min(row.rtfx for row in rows)
    lines = [f"{'stage':<36}{'audio s':>9}{'wall s':>9}{'x real time':>13}{'x slowest':>11}"]
    lines += [
        f"{row.stage:<36}{row.audio_s:>9.0f}{row.wall_s:>9.2f}{row.rtfx:>13.1f}{row.rtfx / slowest:>11.2f}"
        for row in rows
    ]
    return "\n".join(lines)


def measured(stage: str, audio_s: float, work: Callable[[], object]) -> Measured:
    """The wall time of `work`; it has to do the work, not promise it."""
    began = time.perf_counter()
    work()
    return Measured(stage, audio_s, time.perf_counter() - began)


def recordings_of(folder: Path, episodes: int, minutes: float) -> list[Recording]:
    """Held-out podcasts, one after the other until an episode is long enough; every episode begins elsewhere."""
    import soundfile

    podcasts = [soundfile.read(path, dtype="int16")[0] for path in sorted(HELDOUT.glob("pod_*.flac"))]
    every_second = np.concatenate(podcasts)
    samples = np.resize(every_second, int(minutes * 60 * SAMPLE_RATE_HZ))
    return [_recording(folder / f"episode{i}.wav", np.roll(samples, i * 7 * SAMPLE_RATE_HZ)) for i in range(episodes)]


def write_mp3(path: Path, samples: np.ndarray) -> None:
    """64 kbit/s, mono: as podcasts come."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mp3", rate=SAMPLE_RATE_HZ, layout="mono", bit_rate=64_000)
        frame = av.AudioFrame.from_ndarray(np.asarray(samples)[None], format="s16p", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        container.mux([*stream.encode(frame), *stream.encode(None)])


def _stages(options: argparse.Namespace, recordings: Sequence[Recording]) -> Iterator[Measured]:
    audio_s = sum(len(recording.samples()) for recording in recordings) / SAMPLE_RATE_HZ
    yield _decoding(recordings)
    yield measured(
        "find speech (Silero, one thread)",
        audio_s,
        lambda: [speech_spans(recording.samples(), FOR_TRANSCRIPTION) for recording in recordings],
    )
    if options.random_weights or options.diarizer:
        diarizer = _diarizer(options)
        list(diarizer.diarize(recordings[:1]))  # warm
        yield measured(f"diarize ({_named(diarizer)})", audio_s, lambda: list(diarizer.diarize(recordings)))
        diarizer.close()
    if options.random_weights or options.transcriber:
        transcriber = _transcriber(options)
        list(transcriber.transcribe(recordings[:1]))
        yield measured(f"transcribe ({_named(transcriber)})", audio_s, lambda: list(transcriber.transcribe(recordings)))
        transcriber.close()


def _decoding(recordings: Sequence[Recording]) -> Measured:
    """From an MP3."""
    from speech.decoding import decode_to_wav

    recording = recordings[0]
    mp3 = recording.waveform_path.with_suffix(".mp3")
    write_mp3(mp3, recording.samples())
    target = recording.waveform_path.with_suffix(".decoded.wav")
    audio_s = len(recording.samples()) / SAMPLE_RATE_HZ
    return measured("decode (MP3, one thread)", audio_s, lambda: decode_to_wav(mp3, target))


def _batching(options: argparse.Namespace, recordings: Sequence[Recording]) -> Iterator[Measured]:
    """64 short chunks in one batch and one at a time."""
    model = _transcriber(options)._model
    samples = np.asarray(recordings[0].samples())
    lengths = np.random.default_rng(0).integers(16_000, 64_000, 64)
    chunks = [samples[i * 8_000 : i * 8_000 + length] for i, length in enumerate(lengths)]
    audio_s = float(lengths.sum()) / SAMPLE_RATE_HZ
    nemo_tdt.decode(model, chunks[:2])
    yield measured("64 chunks, one at a time", audio_s, lambda: [nemo_tdt.decode(model, [chunk]) for chunk in chunks])
    yield measured("64 chunks, one batch", audio_s, lambda: nemo_tdt.decode(model, chunks))


def _diarizer(options: argparse.Namespace) -> Diarizer:
    if not options.random_weights:
        return registry.load_diarizer(EngineChoice.parse(options.diarizer), options.device)
    return nemo_sortformer.Sortformer(
        nemo_sortformer.describe(EngineChoice("nemo", "random/sortformer-118m")),
        random_models.sortformer(options.device),
    )


def _transcriber(options: argparse.Namespace) -> Transcriber:
    if not options.random_weights:
        return registry.load_transcriber(EngineChoice.parse(options.transcriber), options.device)
    model = random_models.parakeet(options.device)
    nemo_tdt.set_decoding(model, cuda_graphs=False)
    batch_s = nemo_parakeet.BATCH_S[options.device.partition(":")[0]]
    return nemo_parakeet.Parakeet(nemo_parakeet.describe(EngineChoice("nemo", "random/parakeet-0.6b")), model, batch_s)


def _named(engine: Diarizer | Transcriber) -> str:
    return Path(engine.spec.model).name


def _recording(path: Path, samples: np.ndarray) -> Recording:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return Recording(path.stem, path.stem, path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--diarizer", help="engine[:model], as in PODLAKE_DIARIZER")
    parser.add_argument("--transcriber", help="engine[:model], as in PODLAKE_TRANSCRIBER")
    parser.add_argument("--random-weights", action="store_true", help="models of the published sizes, without a hub")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N")
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=5.0, help="length of every episode")
    parser.add_argument("--batching", action="store_true", help="what batching gains, and nothing else")
    return parser.parse_args()


if __name__ == "__main__":
    main()
