"""`utterances` lands what the rule cuts from the words, speakers and turns of one audio."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from assets.dataset.utterances import utterances
from dagster_project.build_resources import build_resources, utterance_rule
from dagster_project.settings import Settings
from pipeline.stage import Batch, Failure, Landing
from speech.errors import UpstreamMissing
from speech.utterances import UtteranceRule
from tests.landings import land_stage

KEY = "show-20260101-00000001"
SOUND = Path(__file__).parents[2] / "audio" / "tone.flac"
WORDS = [("Good", 200, 700), ("morning.", 750, 1_500), ("Hello", 2_600, 3_200), ("there.", 3_250, 3_900)]


@pytest.fixture
def resources(tmp_path: Path) -> dict:
    """An episode of four seconds with four words of two speakers, and no utterances."""
    given = build_resources(Settings(home=str(tmp_path), utterance_min_s=0.5))
    sha = hashlib.sha256(SOUND.read_bytes()).hexdigest()
    uri = f"audio/{sha[:2]}/{sha}.flac"
    (tmp_path / uri).parent.mkdir(parents=True)
    shutil.copy(SOUND, tmp_path / uri)
    made = {"run_id": "r", "audio_sha256": sha}
    lake = given["lake"]
    land_stage(lake, "audio", KEY, {"acquisitions": [{**made, "storage_uri": uri}]}, **made)
    words = [
        {
            **made,
            "word_idx": i,
            "word": word,
            "start_ms": start_ms,
            "end_ms": end_ms,
            "language": "en",
            "confidence": 0.8,
        }
        for i, (word, start_ms, end_ms) in enumerate(WORDS)
    ]
    land_stage(lake, "transcript", KEY, {"words": words}, **made)
    segments = [{**made, "speaker": "A", "start_ms": 0, "end_ms": 1_600}]
    land_stage(lake, "diarization", KEY, {"segments": segments}, **made)
    who = [{**made, "word_idx": i, "speaker": "AABB"[i], "rule": "inside", "turn_idx": i // 2} for i in range(4)]
    land_stage(lake, "turns", KEY, {"word_speakers": who}, **made)
    return given


def batch(given: dict) -> Batch:
    return Batch((KEY,), {name: given["lake"].runs(name, [KEY]) for name in utterances.inputs})


def outcome(given: dict) -> Landing | Failure:
    (made,) = utterances.work(batch(given), **{name: given[name] for name in utterances.needs})
    return made


def test_each_turn_is_an_utterance(resources: dict) -> None:
    landing = outcome(resources)
    assert isinstance(landing, Landing)
    found = [
        (
            row.utterance_idx,
            row.speaker,
            row.start_ms,
            row.end_ms,
            row.text,
            row.language,
            row.turn_idx,
            row.first_word_idx,
        )
        for row in landing.rows["utterances"]
    ]
    assert found == [
        (0, "A", 100, 1_600, "Good morning.", "en", 0, 0),
        (1, "B", 2_500, 4_000, "Hello there.", "en", 1, 2),
    ]
    first, second = landing.rows["utterances"]
    assert (first.speech_share, second.speech_share, first.mean_confidence) == (1.0, 0.0, pytest.approx(0.8))
    assert first.words_per_second == pytest.approx(2 / 1.5)
    assert "language_agrees: too little text" in first.absent


def test_inputs_of_other_bytes_are_refused(resources: dict) -> None:
    land_stage(resources["lake"], "turns", KEY, {}, run_id="r2", audio_sha256="b" * 64)
    failed = outcome(resources)
    assert isinstance(failed, Failure)
    assert isinstance(failed.error, UpstreamMissing)


def test_settings_that_leave_no_utterance_are_refused() -> None:
    with pytest.raises(ValidationError, match="more than PODLAKE_UTTERANCE_MIN_S"):
        Settings(utterance_min_s=40)


def test_the_settings_make_the_rule() -> None:
    made = utterance_rule(Settings(utterance_min_s=2, utterance_max_s=15, utterance_pause_ms=400))
    assert made == UtteranceRule(min_ms=2_000, max_ms=15_000, pause_ms=400)
