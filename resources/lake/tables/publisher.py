"""Tables of what publishers offer beside the audio. Times refer to the publisher's copy: inserted ads may shift ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from resources.lake.tables.table import FILLED, EpisodeId, Int32, LandedAt, RunId, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherSegmentRow:
    """The publisher's transcript of an episode, if the feed links one that can be read."""

    episode_id: EpisodeId = FILLED
    idx: Annotated[Int32, "Order in the document."]
    start_ms: Annotated[Int32 | None, "Start; NULL where the format or the passage has no times."] = None
    end_ms: Annotated[Int32 | None, "End; NULL where the format or the passage has none."] = None
    speaker: Annotated[str | None, "Speaker as named there; NULL where none is named."] = None
    text: Annotated[str, "Text without markup and without the speaker's name."]
    format: Annotated[str, "json (Podcasting 2.0), vtt, srt, html or text."]
    url: Annotated[str, "Where it was fetched, without credentials."]
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED


@dataclass(frozen=True, slots=True, kw_only=True)
class ChapterRow:
    """The publisher's chapters (podcast:chapters), without those that are hidden from the table of contents."""

    episode_id: EpisodeId = FILLED
    idx: Annotated[Int32, "Order by start."]
    start_ms: Annotated[Int32, "Start."]
    end_ms: Annotated[Int32 | None, "End; NULL where it is not given."] = None
    title: Annotated[str, "Title."]
    url: Annotated[str | None, "Web page about it."] = None
    image: Annotated[str | None, "Address of its picture."] = None
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED


PUBLISHER_SEGMENTS = Table("publisher_segments", "publisher_transcript", ("episode_id", "idx"), PublisherSegmentRow)
CHAPTERS = Table("chapters", "publisher_transcript", ("episode_id", "idx"), ChapterRow)
