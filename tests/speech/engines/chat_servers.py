"""A local server that answers as Ollama and OpenAI-compatible servers were found to, faults included."""

from __future__ import annotations

import json
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Translate = Callable[[str, str], str]
"""Text of a line and the task (terms, translate, adapt, shorten) → its translation."""


@dataclass
class ChatSeen:
    """What the server was asked, what it knows, and what it is to do wrong."""

    translate: Translate
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Taken from the front, one for each request; none: it works."""
    seed: int | None = None
    """With a seed, a third of the answers is wrong: which, and how, depends on the seed and the question alone."""
    other_language: Mapping[str, str] = field(default_factory=dict)
    """Text of a line → its translation into a language that nobody has asked for."""
    done: Counter[str] = field(default_factory=Counter)
    """Faults that were made."""
    asked: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, question: str) -> str:
        with self.lock:
            self.asked[question] += 1
            kind = self.faults.pop(0) if self.faults else ""
            if self.seed is not None:
                chance = random.Random(f"{self.seed} {self.asked[question]} {question}")
                kind = chance.choice(FAULTS) if chance.random() < 1 / 3 else ""
            self.done[kind] += 1
        return kind


FAULTS = (
    "lost line", "more lines", "no number", "no name", "no term", "broken", "other language", "copy", "500", "429", "503",
    "empty", "slow", "length", "error inside", "no key", "page", "swapped",
)  # fmt: skip


class _Chat(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: ChatSeen

    def log_message(self, *args: object) -> None: ...

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.seen.lock:
            self.seen.requests.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
        if self.path not in ("/api/chat", "/v1/chat/completions"):
            return self.send(404, {"detail": "Not Found"})
        if body["model"] == "absent":
            return self.send(404, {"error": 'model "absent" not found, try pulling it first'})
        rules, asked = body["messages"][0]["content"], body["messages"][1]["content"]
        fault = self.seen.fault(f"{body['seed'] if 'seed' in body else body['options']['seed']} {rules} {asked}")
        if not self.refused(fault):
            self.answer(self.content(fault, rules, json.loads(asked)), "length" if fault == "length" else "stop")
        return None

    def refused(self, fault: str) -> bool:
        """Answer without the model, if that is the fault."""
        if fault == "500":
            self.send(500, {"error": "llama runner process has terminated: exit status 2"})
        elif fault == "429":
            self.send(429, {"error": "too many requests"}, Retry_After="7")
        elif fault == "503":
            self.send(503, {"error": "server busy, please try again.  maximum pending requests exceeded"})
        elif fault == "401":
            self.send(401, {"error": {"message": "Incorrect API key provided", "type": "invalid_request_error"}})
        elif fault == "error inside":
            self.send(200, {"error": "an error was encountered while running the model: unexpected EOF"})
        elif fault == "page":
            self.send(200, b"<html>502 Bad Gateway</html>")
        elif fault == "slow":
            self.connection.settimeout(30)
            self.close_connection = True
            self.connection.recv(1)  # until the client goes away
        else:
            return False
        return True

    def content(self, fault: str, rules: str, question: dict[str, Any]) -> str:
        task = "shorten" if "too long to be spoken" in rules else "adapt" if "unnatural" in rules else "translate"
        task = "terms" if "experts of the field" in rules else task
        lines = [
            {"id": line["id"], "note": "", "translation": self.wrong(fault, line["text"], self.seen.translate(line["text"], task))}
            for line in question["lines"]
        ]  # fmt: skip
        if fault == "lost line":
            lines = lines[:-1]
        if fault == "more lines":
            lines.append({"id": len(lines) + 1, "note": "", "translation": "Y nada más."})
        if fault == "swapped" and len(lines) > 1:
            lines[0]["id"], lines[1]["id"] = lines[1]["id"], lines[0]["id"]
        if fault == "no key":
            lines = [{"id": line["id"], "text": line["translation"]} for line in lines]
        text = json.dumps({"lines": lines}, ensure_ascii=False)
        if fault in ("broken", "length"):
            return text[: len(text) * 2 // 3]
        if fault == "list":
            return f"[{text}]"
        if fault == "fence":
            return f"<think>The user wants {{JSON}}.</think>\n```json\n{text}\n```"
        return "" if fault == "empty" else text

    def wrong(self, fault: str, source: str, right: str) -> str:
        if fault == "no number":
            return re.sub(r"\d+(?:[.,]\d+)*", "varios", right)
        if fault == "no name":
            return re.sub(r"\b[A-ZÁÉÍÓÚ]\w+ [A-ZÁÉÍÓÚ]\w+\b", "alguien", right)
        if fault == "no term":
            return right.replace("gradiente", "pendiente").replace("red neuronal", "malla de neuronas")
        if fault == "other language":
            return self.seen.other_language.get(source, right)
        return source if fault == "copy" else right

    def answer(self, text: str, reason: str) -> None:
        message = {"role": "assistant", "content": text}
        if self.path == "/api/chat":
            return self.send(200, {"model": "m", "message": message, "done": True, "done_reason": reason})
        return self.send(200, {"object": "chat.completion", "choices": [{"message": message, "finish_reason": reason}]})

    def send(self, status: int, body: bytes | dict[str, Any], **headers: str) -> None:
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        with suppress(BrokenPipeError, ConnectionResetError):  # a client that has waited for long enough
            self.end_headers()
            self.wfile.write(content)


@contextmanager
def chat_server(translate: Translate, **seen: Any) -> Iterator[ChatSeen]:
    state = ChatSeen(translate, **seen)
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Chat,), {"seen": state})) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
