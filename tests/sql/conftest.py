"""A small lake with five episodes, landed as the pipeline lands them, and the warehouse over it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import TABLES
from resources.lake.warehouse import connect
from speech.assignment import assign_speakers
from speech.turns import build_turns, turn_idx_of_words
from speech.types import Segment, Word
from tests.landings import NOON, land

SEGMENTS = [
    Segment("A", 0, 30_000),
    Segment("B", 28_000, 40_000),
    Segment("A", 46_000, 66_000),
    Segment("B", 50_000, 52_000),
]
WORDS = [
    Word("What", 0, 500, 0.5),
    Word("happened", 500, 1_000, 0.5),
    Word("next?", 1_000, 1_500, 0.5),
    Word("Nothing,", 29_600, 30_400),
    Word("nothing", 30_500, 31_000),
    Word("really.", 31_000, 31_500),
    Word("Right.", 46_000, 60_000),
    Word("hm", 75_000, 75_100),
]

ROWS = {
    "subscriptions": [
        {"feed_id": "show", "url": "https://a.test/rss"},
        {"feed_id": "other", "url": "https://b.test/rss"},
    ],
    "polls": [{"feed_id": "show", "title": "The Show", "language": "en"}],
    "episodes": [
        {"episode_id": "e1", "feed_id": "show", "title": "One", "language": "de", "published_at": NOON},
        {"episode_id": "e2", "feed_id": "show", "title": "Two"},
        {"episode_id": "e3", "feed_id": "other", "duration_declared_ms": 60_000},
        {"episode_id": "e4", "feed_id": "other"},
        {"episode_id": "e5", "feed_id": "other"},
    ],
    "acquisitions": [{"episode_id": e, "audio_sha256": a} for e, a in [("e1", "a1"), ("e2", "a2"), ("e4", "new")]],
    "hashes": [
        {"episode_id": e, "audio_sha256": a, "sha256": a, "pcm16k_sha256": p, "chromaprint": c, "duration_ms": 1_000}
        for e, a, p, c in [
            ("e1", "a1", "p1", None),
            ("e2", "a2", "p2", "c2"),
            ("e3", "a1", "p1", None),
            ("e4", "a4", "p2", "c2"),
            ("e5", "a5", "p5", "c2"),
        ]
    ],
    "quality": [
        {"episode_id": "e1", "audio_sha256": "a1", "duration_ms": 3_600_000, "speech_ms": 1_800_000, "usable_ms": 900_000,
         "n_words": 8, "n_speakers": 2, "language_declared": "de", "language_detected": "en", "flags": ["unassigned_words"]},
        {"episode_id": "e2", "audio_sha256": "a2", "duration_ms": 1_800_000, "flags": ["no_speech"]},
    ],
    "repeated_audio": [
        {"episode_id": "e1", "audio_sha256": "a1", "feed_id": "show", "repeat_id": "show-r0001", "n_episodes": 2,
         "n_occurrences": 2, "start_ms": 0, "end_ms": 1_500},
        {"episode_id": "e2", "audio_sha256": "a2", "feed_id": "show", "repeat_id": "show-r0001", "n_episodes": 2,
         "n_occurrences": 2, "start_ms": 8_000, "end_ms": 9_500},
    ],
    "stage_runs": [
        {"episode_id": e, "stage": s, "run_id": r, "outcome": "landed", "engine": n, "engine_fingerprint": f,
         "audio_ms": audio_ms, "engine_ms": engine_ms, "finished_at": NOON + timedelta(hours=hour)}
        for e, s, r, n, f, audio_ms, engine_ms, hour in [
            ("e1", "transcript", "r1", "whisper", "fp-t", 3_600_000, 720_000, 1),
            ("e1", "diarization", "r1", "campplus", "fp-old", 3_600_000, 36_000, 1),
            ("e2", "diarization", "r1", "campplus", "fp-old", 1_800_000, 18_000, 1),
            ("e2", "diarization", "r2", "campplus", "fp-new", 1_800_000, 18_000, 2),
            ("e1", "audio", "r0", None, None, 3_600_000, None, 0),
            ("e1", "quality", "r2", None, None, None, None, 2),
        ]
    ] + [{"episode_id": "e2", "stage": "transcript", "run_id": "r1", "outcome": "failed_permanent"}],
    "failures": [
        {"episode_id": "e2", "feed_id": "show", "stage": "transcript", "error_class": "lang_unsupported", "attempts": 1,
         "message": "no engine for xx", "first_at": NOON, "last_at": NOON},
        *(
            {"episode_id": e, "feed_id": "other", "stage": "audio", "error_class": "http_5xx", "retryable": True,
             "attempts": attempts, "message": f"{e}: 503", "first_at": NOON, "last_at": NOON + timedelta(hours=attempts),
             "next_retry_at": NOON + timedelta(hours=9 - attempts)}
            for e, attempts in [("e3", 1), ("e4", 3)]
        ),
    ],
}  # fmt: skip


def spoken_rows() -> dict[str, list[dict]]:
    """The speech tables of e1, by the code that makes them."""
    assigned = assign_speakers(WORDS, SEGMENTS)
    turns = build_turns(WORDS, assigned)
    of = {"episode_id": "e1", "audio_sha256": "a1"}
    return {
        "segments": [_fields(s) | of | {"segment_idx": i} for i, s in enumerate(SEGMENTS)],
        "words": [_fields(w) | of | {"word_idx": i, "word": w.text, "language": "en"} for i, w in enumerate(WORDS)],
        "word_speakers": [
            _fields(a) | of | {"turn_idx": i} for a, i in zip(assigned, turn_idx_of_words(turns), strict=True)
        ],
        "turns": [_fields(turn) | of for turn in turns],
    }


def _fields(record: object) -> dict:
    return {name: getattr(record, name) for name in record.__slots__}


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory):
    home = Home.at(str(tmp_path_factory.mktemp("home")))
    for name, rows in (ROWS | spoken_rows()).items():
        table = TABLES[name]
        landings: dict[str, list[dict]] = {}
        for row in rows:
            landings.setdefault(table.landing_key(*(row[column] for column in table.landing)), []).append(row)
        for key, landed in landings.items():
            land(Lake(home), table, key, landed)
    with connect(home) as connection:
        yield connection


@pytest.fixture(scope="session")
def empty_warehouse(tmp_path_factory):
    with connect(Home.at(str(tmp_path_factory.mktemp("empty")))) as connection:
        yield connection
