"""`dub_audio`: the lines in time with the picture, over the background of the lesson."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.dubbing.dub_voices import DubCast, cast
from assets.dubbing.translation import request
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.engines.translators import Translators
from resources.engines.voices import Voices
from resources.lake.lake import Lake
from resources.lake.tables.lessons import (
    DUB_AUDIO,
    DUB_LINES,
    DUB_TIMES,
    LESSON_SENTENCES,
    LESSON_STEMS,
    LESSON_TERMS,
    LESSON_TRANSCRIPTS,
    LESSON_TRANSLATIONS,
    LESSONS,
    DubAudioRow,
    DubTimeRow,
    LessonSentenceRow,
)
from resources.studio.lesson_files import LessonFiles, sha256_of
from speech.dub_mix import BACKGROUND_DUCK_DB, DUCK_DB, DubVoice, mixed, source_loudness
from speech.dub_timing import DubLine, DubPlan, plan
from speech.errors import LineTooLong, PodlakeError
from speech.sound_files import RATE_HZ, read_blocks, write_blocks
from speech.types import Span, TranslationRequest

log = logging.getLogger("podlake")

BIT_RATE = 160_000
SHORTENINGS = 3
"""How often a line is shortened and said again."""


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["dub_audio"].to_pylist()
    return {
        "duration_s": row["duration_ms"] / 1000,
        "unstretched": row["unstretched_share"],
        "highest_speed": row["highest_speed"],
        "shortened_lines": row["n_shortened"],
        "longest_overflow_ms": row["longest_overflow_ms"],
        "file": row["uri"],
        "dagster/row_count": tables["dub_times"].num_rows,
    }


@dataclass(frozen=True)
class _Text:
    """A line as it is said at last."""

    text: str
    path: Path
    spoken_ms: int
    is_shortened: bool = False


@Stage(
    tables=(DUB_AUDIO, DUB_TIMES), ui_metadata=_ui_metadata, group="dubbing", batch_size=1, version="1",
    inputs=("lesson_video", "lesson_transcript", "stems", "sentences", "terminology", "translation", "dub_lines"),
    partition_kind="lesson", pool="studio", kinds=frozenset({"aac", "parquet"}),
)  # fmt: skip
def dub_audio(
    batch: Batch, lake: Lake, voices: Voices, translators: Translators, lesson_files: LessonFiles
) -> Iterator[Outcome]:
    """Places the lines at the times of their sentences, at most 1.4 times as fast, and mixes them with the background.

    A line that does not fit is shortened by the translator and said again. One that still does not fit fails the lesson.
    """
    return each(batch.keys, lambda key: _audio(key, batch, lake, voices, translators, lesson_files))


def _audio(
    key: str, batch: Batch, lake: Lake, voices: Voices, translators: Translators, files: LessonFiles
) -> Landing:  # fmt: skip
    (lesson,), (stems,) = batch.rows(lake, LESSONS, key), batch.rows(lake, LESSON_STEMS, key)
    (transcript,) = batch.rows(lake, LESSON_TRANSCRIPTS, key)
    sentences = batch.rows(lake, LESSON_SENTENCES, key)
    translated = batch.rows(lake, LESSON_TRANSLATIONS, key)
    texts = [
        _Text(one.text, files.local(line.uri), line.duration_ms)
        for one, line in zip(translated, batch.rows(lake, DUB_LINES, key), strict=True)
    ]
    asked = request(lesson, sentences, batch.rows(lake, LESSON_TERMS, key))
    own = cast(lesson, sentences, stems, voices, files)
    texts, found = _fitted(key, sentences, texts, transcript.audio_ms, asked, own, translators)
    source = files.local(stems.background_uri or lesson.source_uri)
    heard = [Span(one.start_ms, one.end_ms) for one in found.lines]
    if stems.background_uri is None:  # the speaker of the source is not to be heard beside the dub either
        heard += [Span(one.start_ms, one.end_ms) for one in sentences]
    lufs = source_loudness(files.local(lesson.source_uri))
    said = [
        DubVoice(text.path, one.start_ms, one.end_ms, one.speed) for text, one in zip(texts, found.lines, strict=True)
    ]
    duck_db = DUCK_DB if stems.background_uri is None else BACKGROUND_DUCK_DB
    target = files.work(key, "dub.m4a")
    blocks = mixed(read_blocks(source), sorted(said, key=lambda one: one.start_ms), heard, duck_db=duck_db, lufs=lufs)
    duration_ms = round(1000 * write_blocks(target, blocks, codec="aac", bit_rate=BIT_RATE) / RATE_HZ)
    row = DubAudioRow(
        uri=files.add(key, target.name, target), sha256=sha256_of(target), duration_ms=duration_ms, source_ms=transcript.audio_ms,
        loudness_lufs=lufs, unstretched_share=found.unstretched_share,
        highest_speed=max(one.speed for one in found.lines), n_shortened=sum(one.is_shortened for one in texts),
        longest_overflow_ms=max(one.overflow_ms for one in found.chunks),
    )  # fmt: skip
    times = [
        DubTimeRow(
            sentence_idx=index, chunk_idx=one.chunk_idx, text=text.text, is_shortened=text.is_shortened,
            start_ms=one.start_ms, end_ms=one.end_ms, speed=one.speed, spoken_ms=text.spoken_ms,
            delay_ms=one.start_ms - sentence.start_ms,
        )
        for index, (one, text, sentence) in enumerate(zip(found.lines, texts, sentences, strict=True))
    ]  # fmt: skip
    return Landing(key, {"dub_audio": [row], "dub_times": times}, Cost(audio_ms=duration_ms))


def _fitted(
    key: str, sentences: Sequence[LessonSentenceRow], texts: Sequence[_Text], total_ms: int, asked: TranslationRequest,
    own: DubCast, translators: Translators,
) -> tuple[list[_Text], DubPlan]:  # fmt: skip
    """The lines and their plan, in which everything fits. Raises `LineTooLong` with the lines that do not."""
    final = list(texts)
    for _ in range(SHORTENINGS + 1):
        lines = [DubLine(one.start_ms, one.end_ms, text.spoken_ms) for one, text in zip(sentences, final, strict=True)]
        found = plan(lines, total_ms)
        if not found.too_long:
            return final, found
        shares = {one.line_idx: one.keep for one in found.too_long}
        _shorten(key, shares, final, sentences, asked, own, translators)
    raise _too_long(key, found, final, "It was shortened three times.")


def _shorten(
    key: str, shares: Mapping[int, float], texts: list[_Text], sentences: Sequence[LessonSentenceRow],
    asked: TranslationRequest, own: DubCast, translators: Translators,
) -> None:  # fmt: skip
    """Replace the lines by shorter ones, which are said again."""
    shorter: dict[int, str] = {}
    with translators.loaded() as translator:
        for index, share in shares.items():
            limit = max(1, int(len(texts[index].text) * share))
            found = translator.shorten(asked, index, texts[index].text, limit)
            if found.text is None:
                raise LineTooLong(
                    f"{key}: sentence {index} does not fit into its time ({texts[index].spoken_ms / 1000:.1f} s are spoken "
                    f"for {texts[index].text[:80]!r}; at 1.4 times the speed {share:.0%} of it fit), and cannot be "
                    f"shortened: {found.problem} A faster voice, or a chat model as translator, may help."
                )
            log.info(
                "%s: sentence %d is shortened from %d to %d characters",
                key,
                index,
                len(texts[index].text),
                len(found.text),
            )
            shorter[index] = found.text
    for said in own.voices.say([own.line(sentences[index], text) for index, text in shorter.items()]):
        if isinstance(said.result, PodlakeError):
            raise said.result
        index = said.line.line_idx
        texts[index] = _Text(shorter[index], said.line.path, said.result.duration_ms, is_shortened=True)


def _too_long(key: str, found: DubPlan, texts: Sequence[_Text], why: str) -> LineTooLong:
    named = "; ".join(f"{one.line_idx} ({texts[one.line_idx].text[:60]!r})" for one in found.too_long[:5])
    return LineTooLong(f"{key}: these sentences do not fit into their time: {named}. {why}")
