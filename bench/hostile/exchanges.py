"""Hostile ways to answer, for feeds and for audio alike."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from functools import cache
from socket import socket

from bench.hostile.server import Case, Request, answer, endless, raw, redirect, reset, silent

SECRETS = ("hunter2secret", "tok3nInQuery", "cookieSecret9")
"""Parts of URLs that may appear nowhere in a home."""


def slow(good: bytes, kind: str) -> Iterator[tuple[str, Case]]:
    """Servers that never end. Each costs a minute or two, three times."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind.encode() + b"\r\n"
    yield "slow headers", endless(head + b"X-Slow: ", b".", 1)
    yield "a header a second", endless(head, b"X-Header: 1\r\n", 1)
    yield "endless 100 Continue", endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05)
    yield "endless 103 Early Hints", endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 0.05)
    yield "silence", silent
    yield "silence after the headers", endless(head + b"Content-Length: 5000\r\n\r\n", b"", 1)
    yield "a byte a second", endless(head + b"Content-Length: 500000\r\n\r\n" + good[:50], b" ", 1)
    yield "a chunk a second", endless(head + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 1)
    yield (
        "gzip of nothing, for ever",
        endless(head + b"Content-Encoding: gzip\r\n\r\n" + _GZIP_HEAD, b"\0\0\0\xff\xff", 0.5),
    )


_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def exchanges(good: bytes, kind: str) -> Iterator[tuple[str, Case]]:
    """Answers around a good body: wrong lengths, redirects, codings, statuses, headers."""
    of_kind = f"Content-Type: {kind}"
    ok = f"HTTP/1.1 200 OK\r\n{of_kind}\r\n".encode()
    yield from _redirects(good, of_kind)
    yield "length too long", answer(good, "200 OK", of_kind, length=len(good) + 1000)
    yield "length too short", answer(good, "200 OK", of_kind, length=len(good) // 2)
    yield "length negative", answer(good, "200 OK", of_kind, length="-5")
    yield "length of an exabyte", answer(good, "200 OK", of_kind, length=10**18)
    yield "length in words", answer(good, "200 OK", of_kind, length="many")
    yield "length in other digits", raw(ok + "Content-Length: ٣٤\r\n\r\n".encode() + good)
    yield "two lengths", answer(good, "200 OK", of_kind, "Content-Length: 7")
    yield "length and chunks", raw(ok + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + _chunked(good))
    yield "chunks cut off", raw(ok + b"Transfer-Encoding: chunked\r\n\r\n" + _chunked(good)[:-20])
    yield "chunk of a bad size", raw(ok + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + good)
    yield "chunk of 16 exabytes", raw(ok + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + good)
    yield "chunk size without end", raw(ok + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 3_000_000)
    yield "trailers without end", raw(ok + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-T: 1\r\n" * 300_000)
    yield "unknown transfer coding", raw(ok + b"Transfer-Encoding: rot13\r\n\r\n" + good)
    yield from _codings(good, of_kind)
    yield "one header of a megabyte", raw(ok + b"X-Large: " + b"x" * 1_000_000 + b"\r\n\r\n" + good)
    yield "100 000 headers", raw(ok + b"X-Many: 1\r\n" * 100_000 + b"\r\n" + good)
    yield "no end of the headers", raw(ok + b"X-Cut: ")
    yield "header with a NUL", raw(ok + b"X-Nul: a\0b\r\n\r\n" + good)
    yield "ETag in another script", answer(good, "200 OK", of_kind, 'ETag: "\xe9\xff"', "Last-Modified: \xb2")
    yield "ETag of 60 kB", answer(good, "200 OK", of_kind, f'ETag: "{"e" * 60_000}"')
    yield "Set-Cookie", answer(good, "200 OK", of_kind, "Set-Cookie: id=cookieSecret9; Domain=127.1.0.1")
    yield "status 999", answer(good, "999 What")
    yield "status line of another protocol", raw(b"ICY 200 OK\r\n\r\n" + good)
    yield "status line without a number", raw(b"HTTP/9.9 banana\r\n\r\n" + good)
    yield "an SSH server", raw(b"SSH-2.0-OpenSSH_9.9\r\n" + bytes(range(256)))
    yield "a reset", reset
    yield "no answer", raw(b"")
    yield "nothing, with 200", answer(b"", "200 OK", of_kind)
    yield "204", answer(b"", "204 No Content")
    yield (
        "206 that nobody asked for",
        answer(good[:100], "206 Partial Content", f"Content-Range: bytes 0-99/{len(good)}"),
    )
    yield "304 that nobody asked for", answer(b"", "304 Not Modified", length=None)
    yield "401", answer(b"who?", "401 Unauthorized", 'WWW-Authenticate: Basic realm="x"')
    yield "404 that repeats the request", _repeating
    yield "404", answer(b"gone", "404 Not Found")
    yield "410", answer(b"gone", "410 Gone")
    yield "429 for 10^30 seconds", answer(b"", "429 Too Many Requests", f"Retry-After: {10**30}")
    yield "429 for a superscript", answer(b"", "429 Too Many Requests", "Retry-After: \xb2")
    yield "503 for -5 seconds", answer(b"", "503 Service Unavailable", "Retry-After: -5")
    yield (
        "503 until the year 99999",
        answer(b"", "503 Service Unavailable", "Retry-After: Fri, 31 Dec 99999 23:59:59 GMT"),
    )
    yield "500", answer(b"trouble", "500 Internal Server Error")


def _codings(good: bytes, of_kind: str) -> Iterator[tuple[str, Case]]:
    yield "gzip bomb", answer(_bomb(), "200 OK", of_kind, "Content-Encoding: gzip")
    yield "deflate bomb", answer(_bomb(_DEFLATE), "200 OK", of_kind, "Content-Encoding: deflate")
    yield "bomb in bombs", answer(_twice(_bomb()), "200 OK", of_kind, "Content-Encoding: gzip, gzip, gzip")
    yield "coded 100 times over", answer(good, "200 OK", of_kind, f"Content-Encoding: {', '.join(['gzip'] * 100)}")
    yield "gzip bomb in the file itself", answer(_bomb(), "200 OK", of_kind)
    yield "gzip in gzip in gzip", answer(_twice(_twice(good)), "200 OK", of_kind, "Content-Encoding: gzip, gzip, gzip")
    yield "gzip cut off", answer(gzip.compress(good)[:-15], "200 OK", of_kind, "Content-Encoding: gzip")
    yield "gzip that is none", answer(good, "200 OK", of_kind, "Content-Encoding: gzip")
    yield "unknown coding", answer(good, "200 OK", of_kind, "Content-Encoding: sdch, \xff")


def _redirects(good: bytes, of_kind: str) -> Iterator[tuple[str, Case]]:
    yield "redirect to itself", redirect("BASE/x")
    yield "redirect that grows", _growing
    for status in ("301 Moved Permanently", "307 Temporary Redirect", "308 Permanent Redirect"):
        yield f"{status[:3]} to a private server", redirect("http://FORBIDDEN/x", status)
    yield "redirect to metadata", redirect("http://169.254.169.254/latest/meta-data/")
    yield "redirect to a name of this machine", _to_name
    yield "redirect to a decimal address", redirect("http://2130706433:1/")
    yield "redirect to a mapped address", redirect("http://[::ffff:10.0.0.1]/")
    yield "redirect to a file", redirect("file:///etc/passwd")
    yield "redirect to gopher", redirect("gopher://FORBIDDEN/x")
    yield "redirect to data", redirect("data:text/xml,<rss/>")
    yield "redirect to nonsense", redirect("http://[::")
    yield "redirect to empty labels", redirect("http://a..b/x")
    yield "redirect without a location", answer(b"", "302 Found")
    yield "redirect with a password", _with_password(answer(good, "200 OK", of_kind))
    yield "redirect with a password to nothing", _with_password(answer(b"", "404 Not Found"))
    yield "redirect with a password for a port", redirect("http://me:hunter2secret/?token=tok3nInQuery")
    yield "redirect with a password and a bracket", redirect("http://me:hunter2secret@[::/?token=tok3nInQuery")
    yield "header that is none", raw(b"HTTP/1.1 200 OK\r\nhttp://me:hunter2secret@x.test/?token=tok3nInQuery\r\n\r\n")
    yield "redirect to 0.0.0.0", redirect("http://0.0.0.0:FORBIDDEN_PORT/")
    yield "redirect to an octal address", redirect("http://0177.0.0.1:FORBIDDEN_PORT/")
    yield "redirect to a hexadecimal address", redirect("http://0x7f.1:FORBIDDEN_PORT/")
    yield "redirect to this machine in IPv6", redirect("http://[::1]:FORBIDDEN_PORT/")


def _growing(connection: socket, request: Request) -> None:
    redirect(f"BASE{request.path}{request.path}"[:60_000])(connection, request)


def _to_name(connection: socket, request: Request) -> None:
    redirect(f"http://localhost:{request.forbidden.rpartition(':')[2]}/x")(connection, request)


def _repeating(connection: socket, request: Request) -> None:
    answer(b"", f"404 No {request.path}")(connection, request)


def _with_password(then: Case) -> Case:
    def case(connection: socket, request: Request) -> None:
        host = request.base.removeprefix("http://")
        to = redirect(f"http://me:hunter2secret@{host}/signed?token=tok3nInQuery")
        (then if "signed" in request.path else to)(connection, request)

    return case


def _chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def _twice(body: bytes) -> bytes:
    return gzip.compress(gzip.compress(body))


_GZIP, _DEFLATE = 31, 15
"""Formats, as zlib numbers them."""


@cache
def _bomb(wbits: int = _GZIP) -> bytes:
    """300 MB of zeros."""
    coder = zlib.compressobj(9, wbits=wbits)
    return b"".join(coder.compress(bytes(1_000_000)) for _ in range(300)) + coder.flush()
