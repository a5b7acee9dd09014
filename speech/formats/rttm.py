"""NIST RTTM: who speaks when, a line per segment of the diarizer."""

from speech.formats.document import Document, seconds, token

SUFFIX = "rttm"


def write(document: Document) -> str:
    return "".join(
        f"SPEAKER {token(document.episode_id)} 1 {seconds(segment.start_ms)} "
        f"{seconds(segment.end_ms - segment.start_ms)} <NA> <NA> {token(segment.speaker)} <NA> <NA>\n"
        for segment in document.segments
    )
