"""Markdown to read: a heading, then a paragraph per turn. Text of the feed and the transcript is escaped."""

import re

from speech.formats.document import UNKNOWN_SPEAKER, Document, clock

SUFFIX = "md"
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~])")


def write(document: Document) -> str:
    title = _escaped(document.title or document.episode_id)
    show = f"*{_escaped(document.feed_title)}*\n\n" if document.feed_title else ""
    turns = [
        f"**{_escaped(turn.speaker or UNKNOWN_SPEAKER)}** `{clock(turn.start_ms, '.')[:8]}` {_escaped(turn.text)}\n"
        for turn in document.turns
    ]
    return f"# {title}\n\n{show}" + "\n".join(turns)


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
