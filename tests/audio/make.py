"""Make the small recordings of this folder: `python tests/audio/make.py`. Committed, so that tests need no encoder.

Four seconds of a quiet chord, with a loud burst from 3.0 to 3.5 s: its onset tells whether a timeline has shifted.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

HERE = Path(__file__).parent
SECONDS, BURST_FROM_S, BURST_TO_S = 4.0, 3.0, 3.5


def chord(rate_hz: int, channels: int, seconds: float = SECONDS) -> np.ndarray:
    """Shape (channels, n), float32; the second channel is silent, so that the mix is half as loud."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    chord = sum(np.sin(2 * np.pi * hz * time_s) for hz in (220, 470, 810)) / 3
    level = np.where((time_s >= BURST_FROM_S) & (time_s < BURST_TO_S), 0.9, 0.15)
    samples = np.zeros((channels, len(time_s)), np.float32)
    samples[0] = chord * level
    return samples


def encode(
    name: str,
    container: str,
    codec: str,
    *,
    rate_hz: int = 44_100,
    channels: int = 1,
    bitrate_bps: int | None = 32_000,
    seconds: float = SECONDS,
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    video: bool = False,
) -> bytes:
    layout = "stereo" if channels == 2 else "mono"
    with av.open(str(HERE / name), "w", format=container, options=container_options or {}) as file:
        pictures = file.add_stream("mpeg4", rate=5, options={"flags": "+bitexact"}) if video else None
        sound = file.add_stream(codec, rate=rate_hz, layout=layout, options=codec_options or {}) if codec else None
        if pictures:
            pictures.width, pictures.height = 32, 32
        if sound and bitrate_bps:
            sound.bit_rate = bitrate_bps
        file.start_encoding()
        if pictures:
            for idx in range(round(5 * seconds)):
                picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8)).reformat(format="yuv420p")
                picture.pts, picture.time_base = idx, Fraction(1, 5)
                file.mux(pictures.encode(picture))
            file.mux(pictures.encode(None))
        if sound:
            frame = av.AudioFrame.from_ndarray(chord(rate_hz, channels, seconds), format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
            context = sound.codec_context
            cut = av.AudioResampler(context.format, layout, rate_hz, frame_size=context.frame_size or 1024)
            for piece in (*cut.resample(frame), *cut.resample(None), None):
                file.mux(sound.encode(piece))
    return (HERE / name).read_bytes()


def id3_with_cover(n_bytes: int) -> bytes:
    """An ID3v2 tag that holds bytes which look like nothing in particular."""
    size = bytes(n_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + np.random.default_rng(0).bytes(n_bytes)


def damaged(data: bytes, n_bytes: int, at: float = 0.5) -> bytes:
    start = int(len(data) * at)
    return data[:start] + np.random.default_rng(1).bytes(n_bytes) + data[start + n_bytes :]


def main() -> None:
    vbr = {"flags": "+qscale", "global_quality": str(6 * 118)}
    cbr = encode("cbr.mp3", "mp3", "libmp3lame")
    encode("vbr.mp3", "mp3", "libmp3lame", bitrate_bps=None, codec_options=vbr)
    encode(
        "vbr_no_xing.mp3",
        "mp3",
        "libmp3lame",
        bitrate_bps=None,
        codec_options=vbr,
        container_options={"write_xing": "0"},
    )
    m4a = encode("tone.m4a", "ipod", "aac")
    faststart = encode("faststart.m4a", "ipod", "aac", container_options={"movflags": "+faststart"})
    aac = encode("tone.aac", "adts", "aac")
    opus = encode(
        "tone.opus", "ogg", "libopus", rate_hz=48_000, bitrate_bps=16_000, container_options={"page_duration": "60000"}
    )
    webm = encode(
        "tone.webm",
        "webm",
        "libopus",
        rate_hz=48_000,
        bitrate_bps=16_000,
        container_options={"cluster_time_limit": "60"},
    )
    flac = encode(
        "tone.flac", "flac", "flac", rate_hz=8_000, bitrate_bps=None, codec_options={"compression_level": "0"}
    )
    wav = encode("stereo.wav", "wav", "pcm_s16le", rate_hz=8_000, channels=2, bitrate_bps=None, seconds=1.0)
    encode("video.mp4", "mp4", "aac", video=True)
    encode("video_without_sound.mp4", "mp4", "", video=True, seconds=1.0)

    pieces = [
        encode("ads.mp3", "mp3", "libmp3lame", rate_hz=rate_hz, channels=channels, seconds=1.0)
        for rate_hz, channels in ((48_000, 2), (44_100, 1), (22_050, 1))
    ]
    files = {
        "ads.mp3": pieces[0] + id3_with_cover(900) + pieces[1] + pieces[2],
        "m4a_named.mp3": m4a,
        "page.mp3": b"<!DOCTYPE html>\n<html><head><title>Not here</title></head><body>Please log in.</body></html>\n"
        * 20,
        "random.mp3": np.random.default_rng(2).bytes(4_000),
        "empty.mp3": b"",
        "playlist.mp3": b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\ncbr.mp3\n#EXT-X-ENDLIST\n",
        "hole.mp3": damaged(cbr, 400),
        "hole.m4a": damaged(faststart, 400),
        "hole.aac": damaged(aac, 400),
        "hole.opus": damaged(opus, 100),
        "hole.webm": damaged(webm, 100),
        "hole.flac": damaged(flac, 400),
        "half_lost.mp3": damaged(cbr, len(cbr) // 2, at=0.25),
        "end_lost.mp3": damaged(cbr, len(cbr) - len(cbr) * 2 // 3, at=2 / 3),
        "cut.mp3": cbr[: len(cbr) // 2],
        "cut.m4a": m4a[: len(m4a) // 2],
        "cut_faststart.m4a": faststart[: len(faststart) // 2],
        "cut.opus": opus[: len(opus) // 2],
        "cut.webm": webm[: len(webm) // 2],
        "cut.flac": flac[: len(flac) // 2],
        "cut.wav": wav[: len(wav) // 2],
    }
    for name, data in files.items():
        (HERE / name).write_bytes(data)


if __name__ == "__main__":
    main()
