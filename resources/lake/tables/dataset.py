"""Tables that data sets are made from. Times are milliseconds on the decoded timeline of the audio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from resources.lake.tables.table import DerivedRow, Int32, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceRow(DerivedRow):
    """1–30 s of one speaker, cut only in pauses between words: what a data set is made of."""

    utterance_idx: Annotated[Int32, "Order by start."]
    start_ms: Annotated[Int32, "Start, with some of the pause before the first word."]
    end_ms: Annotated[Int32, "End, with some of the pause after the last word."]
    speaker: Annotated[str, "Speaker label, valid within the episode only."]
    voice_id: Annotated[str | None, "The speaker across episodes; NULL where it is not linked to a voice."] = None
    text: Annotated[str, "The words, joined."]
    language: Annotated[str, "Language of the transcriber that wrote the words."]
    turn_idx: Annotated[Int32, "The turn that it is cut from."]
    first_word_idx: Annotated[Int32, "Its first word, of `n_words`."]
    n_words: Annotated[Int32, "Words."]


UTTERANCES = Table("utterances", "utterances", ("audio_sha256", "episode_id", "utterance_idx"), UtteranceRow)
