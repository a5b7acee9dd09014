"""A lake with utterances and their audio, as exports need it: synthetic sound, known text."""

from __future__ import annotations

import hashlib
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resources.fetch.audio_store import AudioStore
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import TABLES
from tests.landings import NOON, land

RATE_HZ = 16_000


@dataclass(frozen=True)
class Talk:
    """An episode: who says what, one utterance after the other."""

    episode_id: str
    utterances: tuple[tuple[str, str, int], ...]
    """Speaker, text, length in ms."""
    voices: dict[str, str]
    """Speaker → voice; others have none."""
    details: dict[str, Any]
    """Columns of `episodes`."""


def sound(seed: int, ms: int) -> np.ndarray:
    """Noise with pauses: samples that cannot be mistaken for others."""
    noise = np.random.default_rng(seed).integers(-3000, 3000, ms * RATE_HZ // 1000, dtype=np.int16)
    noise[:: RATE_HZ // 10] = 0
    return noise


def land_exportable(folder: Path, talks: list[Talk], feeds: dict[str, dict[str, Any]]) -> Lake:
    """Land the talks and their feeds, which have these columns of `polls`, in a new home."""
    home = Home.at(str(folder))
    lake = Lake(home)
    Catalogue(lake).subscribe([(f"https://{one}.test/rss", one) for one in feeds])
    land(lake, TABLES["subscriptions"], "all", [{"feed_id": one, "url": f"https://{one}.test/rss"} for one in feeds])
    for feed, columns in feeds.items():
        land(lake, TABLES["polls"], feed, [{"title": f"The {feed}", **columns}])
        own = [talk for talk in talks if talk.episode_id.startswith(f"{feed}-")]
        rows = [
            {"episode_id": talk.episode_id, "feed_id": feed, "guid": talk.episode_id, "title": f"About {talk.episode_id}",
             "enclosure_url": f"https://{feed}.test/{talk.episode_id}.wav", "published_at": NOON, **talk.details}
            for talk in own
        ]  # fmt: skip
        land(lake, TABLES["episodes"], feed, rows)
        shas = {talk.episode_id: land_talk(lake, folder, talk) for talk in own}
        links = [
            {"episode_id": talk.episode_id, "audio_sha256": shas[talk.episode_id], "speaker": speaker, "voice_id": voice}
            for talk in own for speaker, voice in talk.voices.items()
        ]  # fmt: skip
        voices = [{"voice_id": voice} for voice in sorted({link["voice_id"] for link in links})]
        land(lake, TABLES["voices"], feed, voices)
        land(lake, TABLES["speaker_links"], feed, links)
    return lake


def land_talk(lake: Lake, folder: Path, talk: Talk) -> str:
    """Land an episode's audio and utterances. Returns the SHA-256 of the audio.

    Episodes of one length whose keys end alike have the same audio.
    """
    length_ms = sum(ms for *_, ms in talk.utterances)
    fetched = folder / "fetched.wav"
    with wave.open(str(fetched), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(sound(int(talk.episode_id[-8:], 16), length_ms).tobytes())
    sha256 = hashlib.sha256(fetched.read_bytes()).hexdigest()
    uri = AudioStore(lake.home, folder, limit_bytes=10**9).keep(fetched, sha256, "https://a.test/a.wav", "audio/wav")
    of = {"episode_id": talk.episode_id, "audio_sha256": sha256}
    rows, start_ms = [], 0
    for index, (speaker, text, ms) in enumerate(talk.utterances):
        rows.append(
            of | {"utterance_idx": index, "speaker": speaker, "text": text, "start_ms": start_ms, "language": "en",
                  "end_ms": start_ms + ms, "n_words": len(text.split()), "mean_confidence": 0.9, "overlap_share": 0.0,
                  "words_per_second": 2.0}
        )  # fmt: skip
        start_ms += ms
    land(lake, TABLES["acquisitions"], talk.episode_id, [of | {"storage_uri": uri, "bytes": 1}])
    turns = [of | {"turn_idx": 0, "speaker": "A", "text": "", "n_words": 0}]
    land(lake, TABLES["turns"], talk.episode_id, turns)
    land(lake, TABLES["utterances"], talk.episode_id, rows)
    return sha256


def talk(episode_id: str, n: int = 4, voices: dict[str, str] | None = None, ms: int = 1_500, **details: Any) -> Talk:
    """An episode in which A and B take turns."""
    said = tuple(("AB"[i % 2], f"Sentence {i} of {episode_id}.", ms + 10 * (i % 7)) for i in range(n))
    return Talk(episode_id, said, voices or {}, {"license": "cc-by-4.0", **details})
