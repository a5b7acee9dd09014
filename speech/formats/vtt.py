"""WebVTT captions with the speaker in a voice tag."""

from html import escape

from speech.formats.document import Document, clock

SUFFIX = "vtt"


def write(document: Document) -> str:
    parts = ["WEBVTT\n"]
    for cue in document.cues():
        text = escape(cue.text, quote=False)
        line = f"<v {escape(cue.speaker, quote=False)}>{text}</v>" if cue.speaker else text
        parts.append(f"{clock(cue.start_ms, '.')} --> {clock(cue.end_ms, '.')}\n{line}\n")
    return "\n".join(parts)
