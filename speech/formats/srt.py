"""SubRip captions: `Speaker: text`, times in milliseconds."""

from speech.formats.document import Document, clock

SUFFIX = "srt"


def write(document: Document) -> str:
    cues = []
    for number, cue in enumerate(document.cues(), 1):
        text = cue.text.replace("-->", "→")
        line = f"{cue.speaker}: {text}" if cue.speaker else text
        cues.append(f"{number}\n{clock(cue.start_ms, ',')} --> {clock(cue.end_ms, ',')}\n{line}\n")
    return "\n".join(cues)
