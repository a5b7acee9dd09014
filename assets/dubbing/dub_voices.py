"""The voices of a dub: which one says a line, and the recording of the speaker for voices that are cloned."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resources.engines.voices import Voices
from resources.lake.tables.lessons import LessonRow, LessonSentenceRow, LessonStemsRow
from resources.studio.lesson_files import LessonFiles
from speech.engines import registry
from speech.engines.protocols import EngineChoice
from speech.script import SPEAKERS
from speech.spoken_text import spoken_text
from speech.types import Line, Span
from speech.voice_references import best_references, write_reference


@dataclass(frozen=True)
class DubCast:
    """Makes the lines of a lesson for the voices of its speakers."""

    lesson: LessonRow
    voices: Voices
    files: LessonFiles
    references: Mapping[int, Path]
    """Sentence → the recording of its speaker, where the voice is cloned."""

    def line(self, sentence: LessonSentenceRow, text: str) -> tuple[EngineChoice, Line]:
        """The text as the voice of the sentence's speaker says it. Raises `VoiceUnavailable`."""
        language = self.lesson.target_language
        choice = self.voices.choice_for(voice_name(sentence.speaker), language)
        said, _ = spoken_text(text, language)
        reference = self.references.get(sentence.sentence_idx)
        digest = hashlib.sha256(reference.read_bytes()).hexdigest() if reference else ""
        fingerprint = registry.describe("synthesizer", choice).fingerprint
        path = self.files.made(self.lesson.lesson_id, sentence.sentence_idx, fingerprint, said, language, digest)
        line = Line(self.lesson.lesson_id, sentence.sentence_idx, said, path, language, reference=reference)
        return choice, line


def cast(
    lesson: LessonRow, sentences: Sequence[LessonSentenceRow], stems: LessonStemsRow, voices: Voices, files: LessonFiles
) -> DubCast:  # fmt: skip
    """The voices of the sentences. Recordings are cut only for speakers whose voices are cloned.

    Raises `VoiceUnavailable`, and `BadLesson` where a speaker says too little to be cloned.
    """
    wanted: dict[int, str] = {}
    for one in sentences:
        choice = voices.choice_for(voice_name(one.speaker), lesson.target_language)
        settings = registry.describe("synthesizer", choice).settings
        if settings.get("clone") in ("one", "segment") and not settings.get("reference"):
            wanted[one.sentence_idx] = str(settings["clone"])
    if not wanted:
        return DubCast(lesson, voices, files, {})
    spans = {one.sentence_idx: (voice_name(one.speaker), Span(one.start_ms, one.end_ms)) for one in sentences}
    chosen = best_references(spans, wanted)
    source = files.local(stems.vocals_uri or lesson.source_uri)
    folder = files.work(lesson.lesson_id, "references")
    folder.mkdir(exist_ok=True)
    cut = write_reference(source, set(chosen.values()), folder)
    return DubCast(lesson, voices, files, {index: cut[span] for index, span in chosen.items()})


def voice_name(speaker: str | None) -> str:
    """S1 to S4, for which voices are set. A fifth speaker has the first voice, a sentence without a speaker the first."""
    number = int(speaker[1:]) if speaker else 1
    return SPEAKERS[(number - 1) % len(SPEAKERS)]
