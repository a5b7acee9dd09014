"""Audio that several episodes have in common goes through an engine once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assets.speech.engine_outcomes import engine_outcomes
from assets.speech.transcript import _rows, transcript
from pipeline.records import Run
from pipeline.stage import Batch, Landing
from resources.engines.routing import Audio, Done
from resources.fetch.audio_store import AudioStore
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import ACQUISITIONS, EPISODES, HASHES, STAGE_RUNS, WORDS
from speech.engines.protocols import EngineSpec
from speech.errors import AudioRemoved
from speech.types import Transcript, Word
from tests.landings import NOON, land, land_outcome, seal_settled

ONE, TWO, THREE, GERMAN = (f"show-2026010{n}-0000000{n}" for n in (1, 2, 3, 4))
BYTES, LOSSLESS = "a" * 64, "b" * 64


class Show:
    """Four episodes in a lake, and an engine that counts what it is given."""

    def __init__(self, folder: Path) -> None:
        self.lake, self.given = Lake(Home.at(str(folder))), list[str]()
        self.store = AudioStore(self.lake.home, folder, 10**9)
        self.spec = EngineSpec("echo", "1", "1")
        rows = [
            {"episode_id": key, "guid": key, "language": "de" if key == GERMAN else "en", "enclosure_url": "https://a.test/"}
            for key in (ONE, TWO, THREE, GERMAN)
        ]  # fmt: skip
        land(self.lake, EPISODES, "show", rows)
        for key, digest in ((ONE, BYTES), (TWO, BYTES), (THREE, LOSSLESS), (GERMAN, BYTES)):
            self.fetch(key, digest)

    def fetch(self, key: str, digest: str) -> None:
        uri = f"audio/{digest[:2]}/{digest}.mp3"
        with self.lake.home.writing(uri) as stream:
            stream.write(digest.encode())
        row = {"audio_sha256": digest, "storage_uri": uri, "fetched_at": NOON}
        land(self.lake, ACQUISITIONS, key, [row], audio_sha256=digest)

    def decoded(self, key: str, digest: str) -> None:
        row = {"audio_sha256": digest, "pcm16k_sha256": "c" * 64}
        land(self.lake, HASHES, key, [row], audio_sha256=digest)

    def _engine(self, audio: Iterable[Audio]) -> Iterator[Done]:
        for one in audio:
            self.given.append(one.episode_id)
            words = (Word(f"said-{len(self.given)}", 0, 300, 0.9),)
            yield Done(one, Transcript(words, speech_ms=300, engine_ms=7), None, self.spec, audio_ms=500)

    def transcribe(self, *keys: str) -> list[str | None]:
        """What is landed: the episode from whose landing each one's rows are."""
        batch = Batch(keys, {"audio": self.lake.runs("audio", keys)})
        run = Run("run", "run", datetime.now(UTC), len(keys))
        outcomes = list(
            engine_outcomes(
                transcript,
                batch,
                Catalogue(self.lake),
                self.store,
                self._engine,
                _rows,
                lambda _: self.spec.fingerprint,
            )
        )
        for outcome in outcomes:
            land_outcome(self.lake, transcript, outcome, run)
        assert sorted(outcome.key for outcome in outcomes) == sorted(keys)
        of = {outcome.key: outcome.cost.reused_from for outcome in outcomes}
        return [of[key] for key in keys]

    def words(self, keys: Sequence[str]) -> list[tuple[str, str, str]]:
        return [(row.episode_id, row.audio_sha256, row.word) for key in keys for row in self.lake.rows(WORDS, key)]


@pytest.fixture
def show(tmp_path: Path) -> Show:
    return Show(tmp_path)


def test_equal_bytes_of_an_earlier_landing_are_not_transcribed_again(show: Show) -> None:
    assert show.transcribe(ONE) == [None]
    assert show.transcribe(TWO) == [ONE]
    assert show.given == [ONE]
    assert show.words((ONE, TWO)) == [(ONE, BYTES, "said-1"), (TWO, BYTES, "said-1")]
    (row,) = STAGE_RUNS.rows_of(show.lake.history("transcript", TWO))
    assert (row.reused_from, row.engine, row.speech_ms, row.engine_ms, row.device) == (ONE, "echo", 300, None, None)


def test_equal_decoded_audio_counts_and_rows_carry_their_own_bytes(show: Show) -> None:
    show.decoded(ONE, BYTES)
    show.transcribe(ONE)
    assert show.transcribe(TWO, THREE) == [ONE, None], "what is not hashed yet is not known to be equal"
    show.fetch(THREE, LOSSLESS)
    show.decoded(THREE, LOSSLESS)
    show.spec = replace(show.spec, revision="2")
    show.transcribe(ONE)
    seal_settled(show.lake)
    assert show.transcribe(THREE) == [ONE]
    assert show.words([THREE]) == [(THREE, LOSSLESS, "said-3")]


def test_twins_in_one_batch_are_transcribed_once(show: Show) -> None:
    assert show.transcribe(ONE, TWO, GERMAN) == [None, ONE, None], "another language is another task"
    assert show.given == [ONE, GERMAN]


def test_a_new_materialization_and_another_engine_do_the_work(show: Show) -> None:
    show.transcribe(ONE, TWO)
    assert show.transcribe(TWO) == [None]
    show.spec = replace(show.spec, revision="2")
    assert show.transcribe(ONE) == [None]
    assert show.transcribe(TWO) == [ONE]
    assert show.given == [ONE, TWO, ONE]


def test_twins_without_audio_all_fail(show: Show) -> None:
    show.lake.home.remove("audio", "aa", f"{BYTES}.mp3")
    batch = Batch((ONE, TWO), {"audio": show.lake.runs("audio", (ONE, TWO))})
    found = engine_outcomes(transcript, batch, Catalogue(show.lake), show.store, show._engine, _rows, lambda _: "f")
    errors = {one.key: one for one in found}
    assert not any(isinstance(one, Landing) for one in errors.values())
    assert {key: one.error_class for key, one in errors.items()} == dict.fromkeys((ONE, TWO), AudioRemoved.error_class)
