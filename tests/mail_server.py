"""A real SMTP server on loopback, for tests: it takes messages, or does what is wrong."""

from __future__ import annotations

import socketserver
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread


class MailServer(socketserver.ThreadingTCPServer):
    """`fault` is the answer to DATA; `hang up`: it takes the content, and closes the connection without an answer.

    `at` is a word of SMTP, or `content`: when it has arrived, and before it is answered, `then` is called.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, fault: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Smtp)
        self.fault, self.messages = fault, list[str]()
        self.at, self.then = "", lambda: None

    def arrived(self, what: str) -> None:
        if what == self.at:
            self.at = ""
            self.then()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}"


class _Smtp(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self._say("220 here")
        while line := self.rfile.readline().decode().strip():
            word = line.split()[0].upper()
            self.server.arrived(word)
            if word == "EHLO":
                self._say("250-here\r\n250 8BITMIME")
            elif word == "DATA" and self.server.fault not in ("", "hang up"):
                self._say(self.server.fault)
            elif word == "DATA":
                self._say("354 go on")
                lines = []
                while (data := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(data.decode().removeprefix("."))
                if not data:
                    return  # the client has gone before the end of the content
                self.server.messages.append("".join(lines))
                self.server.arrived("content")
                if self.server.fault == "hang up":
                    return
                self._say("250 taken")
            elif word == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _say(self, text: str) -> None:
        with suppress(OSError):  # the client was killed
            self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def running(server: socketserver.TCPServer) -> Iterator[int]:
    """The port of a server that answers while the block runs."""
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def mail_server(fault: str = "") -> Iterator[MailServer]:
    server = MailServer(fault)
    with running(server):
        yield server
