"""NIST CTM: a line per word: file, channel, start, duration, word, confidence where there is one."""

from speech.formats.document import Document, seconds, token

SUFFIX = "ctm"


def write(document: Document) -> str:
    lines = []
    for word in sorted((word for turn in document.turns for word in turn.words), key=lambda word: word.start_ms):
        confidence = "" if word.confidence is None else f" {word.confidence:.3f}"
        length_s = seconds(word.end_ms - word.start_ms)
        lines.append(
            f"{token(document.episode_id)} 1 {seconds(word.start_ms)} {length_s} {token(word.text)}{confidence}\n"
        )
    return "".join(lines)
