"""A lake with three talks of two feeds, one of them in Arabic, with text that would be markup if it were not escaped."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from resources.fetch.audio_store import AudioStore
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import TABLES
from speech.assignment import assign_speakers
from speech.turns import build_turns, turn_idx_of_words
from speech.types import Segment, Word
from tests.landings import NOON, land

AUDIO = Path(__file__).parents[1] / "demo" / "audio" / "the-sound-of-rain.flac"
RAIN, BREAD, ARABIC = "show-20260101-00000001", "show-20260102-00000002", "radio-20260103-00000003"
SCRIPT = "<script>document.title = 'attacked'</script>"
TALKS = {
    RAIN: [("S1", "Listen to the rain on the roof."), ("S2", f"Rain, Café and {SCRIPT} rain?"), ("S1", "Yes.")],
    BREAD: [("S1", "Bread takes its time."), ("S2", "The rain too.")],
    ARABIC: [("S1", "مرحبا بكم"), ("S2", "شكرا")],
}
WORD_MS = 400


def _speech(turns: list[tuple[str, str]]) -> tuple[list[Word], list[Segment]]:
    words: list[Word] = []
    segments: list[Segment] = []
    clock_ms = count(0, WORD_MS)
    for speaker, text in turns:
        own = [
            Word(part, start := next(clock_ms), start + 300, 0.3 if part == "roof." else 0.9) for part in text.split()
        ]
        words += own
        segments.append(Segment(speaker, own[0].start_ms, own[-1].end_ms))
    return words, segments


def _fields(record: object) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def land_talk(lake: Lake, episode_id: str, turns: list[tuple[str, str]], audio_sha256: str) -> None:
    """Land what the speech stages would find in an episode in which these turns are spoken."""
    words, segments = _speech(turns)
    assigned = assign_speakers(words, segments)
    built = build_turns(words, assigned)
    of = {"episode_id": episode_id, "audio_sha256": audio_sha256}
    rows: dict[str, list[dict[str, Any]]] = {
        "segments": [_fields(one) | of | {"segment_idx": i} for i, one in enumerate(segments)],
        "words": [_fields(one) | of | {"word_idx": i, "word": one.text, "language": "en"} for i, one in enumerate(words)],
        "turns": [_fields(one) | of for one in built],
        "word_speakers": [
            _fields(one) | of | {"turn_idx": i} for one, i in zip(assigned, turn_idx_of_words(built), strict=True)
        ],
        "quality": [of | {"duration_ms": len(words) * WORD_MS, "speech_ms": len(words) * 300, "n_words": len(words),
                          "n_speakers": 2, "mean_confidence": 0.85, "flags": []}],
    }  # fmt: skip
    for name, landed in rows.items():
        land(lake, TABLES[name], episode_id, landed)


def land_talks(folder: Path) -> AudioStore:
    """A new home with the talks, and the audio of the first one. They are landed once in a process, and copied."""
    shutil.copytree(_landed(), folder, dirs_exist_ok=True)
    return AudioStore(Home.at(str(folder)), folder, limit_bytes=10**9)


@cache
def _landed() -> Path:
    """The folder is removed at the end of the process."""
    _kept.append(temporary := tempfile.TemporaryDirectory(prefix="podlake-talks-"))
    folder = Path(temporary.name)
    home = Home.at(str(folder))
    lake = Lake(home)
    store = AudioStore(home, folder, limit_bytes=10**9)
    sha256 = "ab" * 32
    copy = folder / "fetched"
    copy.write_bytes(AUDIO.read_bytes())
    uri = store.keep(copy, sha256, "https://a.test/rain.flac", "audio/flac")
    feeds = {"show": "The <b>Show</b>", "radio": "راديو"}
    rows = [{"feed_id": feed, "url": f"https://{feed}.test/rss"} for feed in feeds]
    land(lake, TABLES["subscriptions"], "all", rows)
    for feed, title in feeds.items():
        land(lake, TABLES["polls"], feed, [{"title": title}])
        episodes = [
            {"episode_id": one, "feed_id": feed, "title": f"{one} {SCRIPT}", "published_at": NOON, "language": "ar" if feed == "radio" else "en",
             "enclosure_url": f"https://{feed}.test/{one}.mp3", "guid": one}
            for one in TALKS if one.startswith(feed)
        ]  # fmt: skip
        land(lake, TABLES["episodes"], feed, episodes)
    for number, (episode_id, turns) in enumerate(TALKS.items()):
        audio = sha256 if episode_id == RAIN else f"{number:064x}"
        row = {
            "audio_sha256": audio,
            "storage_uri": uri if episode_id == RAIN else f"audio/00/{audio}.mp3",
            "content_type": "audio/flac",
        }
        land(lake, TABLES["acquisitions"], episode_id, [row])
        land_talk(lake, episode_id, turns, audio)
    return folder


_kept: list[tempfile.TemporaryDirectory[str]] = []
