"""Decodes the bytes of a feed: unzips them and finds their real encoding, which may differ from the declared one."""

from __future__ import annotations

import codecs
import re
import zlib

from speech.errors import TooLarge

UNZIPPED_LIMIT_BYTES = 128 * 1024 * 1024
"""A zipped document that is larger unzipped is refused. The largest known feeds have about 50 MB."""


def feed_text(document: bytes, content_type: str | None = None) -> tuple[str, list[str]]:
    """The text of a document, and the problems that were repaired to read it.

    The encoding is the first of these that fits: the one that the first bytes prove (a byte order mark, UTF-16,
    EBCDIC); a declared multi-byte encoding; UTF-8; a declared single-byte encoding; UTF-8 with invalid bytes read as
    windows-1252. Single-byte encodings come after UTF-8 because every byte is valid in them.

    Raises TooLarge for a zip bomb.
    """
    problems: list[str] = []
    if document[:2] == b"\x1f\x8b":
        document = _unzipped(document, problems)
    for signature, encoding in _SIGNATURES:
        if document.startswith(signature):
            return _strictly_or_replaced(document, _declared_ebcdic(document, encoding), problems), problems
    declared = _declared_encoding(document, content_type)
    if declared is None:
        return _utf8_or_windows_1252(document, problems), problems
    for encoding in ("utf-8", declared) if _is_single_byte(declared) else (declared, "utf-8"):
        try:
            return document.decode(encoding), problems
        except UnicodeDecodeError:
            continue
    if declared == "utf-8":
        return _utf8_or_windows_1252(document, problems), problems
    return _strictly_or_replaced(document, declared, problems), problems


_SIGNATURES = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\0\0\0", "utf-32-le"),
    (b"\0\0\0<", "utf-32-be"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
    (b"\x4c\x6f\xa7\x94", "cp037"),  # "<?xm" in EBCDIC
)

_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
"""Encoding → its superset, which is often sent under the same name (see the Encoding Standard of the WHATWG)."""

_XML_DECLARATION = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']\s*([A-Za-z0-9._:-]+)""")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9._:-]+)""", re.IGNORECASE)


def _unzipped(document: bytes, problems: list[str]) -> bytes:
    unzip = zlib.decompressobj(wbits=31)
    try:
        text = unzip.decompress(document, UNZIPPED_LIMIT_BYTES)
    except zlib.error as error:
        problems.append(f"the gzip stream is broken ({error}) and could not be read")
        return b""
    if unzip.unconsumed_tail:
        raise TooLarge(
            f"The unzipped document is larger than {UNZIPPED_LIMIT_BYTES} bytes. "
            "No feed is that large. If this persists, remove the subscription."
        )
    if not unzip.eof:
        problems.append("the gzip stream ends too early; the part before its end was read")
    return text


def _declared_encoding(document: bytes, content_type: str | None) -> str | None:
    """The XML declaration's encoding, else the Content-Type's charset, as a name Python knows."""
    in_xml = _XML_DECLARATION.search(document[:2048])
    in_http = _CHARSET.search(content_type or "")
    names = [in_xml.group(1).decode("ascii")] if in_xml else []
    names += [in_http.group(1)] if in_http else []
    for name in names:
        known = _python_name(name)
        # In UTF-16, the declaration could not be read byte by byte.
        if known and not known.startswith(("utf-16", "utf-32")):
            return known
    return None


def _declared_ebcdic(document: bytes, encoding: str) -> str:
    """The EBCDIC code page that the declaration names. All pages encode the declaration's letters alike."""
    if encoding != "cp037":
        return encoding
    declared = _XML_DECLARATION.search(document[:256].decode("cp037").encode("ascii", "replace"))
    return (_python_name(declared.group(1).decode("ascii")) if declared else None) or encoding


def _python_name(encoding: str) -> str | None:
    try:
        name = codecs.lookup(encoding).name
        bytes(range(256)).decode(name, "replace")  # raises for codecs of something else (zip, hex, idna)
    except (LookupError, ValueError):
        return None
    return _SUPERSETS.get(name, name)


def _is_single_byte(encoding: str) -> bool:
    return encoding != "utf-8" and len(bytes(range(256)).decode(encoding, "replace")) == 256


def _utf8_or_windows_1252(document: bytes, problems: list[str]) -> str:
    try:
        return document.decode("utf-8")
    except UnicodeDecodeError as error:
        problems.append(f"not UTF-8 from byte {error.start} on; such bytes were read as windows-1252")
        return document.decode("utf-8", errors="podlake.windows-1252")


def _strictly_or_replaced(document: bytes, encoding: str, problems: list[str]) -> str:
    try:
        return document.decode(encoding)
    except UnicodeDecodeError as error:
        problems.append(f"not {encoding} from byte {error.start} on; unreadable bytes were replaced")
        return document.decode(encoding, errors="replace")


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error("podlake.windows-1252", _as_windows_1252)
