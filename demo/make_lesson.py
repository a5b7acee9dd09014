"""Makes a lesson for the demo and the tests: the embedded voices read a dialogue, and a picture shows who speaks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from resources.engines.devices import Devices, visible
from resources.engines.voices import Voices, parse_voices
from speech.engines.line_synthesizer import read_wav
from speech.errors import PodlakeError
from speech.mastering import assemble
from speech.types import Line, Span

VOICES = "S1=piper,S2=espeak?variant=f2&words_per_minute=155"
PAUSE_S = 1.3
"""After each line, so that a longer language has room."""
SIZE = (640, 360)
FRAMES_PER_S = 10
RATE_HZ = 48_000
_COLOURS = {"S1": (46, 92, 138), "S2": (138, 84, 46)}


@dataclass(frozen=True)
class Spoken:
    """A line of the lesson, and when it is said."""

    speaker: str
    text: str
    span: Span


def read_dialogue(path: Path) -> list[tuple[str, str]]:
    """Speaker and text of each line `S1: text`."""
    found = []
    for line in path.read_text().splitlines():
        speaker, _, text = line.partition(": ")
        found.append((speaker, text))
    return found


def make_lesson(path: Path, dialogue: Sequence[tuple[str, str]], *, voices: str = VOICES) -> list[Spoken]:
    """Write the video: H.264 and AAC, where the file's ending allows it. Returns its lines."""
    samples, lines = _sound(dialogue, voices)
    with av.open(str(path), "w") as target:
        picture: Any = target.add_stream("libx264", rate=FRAMES_PER_S, options={"preset": "veryfast", "crf": "28"})
        picture.width, picture.height, picture.pix_fmt = *SIZE, "yuv420p"
        sound: Any = target.add_stream("aac", rate=RATE_HZ, layout="mono", bit_rate=96_000)
        for frame in _frames(lines, len(samples) / RATE_HZ):
            target.mux(picture.encode(frame))
        target.mux(picture.encode(None))
        for start in range(0, len(samples), RATE_HZ):
            block = np.ascontiguousarray(samples[start : start + RATE_HZ]).reshape(1, -1)
            part = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            part.sample_rate, part.pts, part.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
            target.mux(sound.encode(part))
        target.mux(sound.encode(None))
    return lines


def _sound(dialogue: Sequence[tuple[str, str]], voices: str) -> tuple[np.ndarray, list[Spoken]]:
    """The lines with pauses, each as loud as the others, over a soft hum, which is the background."""
    chosen = Voices(parse_voices(voices), Devices(visible("none")))
    with tempfile.TemporaryDirectory() as folder:
        wanted = [
            (chosen.choice_for(speaker, "en"), Line("lesson", index, text, Path(folder) / f"{index}.wav"))
            for index, (speaker, text) in enumerate(dialogue)
        ]
        sounds = []
        for said in chosen.say(wanted):
            if isinstance(said.result, PodlakeError):
                raise said.result
            sounds.append(read_wav(said.line.path))
    parts, lines, at = [np.zeros(RATE_HZ // 2, np.float32)], list[Spoken](), RATE_HZ // 2
    for (speaker, text), sound in zip(dialogue, sounds, strict=True):
        whole = assemble([(speaker, sound)])
        (turn,) = whole.turns
        own = whole.samples[turn.start_ms * 48 : turn.end_ms * 48]
        lines.append(Spoken(speaker, text, Span(at // 48, (at + len(own)) // 48)))
        parts += [own, np.zeros(round(PAUSE_S * RATE_HZ), np.float32)]
        at += len(own) + len(parts[-1])
    samples = np.concatenate(parts)
    hum = 0.004 * np.sin(2 * np.pi * 110 * np.arange(len(samples)) / RATE_HZ)
    return (samples + hum).astype(np.float32), lines


def _frames(lines: Sequence[Spoken], duration_s: float) -> Iterator[av.VideoFrame]:
    """The colour is that of who speaks, and a bar moves."""
    font = ImageFont.load_default(28)
    drawn: dict[int, Image.Image] = {}
    n_frames = round(duration_s * FRAMES_PER_S)
    for number in range(n_frames):
        at_ms = 1000 * number // FRAMES_PER_S
        index = max((i for i, line in enumerate(lines) if line.span.start_ms <= at_ms), default=0)
        if index not in drawn:
            drawn[index] = _slide(lines[index], font)
        frame = drawn[index].copy()
        width = max(1, SIZE[0] * (number + 1) // n_frames)
        ImageDraw.Draw(frame).rectangle((0, SIZE[1] - 12, width, SIZE[1]), fill=(240, 240, 240))
        yield av.VideoFrame.from_image(frame)


def _slide(line: Spoken, font: Any) -> Image.Image:
    slide = Image.new("RGB", SIZE, _COLOURS.get(line.speaker, (80, 80, 80)))
    draw = ImageDraw.Draw(slide)
    draw.text((30, 40), line.speaker, font=font, fill="white")
    words, rows = line.text.split(), [""]
    for word in words:
        rows = [*rows[:-1], f"{rows[-1]} {word}".strip()] if len(rows[-1]) + len(word) < 38 else [*rows, word]
    draw.multiline_text((30, 110), "\n".join(rows), font=font, fill="white", spacing=12)
    return slide
