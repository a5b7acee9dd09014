"""Undoes the Content-Encoding of a body in pieces of limited size: a few kilobytes can stand for gigabytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from speech.errors import HttpRefused, NetworkError, TooLarge

PIECE_BYTES = 1 << 18
MOST_CODINGS = 3
_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def codings_of(header: str | None) -> list[str]:
    """The codings that change the bytes, in the order in which they were applied."""
    names = (name.strip().lower() for name in (header or "").split(","))
    return [name for name in names if name not in ("", "identity")]


def decoded(chunks: Iterator[bytes], codings: list[str], limit_bytes: int, shown_url: str) -> Iterator[bytes]:
    """The body without gzip and deflate. A body in another coding is left as it is.

    Raises NetworkError for a body that is not in its coding or ends too early, TooLarge for one of more than
    `limit_bytes` after any of its codings, and HttpRefused for more codings than any server needs.
    """
    if len(codings) > MOST_CODINGS:
        raise HttpRefused(f"{shown_url} is coded {len(codings)} times over, which is not read.")
    for name in reversed(codings):
        if name in _WBITS:
            chunks = _inflated(chunks, name, limit_bytes, shown_url)
    return chunks


def _inflated(chunks: Iterator[bytes], name: str, limit_bytes: int, shown_url: str) -> Iterator[bytes]:
    unzip, size, is_empty = zlib.decompressobj(_WBITS[name]), 0, True
    for chunk in filter(None, chunks):
        if is_empty and name == "deflate" and not _has_zlib_header(chunk):
            unzip = zlib.decompressobj(-zlib.MAX_WBITS)
        is_empty, rest = False, chunk
        while not unzip.eof:  # what follows the end is not part of the body
            try:
                piece = unzip.decompress(rest, PIECE_BYTES)
            except zlib.error as error:
                raise NetworkError(
                    f"{shown_url} answers in what is said to be {name}, and is not ({error})."
                ) from error
            size += len(piece)
            if size > limit_bytes:
                raise TooLarge(f"{shown_url} unpacks to more than the {limit_bytes} bytes that are allowed.")
            yield piece
            rest = unzip.unconsumed_tail
            if not rest and len(piece) < PIECE_BYTES:
                break
    if not unzip.eof and not is_empty:
        raise NetworkError(f"{shown_url} ended in the middle of its {name} stream.")


def _has_zlib_header(chunk: bytes) -> bool:
    """RFC 1950. Some servers send the bare stream as `deflate`."""
    return chunk[0] & 15 == 8 and (len(chunk) < 2 or (chunk[0] << 8 | chunk[1]) % 31 == 0)
