"""A local server that answers as Kinescope: init, tus uploads with conflicts and broken connections, states, errors."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Kinescope:
    """What the server has, and what it is to do wrong."""

    url: str = ""
    videos: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Id → title, size, the bytes so far, and how often its state was asked."""
    init_faults: list[str] = field(default_factory=list)
    part_faults: list[str] = field(default_factory=list)
    subtitle_faults: list[str] = field(default_factory=list)
    """Of the next uploads of subtitles; "" for none."""
    n_subtitle_uploads: int = 0
    ends: list[str] = field(default_factory=lambda: ["done"])
    """What becomes of each video, in their order; the last one of all others."""
    n_parts: int = 0
    n_offsets: int = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Kinescope

    def log_message(self, *args: object) -> None: ...

    def send(self, status: int, body: dict[str, Any] | None = None, **headers: str) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def error(self, status: int, code: int, message: str, **headers: str) -> None:
        self.send(status, {"error": {"code": code, "message": message, "detail": ""}}, **headers)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/subtitles"):
            return self.add_subtitle(self.path.split("/")[3], content)
        body = json.loads(content)
        if self.headers["Authorization"] != "Bearer secret":
            return self.error(401, 401401, "unauthorized")
        fault = self.service.init_faults.pop(0) if self.service.init_faults else ""
        if fault == "no money":
            return self.error(400, 400207, "not enough money")
        if fault == "429":
            return self.error(429, 429429, "too many requests", Retry_After="3")
        if fault == "500":
            return self.error(500, 500500, "internal error")
        if body["type"] != "video" or not body["parent_id"]:
            return self.error(400, 402402, "validation")
        video_id = f"v{len(self.service.videos) + 1}"
        self.service.videos[video_id] = {**body, "received": b"", "asked": 0, "known": True, "subtitles": []}
        self.send(200, {"data": {"id": video_id, "endpoint": f"{self.service.url}/tus/{video_id}"}})
        return None

    def add_subtitle(self, video_id: str, content: bytes) -> None:
        """`multipart/form-data` with language, description and file."""
        self.service.n_subtitle_uploads += 1
        fault = self.service.subtitle_faults.pop(0) if self.service.subtitle_faults else ""
        if self.headers["Authorization"] != "Bearer secret":
            return self.error(401, 401401, "unauthorized")
        if fault in ("429", "500"):
            headers = {"Retry_After": "3"} if fault == "429" else {}
            return self.error(int(fault), int(f"{fault}{fault}"), "not now", **headers)
        kind = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in message_from_bytes(kind + content).get_payload()
        }
        if fault == "402402" or not {"language", "description", "file"} <= parts.keys():
            return self.error(422, 402402, "validation")
        kept = {"id": f"s{self.service.n_subtitle_uploads}", "video_id": video_id, "file": parts["file"].decode()}
        kept |= {name: parts[name].decode() for name in ("language", "description")}
        self.service.videos[video_id]["subtitles"].append(kept)
        if fault == "lost answer":
            self.close_connection = True
            return self.connection.close()
        return self.send(200, {"data": {name: kept[name] for name in ("id", "video_id", "language", "description")}})

    def do_DELETE(self) -> None:
        _, _, _, video_id, _, subtitle_id = self.path.split("/")
        own = self.service.videos[video_id]["subtitles"]
        gone = [one for one in own if one["id"] == subtitle_id]
        for one in gone:
            own.remove(one)
        self.send(200, {"data": {"success": True}}) if gone else self.error(404, 404404, "not found")

    def do_HEAD(self) -> None:
        self.service.n_offsets += 1
        video = self.service.videos.get(self.path.rpartition("/")[2])
        if video is None or not video["known"]:
            return self.send(404)
        return self.send(200, Upload_Offset=str(len(video["received"])), Tus_Resumable="1.0.0")

    def do_PATCH(self) -> None:
        self.service.n_parts += 1
        video = self.service.videos[self.path.rpartition("/")[2]]
        size = int(self.headers["Content-Length"])
        fault = self.service.part_faults.pop(0) if self.service.part_faults else ""
        if fault == "drop":  # half arrives, then the connection breaks
            video["received"] += self.rfile.read(size // 2)
            self.close_connection = True
            self.connection.close()
            return None
        content = self.rfile.read(size)
        if fault == "lost answer":  # all arrives, and the client does not know
            video["received"] += content
            return self.error(502, 502502, "bad gateway")
        if self.headers["Content-Type"] != "application/offset+octet-stream":
            return self.error(415, 415415, "wrong type")
        if fault == "conflict" or int(self.headers["Upload-Offset"]) != len(video["received"]):
            return self.error(409, 409409, "offset conflict")
        video["received"] += content
        return self.send(204, Upload_Offset=str(len(video["received"])))

    def do_GET(self) -> None:
        if self.path.endswith("/subtitles"):
            return self.send(200, {"data": self.service.videos[self.path.split("/")[3]]["subtitles"] or None})
        video_id = self.path.rpartition("/")[2]
        video = self.service.videos.get(video_id)
        if video is None:
            return self.error(404, 404404, "not found")
        video["asked"] += 1
        number = list(self.service.videos).index(video_id)
        end = self.service.ends[min(number, len(self.service.ends) - 1)]
        is_whole = len(video["received"]) == video["filesize"]
        state = "pending" if not is_whole else "processing" if video["asked"] < 3 else end
        data = {"id": video_id, "status": state, "progress": 50, "play_link": f"https://play.test/{video_id}"}
        self.send(200, {"data": data})
        return None


@contextmanager
def kinescope_server() -> Iterator[Kinescope]:
    service = Kinescope()
    handler = type("Handler", (_Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
