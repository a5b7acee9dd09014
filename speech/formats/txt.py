"""Plain text: a line per turn, `[00:01:05] Speaker: text`."""

from speech.formats.document import UNKNOWN_SPEAKER, Document, clock

SUFFIX = "txt"


def write(document: Document) -> str:
    return "".join(
        f"[{clock(turn.start_ms, '.')[:8]}] {turn.speaker or UNKNOWN_SPEAKER}: {turn.text}\n" for turn in document.turns
    )
