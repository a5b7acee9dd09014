"""How fast the engines are: audio seconds per second of decoding, voice activity detection, diarizing, transcribing.

    python -m bench.engines --diarizer nemo:/models/sortformer.nemo --transcriber nemo:/models/parakeet.nemo
    python -m bench.engines --random-weights --device cuda:0 --minutes 60
    python -m bench.engines --batching --transcriber nemo:tests/nemo/parakeet_tdt_tiny.nemo

`--random-weights` builds models as large as the published ones (Sortformer, Parakeet, Whisper large-v3-turbo; CAM++ has
its own weights), so that throughput on a GPU can be measured without a model hub; what they say means nothing. Engines
of the other environment run there: NeMo's in that of `make nemo`. It also forces batches to run out of memory. With
`--tiny` the same runs on a CPU in a minute, to see that it works.

Every rate is also given as a ratio to the slowest stage: what the pipeline as a whole cannot exceed. What the pipeline
adds: `bench.pipeline`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import random_engines
from bench.timing import Measured, measured, table
from speech.engines import nemo_tdt, registry
from speech.engines.protocols import Diarizer, EngineChoice, Transcriber
from speech.types import SAMPLE_RATE_HZ, Recording
from speech.vad import FOR_TRANSCRIPTION, speech_spans

HELDOUT = Path(__file__).parents[1] / "tests" / "nemo"


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        recordings = recordings_of(Path(folder), options.episodes, options.minutes)
        rows = []
        for row in _batching(options, recordings) if options.batching else _stages(options, recordings):
            print(f"{row.stage}: {row.wall_s:.1f} s", file=sys.stderr, flush=True)
            rows.append(row)
    print(table(rows))
    if options.random_weights:
        print(random_engines.bottleneck(rows))


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
    if options.random_weights:
        yield from random_engines.stages(options.device, recordings, audio_s, tiny=options.tiny)
        return
    if options.diarizer:
        engine = registry.load_diarizer(EngineChoice.parse(options.diarizer), options.device)
        list(engine.diarize(recordings[:1]))  # warm
        yield measured(f"diarize ({_named(engine)})", audio_s, lambda: list(engine.diarize(recordings)))
        engine.close()
    if options.transcriber:
        transcriber = registry.load_transcriber(EngineChoice.parse(options.transcriber), options.device)
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
    transcriber: Any = registry.load_transcriber(EngineChoice.parse(options.transcriber), options.device)
    model = transcriber._model
    samples = np.asarray(recordings[0].samples())
    lengths = np.random.default_rng(0).integers(16_000, 64_000, 64)
    chunks = [samples[i * 8_000 : i * 8_000 + length] for i, length in enumerate(lengths)]
    audio_s = float(lengths.sum()) / SAMPLE_RATE_HZ
    nemo_tdt.decode(model, chunks[:2])
    yield measured("64 chunks, one at a time", audio_s, lambda: [nemo_tdt.decode(model, [chunk]) for chunk in chunks])
    yield measured("64 chunks, one batch", audio_s, lambda: nemo_tdt.decode(model, chunks))


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
    parser.add_argument("--tiny", action="store_true", help="with --random-weights: small models, to try the command")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N")
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=5.0, help="length of every episode")
    parser.add_argument("--batching", action="store_true", help="what batching gains, and nothing else")
    return parser.parse_args()


if __name__ == "__main__":
    main()
