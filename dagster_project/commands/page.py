"""`podlake page`: one self-contained HTML file to read and hear an episode."""

from __future__ import annotations

from pathlib import Path

from pages.episode import EpisodePage, load_episode
from pages.render import data_uri, episode_html
from resources.exports.transcripts import load_document
from resources.fetch.audio_store import AudioStore
from resources.lake.warehouse import connect
from speech.formats.document import Document
from speech.formats.registry import FORMATS
from speech.opus_copy import MEDIA_TYPE, opus_copy

EMBEDDED_UP_TO_MS = 2 * 3_600_000
"""Longer audio makes a page of more than 30 MB: the page then links to the publisher's file."""
EMBEDDED_FORMATS = ("srt", "vtt", "txt")
"""The other formats are large: `podlake export` and the corpus site have them."""
AUDIO = ("auto", "embed", "link", "none")


def write_page(store: AudioStore, episode_id: str, out: Path, *, audio: str, ui_url: str) -> EpisodePage:
    """Write the page. Raises PodlakeError if the episode has no transcript, OSError if the file cannot be written."""
    with connect(store.home) as connection:
        page = load_episode(connection, episode_id)
        document = load_document(connection, episode_id) if page.turns else None
    links = {} if document is None else _files(document)
    links["Dagster"] = f"{ui_url}/assets/turns?partition={episode_id}"
    out.write_text(episode_html(page, audio_src=_source(page, store, audio), links=links), encoding="utf-8")
    return page


def _files(document: Document) -> dict[str, str]:
    """Files for other tools, inside the page."""
    forms = [FORMATS[name] for name in EMBEDDED_FORMATS]
    return {form.SUFFIX.upper(): data_uri(form.write(document).encode(), "text/plain") for form in forms}


def _source(page: EpisodePage, store: AudioStore, audio: str) -> str:
    """The address of the audio: a copy inside the page, or the publisher's."""
    if audio == "none":
        return ""
    is_kept = page.audio_uri is not None and store.has(page.audio_uri)
    if audio == "embed" or (audio == "auto" and is_kept and page.duration_ms <= EMBEDDED_UP_TO_MS):
        if page.audio_uri is None or not is_kept:
            raise FileNotFoundError(2, "the audio is no longer kept: use --audio link", page.episode_id)
        return data_uri(opus_copy(store.local(page.audio_uri)), MEDIA_TYPE)
    return page.audio_url
