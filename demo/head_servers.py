"""Local servers that answer as fish-speech and HeyGem were found to, faults included, for the demo and the tests.

HeyGem: status 200 and `text/html` for everything, `success: true` when busy, one task, one request at a time, and the
end of a task is said once. The video of a task is a small picture with the task's sound.
"""

from __future__ import annotations

import io
import json
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import av
import numpy as np

from speech.talking_head.device import HeadDevice

RATE_HZ = 44_100
CHARACTERS_PER_S = 15


@dataclass
class _Task:
    ends_at: float
    fails: bool = False
    hangs: bool = False
    begun: threading.Event = field(default_factory=threading.Event)
    """Whether a part of its file is there."""


@dataclass
class HeyGem:
    """The state of a server, and what it is to do wrong."""

    folder: Path
    """What it sees as /code/data."""
    work_s: float = 0.3
    faults: list[str] = field(default_factory=list)
    """Taken from the front, one for each submission that it looks at; "ok" for none.

    busy, locked, system_error, dropped (it takes the task, and no answer arrives), fails (status 3), hangs,
    lost_end (the end of the task is said, and does not arrive), forgets (the task and its file are gone), and
    query_error (three queries are answered with 9999, and one with 500).
    """
    tasks: dict[str, _Task] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)
    """Codes of the tasks that it has taken."""
    used_by_others: bool = False
    """Busy with what nobody here has asked for."""
    lost_end: set[str] = field(default_factory=set)
    query_errors: int = 0
    url: str = ""

    def busy(self) -> bool:
        return self.used_by_others or any(task.hangs or not self._is_over(task) for task in self.tasks.values())

    @staticmethod
    def _is_over(task: _Task) -> bool:
        return time.monotonic() >= task.ends_at and (task.fails or task.begun.is_set())

    def submit(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """The answer; None: the connection is closed without one."""
        if self.busy():  # before it looks at the parameters
            return _answer(10001, "忙碌中", success=True)
        if not asked.get("audio_url") or not asked.get("video_url"):
            return _answer(10002, "参数缺失", success=False)
        fault = self.faults.pop(0) if self.faults else "ok"
        refusals = {"busy": (10001, True), "locked": (10003, False), "system_error": (9999, False)}
        if fault in refusals:
            code, success = refusals[fault]
            return _answer(code, "error", success=success)
        code = asked["code"]
        self.submitted.append(code)
        self.tasks[code] = _Task(time.monotonic() + self.work_s, fails=fault == "fails", hangs=fault == "hangs")
        if fault == "forgets":
            del self.tasks[code]
        elif fault != "fails":
            threading.Thread(target=self._film, args=(self.tasks[code], code, asked), daemon=True).start()
        if fault == "lost_end":
            self.lost_end.add(code)
        if fault == "query_error":
            self.query_errors = 4
        return None if fault == "dropped" else _answer(10000, 1, success=True)  # an integer, where others have a text

    def query(self, code: str) -> tuple[int, dict[str, Any] | None]:
        if self.query_errors:
            self.query_errors -= 1
            return (500, {}) if self.query_errors == 0 else (200, _answer(9999, "system error", success=False))
        task = self.tasks.get(code)
        if task is None:
            return 200, _answer(10004, "任务不存在", success=True)
        if task.hangs or not self._is_over(task):
            return 200, _answer(10000, "", data={"code": code, "status": 1, "progress": 100, "result": "", "msg": ""})
        del self.tasks[code]  # it says this once
        if code in self.lost_end:
            return 200, None
        if task.fails:
            return 200, _answer(10000, "", data={"code": code, "status": 3, "progress": 5, "msg": "no final result"})
        data = {"code": code, "status": 2, "progress": 100, "result": f"/{code}-r.mp4", "msg": "", "cost": 1,
                "video_duration": 1, "width": 64, "height": 64}  # fmt: skip
        return 200, _answer(10000, "", data=data)

    def _film(self, task: _Task, code: str, asked: dict[str, Any]) -> None:
        """The file grows: half of it is there when the task is over, the rest a little later."""
        content = talking_picture((self.folder / "temp" / Path(asked["audio_url"]).name).read_bytes())
        time.sleep(self.work_s * 0.9)
        path = self.folder / "temp" / f"{code}-r.mp4"
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            task.begun.set()
            time.sleep(self.work_s * 0.4)
            file.write(content[len(content) // 2 :])


@dataclass
class FishSpeech:
    """The state of a server, and what it is to do wrong."""

    folder: Path
    """What it sees as /code/data."""
    faults: list[str] = field(default_factory=list)
    """Taken from the front, one for each text: tiny, no_wav, short, silence, 500; "ok" for none."""
    cold: int = 0
    """So many references are refused, because its recognition is not loaded."""
    texts: list[str] = field(default_factory=list)
    url: str = ""

    def prepare(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = str(asked.get("reference_audio", ""))
        if self.cold:
            self.cold -= 1
            return {"code": -1, "msg": "'NoneType' object has no attribute 'send'"}
        if name.startswith("/") or not (self.folder / name).is_file():
            return {"code": -1, "msg": f"no such file: /code/data/{name}"}
        return {"code": 0, "asr_format_audio_url": f"format_{name}", "reference_audio_text": "what was said"}

    def invoke(self, asked: dict[str, Any]) -> tuple[int, bytes]:
        self.texts.append(asked["text"])
        fault = self.faults.pop(0) if self.faults else "ok"
        if fault == "no_wav":
            return 200, b'{"code": -1, "msg": "inference failed"}'
        if fault == "500":
            return 500, b"Internal Server Error"
        characters = {"tiny": 0, "short": len(asked["text"]) // 5}.get(fault, len(asked["text"]))
        return 200, spoken_tone(characters, silent=fault == "silence")


@dataclass(frozen=True)
class Pair:
    """Both servers of a device, and how podlake knows them."""

    device: HeadDevice
    speech: FishSpeech
    video: HeyGem


def spoken_tone(characters: int, *, silent: bool = False) -> bytes:
    """A WAV file that lasts as long as so many characters of speech."""
    at = np.arange(characters * RATE_HZ // CHARACTERS_PER_S) / RATE_HZ
    samples = 0.0 * at if silent else 8_000 * np.sin(2 * np.pi * 180 * at) * (np.sin(2 * np.pi * 3 * at) > -0.5)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE_HZ)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def talking_picture(wav: bytes, size: int = 64) -> bytes:
    """An MP4 file with this sound and a picture that changes twice a second."""
    written = io.BytesIO()
    with av.open(io.BytesIO(wav)) as source, av.open(written, "w", format="mp4") as target:
        picture: Any = target.add_stream("libx264", rate=2, options={"preset": "ultrafast"})
        picture.width = picture.height = size
        picture.pix_fmt = "yuv420p"
        sound: Any = target.add_stream("aac", rate=RATE_HZ, layout="mono")
        resampler = av.AudioResampler("fltp", "mono", RATE_HZ)
        samples = 0
        for frame in source.decode(audio=0):
            for part in resampler.resample(frame):
                samples += part.samples
                target.mux(sound.encode(part))
        target.mux(sound.encode(None))
        for number in range(max(1, round(2 * samples / RATE_HZ))):
            image = np.full((size, size, 3), 40 * (number % 5), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 2)
            target.mux(picture.encode(frame))
        target.mux(picture.encode(None))
    return written.getvalue()


@contextmanager
def head_servers(folder: Path, count: int, work_s: float = 0.3) -> Iterator[list[Pair]]:
    """So many pairs of servers, on ports of their own."""
    with ExitStack() as stack:
        pairs = []
        for number in range(count):
            speech = FishSpeech(folder / f"voice{number}")
            video = HeyGem(folder / f"face{number}", work_s)
            for state, handler, kind in ((speech, _Speech, ThreadingHTTPServer), (video, _Video, HTTPServer)):
                (state.folder / "temp").mkdir(parents=True, exist_ok=True)
                server = kind(("127.0.0.1", 0), type("Handler", (handler,), {"state": state}))
                threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
                stack.callback(server.server_close)
                stack.callback(server.shutdown)
                state.url = f"http://127.0.0.1:{server.server_address[1]}"
            device = HeadDevice(f"gpu{number}", speech.url, video.url, speech.folder, video.folder)
            pairs.append(Pair(device, speech, video))
        yield pairs


def devices_setting(pairs: list[Pair]) -> str:
    """The value of PODLAKE_HEAD_DEVICES."""
    return json.dumps(
        [
            {
                "name": pair.device.name, "speech_url": pair.device.speech_url, "video_url": pair.device.video_url,
                "speech_folder": str(pair.device.speech_folder), "video_folder": str(pair.device.video_folder),
            }
            for pair in pairs
        ]
    )  # fmt: skip


def _answer(code: int, message: object, *, success: bool = True, data: object = None) -> dict[str, Any]:
    return {"code": code, "success": success, "msg": message, "data": {} if data is None else data}


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...

    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return found

    def send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class _Speech(_Handler):
    state: FishSpeech

    def do_POST(self) -> None:
        asked = self.body()
        if self.path == "/v1/preprocess_and_tran":
            self.send(200, json.dumps(self.state.prepare(asked)).encode(), "application/json")
        else:
            self.send(*self.state.invoke(asked), "audio/wav")


class _Video(_Handler):
    state: HeyGem

    def do_POST(self) -> None:
        asked = self.body()
        if "code" not in asked:
            self.send(500, b"KeyError: 'code'", "text/html; charset=utf-8")
            return
        answer = self.state.submit(asked)
        if answer is not None:
            self.send(200, json.dumps(answer).encode(), "text/html; charset=utf-8")

    def do_GET(self) -> None:
        code = parse_qs(urlsplit(self.path).query).get("code", [""])[0]
        status, answer = self.state.query(code)
        if answer is not None:
            self.send(status, json.dumps(answer).encode(), "text/html; charset=utf-8")
