"""The formats: each line names a module with the suffix of its files and the function that writes one."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol, cast

from speech.formats.document import Document

_MODULES = {
    "srt": "speech.formats.srt",
    "vtt": "speech.formats.vtt",
    "txt": "speech.formats.txt",
    "markdown": "speech.formats.markdown",
    "json": "speech.formats.episode_json",
    "podcast-json": "speech.formats.podcast_json",
    "rttm": "speech.formats.rttm",
    "ctm": "speech.formats.ctm",
    "stm": "speech.formats.stm",
    "textgrid": "speech.formats.textgrid",
}


class Format(Protocol):
    """A module of a format."""

    SUFFIX: str
    __doc__: str

    def write(self, document: Document) -> str:
        """The content of the file, which is written as UTF-8."""


FORMATS: Mapping[str, Format] = {name: cast("Format", import_module(module)) for name, module in _MODULES.items()}
"""Name on the command line → format."""
