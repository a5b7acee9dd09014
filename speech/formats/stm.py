"""NIST STM: a line per turn: file, channel, speaker, start, end, label, text."""

from speech.formats.document import Document, seconds, token

SUFFIX = "stm"


def write(document: Document) -> str:
    return "".join(
        f"{token(document.episode_id)} 1 {token(turn.speaker)} {seconds(turn.start_ms)} {seconds(turn.end_ms)} "
        f"<{document.language or 'NA'}> {turn.text}\n"
        for turn in document.turns
    )
