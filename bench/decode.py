"""How fast decoding is, per container: `python -m bench.decode [minutes]`.

Prints times real time per core (process CPU time, best of three), and what `decode_to_wav` costs over a bare
FFmpeg loop that decodes and resamples the same file and throws the samples away.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

from speech.decoding import decode_to_wav

RATE_HZ = 48_000
FORMATS = {  # name: (container, codec, bitrate, options of the container)
    "MP3 128k CBR": ("mp3", "libmp3lame", 128_000, {}),
    "M4A AAC 64k": ("ipod", "aac", 64_000, {"movflags": "+faststart"}),
    "Opus 48k": ("ogg", "libopus", 48_000, {}),
    "WebM Opus 48k": ("webm", "libopus", 48_000, {}),
    "FLAC": ("flac", "flac", None, {}),
    "WAV": ("wav", "pcm_s16le", None, {}),
}


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    print(f"{minutes:g} min of stereo at {RATE_HZ} Hz\n")
    print("| format | decode_to_wav | bare loop | ratio |\n|---|---|---|---|")
    with TemporaryDirectory() as folder:
        for name, (container, codec, bitrate_bps, options) in FORMATS.items():
            source, target = Path(folder, "in"), Path(folder, "out.wav")
            encode(source, container, codec, bitrate_bps, options, minutes)
            ours_s = best_s(lambda source=source, target=target: decode_to_wav(source, target))
            bare_s = best_s(lambda source=source: bare_loop(source))
            print(f"| {name} | {60 * minutes / ours_s:.0f}x | {60 * minutes / bare_s:.0f}x | {ours_s / bare_s:.2f} |")


def best_s(work: Callable[[], object], tries: int = 3) -> float:
    """CPU seconds of the fastest try."""
    times = []
    for _ in range(tries):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def bare_loop(source: Path) -> None:
    resampler = av.AudioResampler("s16", "mono", 16_000)
    with av.open(str(source)) as container:
        for frame in container.decode(audio=0):
            frame.pts = None
            resampler.resample(frame)
        resampler.resample(None)


def encode(
    target: Path, container: str, codec: str, bitrate_bps: int | None, options: dict[str, str], minutes: float
) -> None:
    """A second at a time: the file may be hours long."""
    time_s = np.arange(RATE_HZ) / RATE_HZ
    rng = np.random.default_rng(0)
    with av.open(str(target), "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=RATE_HZ, layout="stereo")
        if bitrate_bps:
            stream.bit_rate = bitrate_bps
        file.start_encoding()
        context = stream.codec_context
        cut = av.AudioResampler(context.format, "stereo", RATE_HZ, frame_size=context.frame_size or 1024)
        for second in range(round(60 * minutes)):
            voice = sum(np.sin(2 * np.pi * hz * (1 + second % 7 / 10) * time_s) for hz in (180, 420, 1130, 2410))
            samples = 0.1 * voice + 0.01 * rng.standard_normal((2, RATE_HZ))
            frame = av.AudioFrame.from_ndarray(samples.astype(np.float32), format="fltp", layout="stereo")
            frame.sample_rate = RATE_HZ
            for piece in cut.resample(frame):
                file.mux(stream.encode(piece))
        for piece in (*cut.resample(None), None):
            file.mux(stream.encode(piece))


if __name__ == "__main__":
    main()
