"""Hostile downloads: one feed lists an episode for each."""

from __future__ import annotations

import io
import struct
import wave
import zipfile
from collections.abc import Iterator, Mapping
from html import escape
from socket import socket

from bench.hostile.exchanges import exchanges, slow
from bench.hostile.server import Case, Request, answer, endless, raw

KIND = "audio/mpeg"


def sound() -> bytes:
    """A tenth of a second, which podlake can decode."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 16_000, 0, "NONE", ""))
        writer.writeframes(struct.pack("<h", 500) * 1_600)
    return file.getvalue()


def feed_of(urls: Mapping[str, str]) -> bytes:
    """A feed that lists the URLs of all cases, which are newer than the thousands that fill the live window."""
    items = "".join(
        f"<item><title>{escape(name)}</title><guid>{escape(name)}</guid>"
        f"<pubDate>Fri, 02 Jan 2026 08:{n // 60:02}:{n % 60:02} GMT</pubDate>"
        f'<enclosure url="{escape(url)}" length="1" type="audio/mpeg"/></item>'
        for n, (name, url) in enumerate(urls.items())
    )
    head = "<title>Downloads</title><language>en</language>"
    return f'<rss version="2.0"><channel>{head}{items}</channel></rss>'.encode()


def slow_downloads() -> dict[str, Case]:
    head = b"HTTP/1.0 200 OK\r\nicy-name: Radio\r\nicy-br: 128\r\nContent-Type: audio/mpeg\r\n\r\n"
    return {**dict(slow(sound(), KIND)), "live radio stream": endless(head, sound(), 0.1)}


def quick_downloads() -> dict[str, Case]:
    """Those that are refused, or no audio: nothing of them lands beyond `audio`."""
    return {
        **dict(exchanges(b"not audio " * 400, KIND)),
        **dict(_ranges()),
        **dict(_files()),
    }


def _ranges() -> Iterator[tuple[str, Case]]:
    """Servers that break off once, and lie when they are asked for the rest."""
    body = b"no audio at all. " * 4000
    half = len(body) // 2

    def after_a_break(name: str, status: str, content: bytes, *headers: str, etag: str = '"one"', later: str | None = None) -> tuple[str, Case]:  # fmt: skip
        def case(connection: socket, request: Request) -> None:
            if "range" in request.headers:
                answer(content, status, f"ETag: {later or etag}", *headers)(connection, request)
            else:
                answer(body[:half], "200 OK", f"ETag: {etag}", length=len(body))(connection, request)

        return name, case

    partial, end = "206 Partial Content", len(body) - 1
    of = f"Content-Range: bytes {half}-{end}/{len(body)}"
    yield after_a_break(
        "a range from elsewhere", partial, body[:half], f"Content-Range: bytes 0-{half - 1}/{len(body)}"
    )
    yield after_a_break(
        "a range of another length", partial, body[half:], f"Content-Range: bytes {half}-{end}/{len(body) + 7}"
    )
    yield after_a_break("a range without saying which", partial, body[half:])
    yield after_a_break("a range in words", partial, body[half:], "Content-Range: bytes some-more/all")
    yield after_a_break("a range that is longer", partial, body[half:] * 3, of)
    yield after_a_break("a range that is shorter", partial, body[half:-100], of)
    yield after_a_break("a range of another version", partial, body[half:], of, later='"two"')
    yield after_a_break("a range that is zipped", partial, body[half:], of, "Content-Encoding: gzip")
    yield after_a_break(
        "ranges in parts", partial, b"--x\r\n\r\nabc\r\n--x--", "Content-Type: multipart/byteranges; boundary=x"
    )
    yield after_a_break("no range, for ever", "416 Range Not Satisfiable", b"", f"Content-Range: bytes */{half}")
    yield after_a_break("a weak validator", partial, body[half:], of, etag='W/"one"')
    yield after_a_break("an error instead of the rest", "500 Internal Server Error", b"")


def _files() -> Iterator[tuple[str, Case]]:
    """What is no audio, or audio that is broken or names other files."""
    files: dict[str, bytes | str] = {
        "zeros": bytes(1_000_000),
        "random": bytes((n * n * 31 + n * 7) % 256 for n in range(300_000)),
        "a page": "<!DOCTYPE html><html><body>Please log in</body></html>",
        "JSON": '{"error": "not here"}',
        "a feed": "<rss version='2.0'><channel><title>x</title></channel></rss>",
        "a playlist of HLS": "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:10,\nhttp://FORBIDDEN/a.ts\n#EXT-X-ENDLIST\n",
        "a playlist of files": "#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "a playlist of PLS": "[playlist]\nFile1=http://FORBIDDEN/a.mp3\nNumberOfEntries=1\n",
        "a list for FFmpeg": "ffconcat version 1.0\nfile 'http://FORBIDDEN/a.mp3'\nfile '/etc/passwd'\n",
        "a manifest of DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>http://FORBIDDEN/</BaseURL></Period></MPD>',
        "a session description": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "a torrent": b"d8:announce22:http://FORBIDDEN/a4:infod4:name1:aee",
        "an SMIL list": '<smil><body><audio src="http://FORBIDDEN/a.mp3"/></body></smil>',
        "a graph for FFmpeg": "amovie=/etc/passwd",
        "subtitles": "WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n",
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(3000),
        "a document": b"%PDF-1.7\n" + bytes(3000),
        "an archive": _archive(),
        "a program": b"\x7fELF\x02\x01\x01" + bytes(3000),
        "a script": "#!/bin/sh\nrm -rf /\n",
        "WAV of 4 GB": _wav(data_bytes=0xFFFFFFF0),
        "WAV without channels": _wav(channels=0),
        "WAV at 0 Hz": _wav(rate_hz=0),
        "WAV at 4 GHz": _wav(rate_hz=0xFFFFFFFF),
        "WAV of 65 535 channels": _wav(channels=65_535),
        "WAV of 0 bits": _wav(bits=0),
        "WAV of no samples": _wav(n_samples=0),
        "WAV of an unknown codec": _wav(codec=0x1234),
        "ID3 of 256 MB": b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(2000),
        "ID3 alone": b"ID3\x04\0\0\0\0\0\x0a" + bytes(10),
        "MP3 frames of noise": b"\xff\xfb\x90\x00" * 20_000,
        "FLAC of metadata": b"fLaC\x00\0\0\x22" + bytes(34) + b"\x81\xff\xff\xff" + bytes(3000),
        "Ogg of one page": b"OggS\0\x02" + bytes(8) + b"\1\0\0\0" + bytes(8) + b"\xff" + b"\xff" * 255 + bytes(5000),
        "MP4 of atoms in atoms": _atoms(2_000),
        "MP4 of no length": b"\0\0\0\x18ftypM4A " + bytes(12) + b"\0\0\0\0moov" * 500,
        "MP4 that names a file": _mp4_elsewhere(),
        "Matroska of 2^56 bytes": b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 7 + bytes(3000),
        "ASF of no objects": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + b"\xff" * 14 + bytes(2000),
        "AIFF of an odd rate": b"FORM\xff\xff\xff\xffAIFFCOMM\0\0\0\x12\0\x01\0\0\0\x01\0\x10\x7f\xff" + b"\xff" * 8 + bytes(900),
        "MIDI": b"MThd\0\0\0\x06\0\x01\xff\xff\0\x60MTrk\xff\xff\xff\xff" + bytes(500),
        "a tracker's module": b"Extended Module: " + bytes(2000),
    }  # fmt: skip
    for name, content in files.items():
        yield name, answer(content, "200 OK", f"Content-Type: {KIND}")
    yield (
        "a page of two gigabytes, it says",
        answer("<html>", "200 OK", "Content-Type: text/html", length=2 * 1024**3 + 1),
    )
    yield (
        "a stream of a radio",
        raw(b"HTTP/1.0 200 OK\r\nicy-metaint: 16\r\nContent-Type: audio/mpeg\r\n\r\n" + b"x" * 100_000),
    )


def _archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../a.mp3", bytes(10_000_000))
    return file.getvalue()


def _wav(
    *, codec: int = 1, channels: int = 1, rate_hz: int = 16_000, bits: int = 16, n_samples: int = 1_000, data_bytes: int | None = None
) -> bytes:  # fmt: skip
    data = bytes(2 * n_samples)
    form = struct.pack("<HHIIHH", codec, channels, rate_hz, rate_hz & 0xFFFF, 2, bits)
    head = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", len(form)) + form
    return head + b"data" + struct.pack("<I", len(data) if data_bytes is None else data_bytes) + data


def _atoms(levels: int) -> bytes:
    inner = b""
    for _ in range(levels):
        inner = struct.pack(">I", 8 + len(inner)) + b"trak" + inner
    return b"\0\0\0\x18ftypM4A " + bytes(12) + struct.pack(">I", 8 + len(inner)) + b"moov" + inner


def _mp4_elsewhere() -> bytes:
    def atom(kind: bytes, *parts: bytes) -> bytes:
        content = b"".join(parts)
        return struct.pack(">I", 8 + len(content)) + kind + content

    place = atom(b"dref", bytes(4), b"\0\0\0\1", atom(b"url ", bytes(4), b"file:///etc/passwd\0"))
    media = atom(b"mdia", atom(b"minf", atom(b"dinf", place)))
    return atom(b"ftyp", b"M4A ", bytes(12)) + atom(b"moov", atom(b"trak", media))
