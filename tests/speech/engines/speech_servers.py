"""Local servers that answer as SoulX-Podcast's API and OpenAI-compatible servers were found to, faults included."""

from __future__ import annotations

import base64
import email
import io
import json
import re
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

RATE_HZ = 24_000


def tone(characters: int, seed: int = 0, *, silent: bool = False) -> bytes:
    """A WAV file of mono int16 at 24 kHz: 15 characters a second."""
    count = max(1, characters) * RATE_HZ // 15
    noise = np.random.default_rng(seed).normal(0, 3_000, count).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE_HZ)
        writer.writeframes((np.zeros_like(noise) if silent else noise).tobytes())
    return file.getvalue()


@dataclass
class Seen:
    """What a server was asked, and what it is to do wrong."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Taken from the front, one for each request; none: it works."""
    at_once: int = 0
    most_at_once: int = 0
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    work_s: float = 0.0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: Seen

    def log_message(self, *args: object) -> None: ...

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def send(self, status: int, body: bytes | dict[str, Any], kind: str = "audio/wav", **headers: str) -> None:
        if isinstance(body, dict):
            body, kind = json.dumps(body).encode(), "application/json"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def fault(self, characters: int) -> bool:
        """Do what is wrong with this request, if anything."""
        kind = self.seen.faults.pop(0) if self.seen.faults else ""
        if kind == "500":
            self.send(500, {"error": "InternalError", "message": "CUDA error: device-side assert triggered"})
        elif kind == "429":
            self.send(429, {"detail": "Too many requests"}, Retry_After="7")
        elif kind == "503":
            self.send(503, {"detail": "TTS engine model is not currently loaded or available."})
        elif kind == "silence":
            self.send(200, tone(characters, silent=True))
        elif kind == "cut":
            self.send(200, tone(max(1, characters // 4)))
        elif kind == "endless":
            self.send(200, tone(characters * 10 + 200))
        elif kind == "page":
            self.send(200, b"<html>502 Bad Gateway</html>", "text/html")
        elif kind == "hang up":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(tone(10)[:200])
            self.close_connection = True
        return bool(kind)

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self.seen.lock:
            self.seen.at_once += 1
            self.seen.most_at_once = max(self.seen.most_at_once, self.seen.at_once)
        time.sleep(self.seen.work_s)
        try:
            yield
        finally:
            with self.seen.lock:
                self.seen.at_once -= 1


class _SoulX(_Handler):
    def do_POST(self) -> None:
        form = self._form()
        self.seen.requests.append({"path": self.path, **form})
        prompts = form["prompt_texts"] if self.path == "/generate" else self._json_array(form["prompt_texts"][0])
        if prompts is None or len(prompts) != len(form["prompt_audio"]):
            return self.send(400, {"error": "BadRequest", "message": "prompt_audio and prompt_texts differ in number"})
        text = form["dialogue_text"][0]
        if not text.startswith("[S1]"):
            return self.send(400, {"error": "BadRequest", "message": "no speaker tags"})
        said = re.match(r"\[S1\]([^\[\]\n]*)", text)[1]  # it ends at a bracket, and has no DOTALL
        with self.counted():
            if self.path == "/generate":
                return None if self.fault(len(said)) else self.send(200, tone(len(said), int(form["seed"][0])))
            task = f"task{len(self.seen.tasks)}"
            kind = self.seen.faults.pop(0) if self.seen.faults else ""
            self.seen.tasks[task] = {"asked": 0, "said": said, "seed": int(form["seed"][0]), "fault": kind}
            self.send(200, {"task_id": task, "status": "pending", "created_at": "now", "message": "queued"})
        return None

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2].removesuffix(".wav")
        task = self.seen.tasks.get(name)
        if task is None:
            return self.send(404, {"detail": "Task not found"})
        if self.path.startswith("/download/"):
            return self.send(200, tone(len(task["said"]), task["seed"]))
        task["asked"] += 1
        if task["fault"] == "lost":
            del self.seen.tasks[name]
        if task["fault"] == "failed" and task["asked"] > 1:
            return self.send(
                200,
                {
                    "task_id": name,
                    "status": "failed",
                    "progress": 20,
                    "error": "'NoneType' object is not subscriptable",
                },
            )
        if task["asked"] < 2:
            return self.send(
                200, {"task_id": name, "status": "processing", "progress": 20, "result_url": None, "error": None}
            )
        self.send(
            200,
            {
                "task_id": name,
                "status": "completed",
                "progress": 100,
                "result_url": f"/download/{name}.wav",
                "error": None,
            },
        )
        return None

    def _form(self) -> dict[str, list[str]]:
        raw = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + self.body()
        form: dict[str, list[str]] = {}
        for part in email.message_from_bytes(raw).get_payload():
            content = part.get_payload(decode=True)
            name = part.get_param("name", header="content-disposition")
            form.setdefault(name, []).append(f"{len(content)} bytes" if part.get_filename() else content.decode())
        return form

    def _json_array(self, text: str) -> list[str] | None:
        try:
            return json.loads(text)
        except ValueError:
            return None


class OpenAiHandler(_Handler):
    def do_POST(self) -> None:
        asked = json.loads(self.body())
        self.seen.requests.append({"path": self.path, "key": self.headers.get("Authorization"), **asked})
        if self.path != "/v1/audio/speech":
            return self.send(404, {"detail": "Not Found"})
        if asked["voice"] == "nobody":
            return self.send(400, {"error": {"message": "voice nobody not found", "type": "invalid_request_error"}})
        text = asked["input"]
        with self.counted():
            if not self.fault(len(text)):
                # Chatterbox ends after 40 s, whatever is left to say.
                self.send(200, tone(min(len(text), 40 * 15), asked["seed"]))
        return None


class _Chatterbox(_Handler):
    """Ends after 40 s, speaks a fixed sentence for empty text, and keeps the last reference."""

    voice = ""

    def do_GET(self) -> None:
        is_loaded = "not loaded" not in self.seen.faults
        self.send(200, {"status": "healthy", "model_loaded": is_loaded, "device": "cpu", "vram_used_gb": 0.0})

    def do_POST(self) -> None:
        asked = self._form() if self.path.endswith("-file") else json.loads(self.body())
        type(self).voice = asked.get("reference_audio", type(self).voice)
        self.seen.requests.append({"path": self.path, **asked, "voice": type(self).voice})
        text = asked["text"] or "You need to add some text for me to talk."
        with self.counted():
            if self.fault(len(text)):
                return
            sound = tone(min(len(text), 40 * 15), len(type(self).voice))
        if self.path.endswith("-file"):
            self.send(200, sound)
        else:
            encoded = base64.b64encode(sound).decode()
            self.send(200, {"audio_base64": encoded, "sample_rate": RATE_HZ, "duration_seconds": len(sound) / 48_000})

    def _form(self) -> dict[str, Any]:
        raw = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + self.body()
        found: dict[str, Any] = {}
        for part in email.message_from_bytes(raw).get_payload():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            found[name] = content.hex()[:400] if name == "reference_audio" else content.decode()
        return found


@contextmanager
def _serving(handler: type[_Handler], **seen: Any) -> Iterator[Seen]:
    state = Seen(**seen)
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"seen": state})) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def soulx_server(**seen: Any) -> Any:
    return _serving(_SoulX, **seen)


def openai_server(**seen: Any) -> Any:
    return _serving(OpenAiHandler, **seen)


def chatterbox_server(**seen: Any) -> Any:
    return _serving(_Chatterbox, **seen)
