"""Makes the demo's audio and reference from its dialogues: `python -m demo.make_audio`.

Each turn is spoken by the speaker's voice, trimmed and set to one loudness; the turns are joined with pauses
over faint room tone and encoded. Where a turn truly lies is measured in the encoded file's decoded timeline.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np
import pyloudnorm
from lxml import etree

DEMO = Path(__file__).parent
SAMPLE_RATE_HZ = 16_000

VOICES = {
    "David": ("flite", "-voice", "rms", "-f", "/dev/stdin", "-o"),
    "Susan": ("text2wave", "-F", "16000", "-eval", "(voice_cmu_us_slt_arctic_hts)", "-o"),
    "Frank": ("text2wave", "-F", "16000", "-eval", "(voice_ked_diphone)", "-o"),
}
"""Speaker → the command that reads a text and writes a WAV file to the path that follows."""


@dataclass(frozen=True)
class Encoding:
    """How an episode is published."""

    suffix: str
    codec: str
    rate_hz: int
    bit_rate: int | None = None
    muxer_options: tuple[tuple[str, str], ...] = ()


EPISODES = {
    "bread-takes-its-time": Encoding(".mp3", "libmp3lame", 44_100, 64_000),
    "the-last-train-home": Encoding(".m4a", "aac", 44_100, 48_000, (("movflags", "+faststart"),)),
    "a-garden-on-the-roof": Encoding(".opus", "libopus", 48_000, 32_000),
    "the-sound-of-rain": Encoding(".flac", "flac", SAMPLE_RATE_HZ),
}
"""Slug of a dialogue → how it is published; as many containers as there are episodes."""

BROKEN_UPLOAD = ("a-morning-at-the-market", "the-sound-of-rain", Encoding(".m4a", "aac", 44_100, 48_000))
"""Slug, the dialogue it is cut from, and its encoding: the index stands last in the file and is cut off."""
UPLOADED_SHARE = 0.4

REPRODUCIBLE = ("fflags", "+bitexact")
"""No random stream numbers: the same sound is the same file."""

LOUDNESS_LUFS = -19.0
"""What podcasts are mastered to in mono."""
PEAK = 0.89
"""−1 dBFS, so that lossy codecs do not clip."""
ROOM_TONE = 0.0006
"""About −64 dBFS: real rooms are never digitally silent."""
LEAD_IN_MS, TAIL_MS = 500, 800
PAUSE_MS = (350, 700)
"""Between turns: the shortest and the longest."""
BREATH_MS = 220
"""Between the sentences of a turn; shorter than the 0.3 s from which a pause parts segments (NIST RT)."""
MAX_CODEC_DELAY_MS = 200


@dataclass(frozen=True)
class Turn:
    """What one speaker says without a break, and where it lies in the decoded file."""

    speaker: str
    start_ms: int
    end_ms: int
    text: str


def main() -> None:
    feed = etree.parse(DEMO / "feed.xml")
    titles = {Path(url).stem: item.findtext("title") for item, url in enclosures(feed)}
    mixes = {slug: mix(slug) for slug in EPISODES}
    for slug, encoding in EPISODES.items():
        samples, turns = mixes[slug]
        path = DEMO / "audio" / (slug + encoding.suffix)
        path.write_bytes(encoded(samples, encoding, titles[slug]))
        write_reference(path, titles[slug], samples, turns)
    slug, source, encoding = BROKEN_UPLOAD
    whole = encoded(mixes[source][0], encoding, titles[slug])
    (DEMO / "audio" / (slug + encoding.suffix)).write_bytes(whole[: int(len(whole) * UPLOADED_SHARE)])
    state_lengths(feed)


def dialogue(slug: str) -> list[tuple[str, str]]:
    """Speaker and text of each turn: a line `Speaker: text` each."""
    lines = (DEMO / "dialogues" / f"{slug}.txt").read_text().splitlines()
    return [(speaker, text) for speaker, _, text in (line.partition(": ") for line in lines)]


def mix(slug: str) -> tuple[np.ndarray, list[Turn]]:
    """The episode as int16 samples at 16 kHz, and its turns on that timeline."""
    pauses = random.Random(slug)
    pieces, turns, at = [_silence(LEAD_IN_MS)], [], _samples(LEAD_IN_MS)
    for speaker, text in dialogue(slug):
        speech = spoken(speaker, text)
        turns.append(Turn(speaker, _ms(at), _ms(at + len(speech)), text))
        pieces += [speech, _silence(pauses.randint(*PAUSE_MS))]
        at += len(speech) + len(pieces[-1])
    samples = np.concatenate([*pieces, _silence(TAIL_MS)])
    samples *= min(1.0, PEAK / np.abs(samples).max())
    samples += np.random.default_rng(len(samples)).normal(0.0, ROOM_TONE, len(samples))
    return np.round(samples * 32767).astype(np.int16), turns


def spoken(speaker: str, text: str) -> np.ndarray:
    """The text in the speaker's voice: float samples at 16 kHz, without silence around, at `LOUDNESS_LUFS`."""
    sentences = [_trimmed(synthesised(speaker, sentence)) for sentence in re.split(r"(?<=[.?]) ", text)]
    samples = np.concatenate([piece for sentence in sentences for piece in (_silence(BREATH_MS), sentence)][1:])
    loudness_lufs = pyloudnorm.Meter(SAMPLE_RATE_HZ).integrated_loudness(samples)
    return samples * 10 ** ((LOUDNESS_LUFS - loudness_lufs) / 20)


def synthesised(speaker: str, text: str) -> np.ndarray:
    """What the speaker's voice makes of the text, as it comes."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        subprocess.run([*VOICES[speaker], str(wav)], input=text, text=True, check=True, capture_output=True)
        return decoded(wav)


def encoded(samples: np.ndarray, encoding: Encoding, title: str) -> bytes:
    """The published file."""
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate = SAMPLE_RATE_HZ
    frame.pts = 0  # without it MP4 does not state the encoder's delay, and the sound moves by 23 ms
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("episode" + encoding.suffix)
        with av.open(str(path), "w", options=dict((REPRODUCIBLE, *encoding.muxer_options))) as container:
            container.metadata.update(title=title, artist="The Corner Table")
            stream = container.add_stream(encoding.codec, rate=encoding.rate_hz, layout="mono")
            assert isinstance(stream, av.AudioStream)
            if encoding.bit_rate:
                stream.bit_rate = encoding.bit_rate
            for each in (frame, None):
                container.mux(stream.encode(each))
        return path.read_bytes()


def decoded(path: Path) -> np.ndarray:
    """The whole file as float samples at 16 kHz, mono."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(str(path)) as container:
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def write_reference(path: Path, title: str, samples: np.ndarray, turns: list[Turn]) -> None:
    """Write down who says what and when, moved by what the codec moved the sound."""
    timeline = decoded(path)
    delay_ms = codec_delay_ms(samples, timeline)
    print(f"{path.name}: {len(timeline) / SAMPLE_RATE_HZ:.1f} s, {path.stat().st_size:,} bytes, moved by {delay_ms} ms")
    reference = {
        "title": title,
        "file": f"audio/{path.name}",
        "duration_ms": _ms(len(timeline)),
        "turns": [asdict(Turn(t.speaker, t.start_ms + delay_ms, t.end_ms + delay_ms, t.text)) for t in turns],
    }
    text = json.dumps(reference, indent=2, ensure_ascii=False) + "\n"
    (DEMO / "reference" / f"{path.stem}.json").write_text(text)


def codec_delay_ms(samples: np.ndarray, timeline: np.ndarray) -> int:
    """How much later the sound lies in the decoded file: the peak of the correlation of the first ten seconds."""
    window, reach = 10 * SAMPLE_RATE_HZ, _samples(MAX_CODEC_DELAY_MS)
    spectrum = np.fft.rfft(timeline[:window], 2 * window) * np.conj(np.fft.rfft(samples[:window], 2 * window))
    correlation = np.roll(np.fft.irfft(spectrum), reach)[: 2 * reach + 1]
    return round((int(correlation.argmax()) - reach) * 1000 / SAMPLE_RATE_HZ)


def enclosures(feed: etree._ElementTree) -> list[tuple[etree._Element, str]]:
    """Each item with the URL of its audio."""
    return [(item, item.find("enclosure").get("url")) for item in feed.iter("item")]


def state_lengths(feed: etree._ElementTree) -> None:
    """Write into feed.xml how long each file is, in bytes and in seconds."""
    for item, url in enclosures(feed):
        path = DEMO / "audio" / Path(url).name
        if path.exists():
            item.find("enclosure").set("length", str(path.stat().st_size))
        if path.stem in EPISODES:
            reference = json.loads((DEMO / "reference" / f"{path.stem}.json").read_text())
            duration_s = round(reference["duration_ms"] / 1000)
            item.find("{*}duration").text = str(duration_s)
    (DEMO / "feed.xml").write_bytes(etree.tostring(feed, encoding="UTF-8", xml_declaration=True) + b"\n")


def _trimmed(speech: np.ndarray) -> np.ndarray:
    loud = np.flatnonzero(np.abs(speech) > 0.01 * np.abs(speech).max())
    return speech[loud[0] : loud[-1] + 1]


def _silence(duration_ms: int) -> np.ndarray:
    return np.zeros(_samples(duration_ms))


def _samples(duration_ms: int) -> int:
    return duration_ms * SAMPLE_RATE_HZ // 1000


def _ms(samples: int) -> int:
    return round(samples * 1000 / SAMPLE_RATE_HZ)


if __name__ == "__main__":
    main()
