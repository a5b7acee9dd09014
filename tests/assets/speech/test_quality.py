"""`quality`: the detected language against the declared one, and the flags, through real stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from assets.audio.hashes import hashes
from assets.catalogue.episodes import episodes
from assets.catalogue.feeds import feeds
from assets.catalogue.publisher_transcript import publisher_transcript
from assets.dataset.utterances import utterances
from assets.speech.diarization import diarization
from assets.speech.quality import quality
from assets.speech.transcript import transcript
from assets.speech.turns import turns
from assets.stages import EPISODE_GRAPH
from dagster_project.build_resources import build_resources
from dagster_project.settings import Settings
from pipeline.asset_definition import as_asset
from pipeline.lake_state import LakeState
from pipeline.readiness import Episode, InFlight, PlanSettings, Reason, readiness
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.lake.catalogue import SINGLES
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES as CATALOGUE
from resources.lake.tables import QUALITY, UTTERANCES
from resources.lake.tables.dataset import QualityRow
from speech.types import SpokenLanguage
from tests.instances import instance_for_test
from tests.landings import filled, land, land_stage

ENGLISH = "so what did you think of the weather in the mountains last week when it would not stop raining"
FRENCH = "alors que pensez vous du temps qu'il faisait dans les montagnes la semaine dernière avec toute cette pluie"
CHINESE = " ".join("今天我们来谈谈上个星期山里的天气为什么一直下雨而且没有停下来的意思大家都觉得很奇怪")
TRANSCRIPT_URL = "https://example.org/transcript.txt"
HASHES = {
    "sha256": "a" * 64, "md5": "b" * 32, "pcm16k_sha256": "c" * 64, "chromaprint": None, "chromaprint_absent_reason": "made up",
    "container": "wav", "codec": "pcm_s16le", "bitrate": None, "sample_rate": 16_000, "channels": 1,
    "duration_header_ms": None, "duration_ms": 60_000, "decode_errors": 0, "clock_jumps": 0, "truncated": False, "loudness_lufs": -19.0,
    "loudness_absent_reason": None, "peak_dbfs": -3.0, "clip_rate": 0.0, "silence_ratio": 0.1,
}  # fmt: skip


def words_of(text: str, confidence: float | None = 0.9) -> list[dict[str, Any]]:
    """A word every half second, from the first second on."""
    return [
        {
            "word_idx": i, "word": word, "start_ms": 1_000 + 500 * i, "end_ms": 1_400 + 500 * i, "times_estimated": False,
            "confidence": confidence, "confidence_absent_reason": None if confidence else "made up", "chunk_idx": 0,
            "language": "en",
        }
        for i, word in enumerate(text.split())
    ]  # fmt: skip


def segments_of(*spans: tuple[str, int, int]) -> dict[str, list[dict[str, Any]]]:
    """Segments that do not overlap, and their speakers."""
    segments = [
        {
            "segment_idx": i, "speaker": speaker, "start_ms": start_ms, "end_ms": end_ms, "confidence": 0.9,
            "overlap_ms": 0,
        }
        for i, (speaker, start_ms, end_ms) in enumerate(spans)
    ]  # fmt: skip
    speakers = [
        {"speaker": one, "speech_ms": 1, "n_segments": 1, "first_ms": 0, "embedding": None, "embedding_model": None}
        for one in dict.fromkeys(speaker for speaker, *_ in spans)
    ]
    return {"segments": segments, "speakers": speakers}


@dataclass(frozen=True)
class Recorded:
    """What was declared of an episode, and what the stages before found in it."""

    language: str | None
    words: list[dict[str, Any]]
    speech: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: segments_of(("S1", 0, 30_000)))
    facts: dict[str, Any] = field(default_factory=dict)
    spoken: tuple[SpokenLanguage, ...] = ()
    published: tuple[str, ...] | None = None
    """The texts of the publisher's transcript; None: it has none."""
    published_language: str = "en"
    snr_db: tuple[float | None, ...] = ()
    """Of its utterances, each of two seconds."""


EPISODES = {
    "english": Recorded("en-US", words_of(ENGLISH)),
    "chinese": Recorded("cn", words_of(CHINESE)),
    "french-for-english": Recorded("en", words_of(FRENCH)),
    "undeclared": Recorded(None, words_of(FRENCH)),
    "french-by-sound": Recorded(
        "en", words_of(ENGLISH), spoken=(SpokenLanguage("fr", 0.8, 0.75), SpokenLanguage("en", 0.15, 0.25))
    ),
    "short": Recorded("en", words_of("too little to tell")),
    "two-speakers": Recorded("en", words_of(ENGLISH), segments_of(("S1", 0, 5_900), ("S2", 6_000, 12_000))),
    "published": Recorded("en", words_of(ENGLISH), published=(f"[Music] {ENGLISH.title()}!", "Rain, rain.")),
    "published-in-french": Recorded("en", words_of(ENGLISH), published=(FRENCH,), published_language="fr-CA"),
    "published-not-fetched": Recorded("en", words_of(ENGLISH), published=()),
    "published-music": Recorded("en", words_of(ENGLISH), published=("[Music]",)),
    "quiet": Recorded("en", words_of(ENGLISH), snr_db=(31, 25, None, 24)),
    "noisy": Recorded("en", words_of(ENGLISH), snr_db=(8, 15)),
    "silent": Recorded("en", [], segments_of()),
    "broken": Recorded(
        None,
        words_of(ENGLISH, confidence=0.3),
        segments_of(*((f"S{i + 1}", i * 1_000, (i + 1) * 1_000) for i in range(4))),
        {"truncated": True, "decode_errors": 3, "clip_rate": 0.01},
    ),
}


def _add_links(lake: Lake) -> None:
    """Links to transcripts in the catalogue's rows."""
    rows = lake.read(CATALOGUE, SINGLES).to_pylist()
    for row in rows:
        recorded = EPISODES[row["title"]]
        if recorded.published is not None:
            row["transcript_urls"] = [
                {"url": TRANSCRIPT_URL, "type": "text/plain", "language": recorded.published_language}
            ]
    land(lake, CATALOGUE, SINGLES, rows)


@pytest.fixture(scope="module")
def summed_up(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Episode → its row of `quality`, all of them from one run of each stage."""
    given = build_resources(Settings(home=str(tmp_path_factory.mktemp("home"))))
    for name, recorded in EPISODES.items():
        given["catalogue"].add_single(f"https://example.org/{name}.wav", name, recorded.language)
    titles: dict[str, str] = {}

    def landing(stage: Stage, rows: Callable[[Recorded], Mapping[str, list[dict[str, Any]]]], **cost: Any) -> Stage:
        """The stage, landing what is said above instead of doing its work."""

        def work(batch: Batch) -> Iterator[Outcome]:
            def landed(key: str) -> Landing:
                episode = EPISODES[titles[key]]
                absent = None if episode.spoken else "made up"
                languages = {"spoken_languages": episode.spoken, "spoken_language_absent_reason": absent}
                return Landing(key, rows(episode), Cost("a" * 64, "f" * 16, **languages, **cost))

            return each(batch.keys, landed)

        return replace(stage, work=work, inputs=(), pool=None)

    def spoken_in(recorded: Recorded) -> dict[str, list[dict[str, Any]]]:
        rows = [
            filled(UTTERANCES, {"utterance_idx": i, "end_ms": 2_000, "snr_db": snr_db, "bandwidth_hz": 7_000, "dnsmos_overall": 3.5})
            for i, snr_db in enumerate(recorded.snr_db)
        ]  # fmt: skip
        provenance = ("episode_id", "audio_sha256", "engine_fingerprint", "run_id", "landed_at")
        return {"utterances": [{name: row[name] for name in row if name not in provenance} for row in rows]}

    def published(recorded: Recorded) -> dict[str, list[dict[str, Any]]]:
        texts = enumerate(recorded.published or ())
        rows = [{"idx": idx, "text": text, "format": "text", "url": TRANSCRIPT_URL} for idx, text in texts]
        return {"publisher_segments": rows, "chapters": []}

    stages = [
        episodes,
        landing(hashes, lambda recorded: {"hashes": [{**HASHES, **recorded.facts}]}),
        landing(diarization, lambda recorded: recorded.speech, speaker_capacity=4),
        landing(transcript, lambda recorded: {"words": recorded.words}),
        turns,
        landing(utterances, spoken_in),
        landing(publisher_transcript, published),
        quality,
    ]
    assets = [feeds, *(as_asset(stage, batch_size=20, code_version="1") for stage in stages)]
    with instance_for_test() as instance:

        def run(*names: str, **partitions: Any) -> None:
            made = dg.materialize(assets, selection=names, instance=instance, resources=given, **partitions)
            assert made.success

        run("feeds")
        run("episodes", partition_key=SINGLES)
        keys = instance.get_dynamic_partitions("episodes")
        _add_links(given["lake"])
        titles |= {key: str(entry.title) for key, entry in given["catalogue"].entries(keys).items()}
        every_one = {ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[-1]}
        run(
            "hashes",
            "diarization",
            "transcript",
            "turns",
            "utterances",
            "publisher_transcript",
            "quality",
            tags=every_one,
        )
    return {titles[key]: given["lake"].read(QUALITY, key).to_pylist()[0] for key in keys}


@pytest.mark.parametrize(
    ("name", "declared", "detected", "agrees", "flags"),
    [
        ("english", "en", "en", True, []),
        ("chinese", "zh", "zh", True, []),
        ("french-for-english", "en", "fr", False, ["language_disagrees"]),
        ("undeclared", None, "fr", None, ["language_unknown"]),
        ("short", "en", None, None, []),
    ],
)
def test_the_language_of_the_text_is_compared_with_the_declared_one(
    summed_up, name: str, declared: str | None, detected: str | None, agrees: bool | None, flags: list[str]
) -> None:
    row = summed_up[name]
    assert (row["language_declared"], row["language_detected"], row["language_agrees"]) == (declared, detected, agrees)
    assert row["flags"] == flags


def test_the_language_of_the_sound_stands_beside_the_declared_one(summed_up) -> None:
    row = summed_up["french-by-sound"]
    assert (row["language_declared"], row["language_detected"], row["spoken_language"]) == ("en", "en", "fr")
    assert row["spoken_language_probability"] == pytest.approx(0.8)
    assert [(one["language"], one["share_of_windows"]) for one in row["spoken_languages"]] == [
        ("fr", 0.75),
        ("en", 0.25),
    ]
    assert row["flags"] == ["spoken_language_disagrees"]
    english = summed_up["english"]
    assert (english["spoken_language"], english["spoken_language_absent_reason"]) == (None, "made up")


def test_an_episode_is_summed_up(summed_up) -> None:
    row = summed_up["two-speakers"]
    n_words = len(ENGLISH.split())
    assert (row["duration_ms"], row["speech_ms"], row["overlap_ratio"]) == (60_000, 11_900, 0.0)
    assert (row["n_speakers"], row["speaker_capacity"], row["speakers_saturated"]) == (2, 4, False)
    assert (row["n_words"], row["words_unassigned"]) == (n_words, 0)
    assert row["mean_confidence"] == pytest.approx(0.9)
    assert row["words_per_minute"] == pytest.approx(n_words / (11.9 / 60), rel=1e-6)
    assert row["usable_ms"] == (5_900 - 1_000) + (1_400 + 500 * (n_words - 1) - 6_000)


def test_silence_is_an_episode_without_words(summed_up) -> None:
    row = summed_up["silent"]
    assert (row["tier"], row["tier_reasons"]) == ("C", ["no utterance: n_utterances 0 < 1"])
    assert (row["speech_ms"], row["n_words"], row["n_speakers"], row["usable_ms"]) == (0, 0, 0, 0)
    assert (row["overlap_ratio"], row["mean_confidence"], row["words_per_minute"]) == (None, None, None)
    assert row["flags"] == ["no_speech"]


def test_flags_stand_in_the_order_of_their_table(summed_up) -> None:
    row = summed_up["broken"]
    assert row["flags"] == [
        "truncated", "decode_errors", "clipped", "speakers_saturated", "language_unknown", "low_confidence",
        "unassigned_words",
    ]  # fmt: skip
    assert row["words_unassigned"] > 0


@pytest.mark.parametrize(
    ("name", "wer", "reason"),
    [
        ("published", 2 / (len(ENGLISH.split()) + 2), None),
        ("english", None, "no_transcript"),
        ("published-in-french", None, "other_language"),
        ("published-not-fetched", None, "not_fetched"),
        ("published-music", None, "no_words"),
    ],
)
def test_words_are_compared_with_the_publisher_s(summed_up, name: str, wer: float | None, reason: str | None) -> None:
    row = summed_up[name]
    assert row["publisher_wer"] == (wer and pytest.approx(wer))
    assert row["publisher_wer_absent_reason"] == reason


def test_utterances_are_summed_up_and_give_a_tier(summed_up) -> None:
    row = summed_up["quiet"]
    assert (row["n_utterances"], row["utterance_ms"], row["snr_db_median"]) == (4, 8_000, 25)
    assert row["snr_db_p10"] == pytest.approx(24.2)
    assert (row["bandwidth_hz_median"], row["dnsmos_overall_median"]) == (7_000, 3.5)
    assert (row["utterances_absent_reason"], row["tier"], row["tier_reasons"]) == (None, "A", [])
    noisy = summed_up["noisy"]
    assert (noisy["snr_db_median"], noisy["tier"]) == (11.5, "B")
    assert noisy["tier_reasons"] == ["noise: snr_db_median 11.5 < 20"]


@pytest.fixture
def failed(tmp_path) -> tuple[Lake, Batch, dict[str, Any]]:
    """An episode of which `utterances` and the publisher's transcript have failed: lake, batch of `quality`, resources."""
    given = build_resources(Settings(home=str(tmp_path)))
    lake, catalogue = given["lake"], given["catalogue"]
    key = "singles-20260101-00000001"
    rows = [
        {
            "episode_id": key,
            "title": "t",
            "transcript_urls": [{"url": TRANSCRIPT_URL, "type": "text/plain", "language": "en"}],
        }
    ]
    land(lake, CATALOGUE, SINGLES, rows)
    of = {"audio_sha256": "a" * 64, "run_id": "r"}
    land_stage(lake, "audio", key, {}, **of)
    land_stage(lake, "hashes", key, {"hashes": [{**HASHES, **of}]}, **of)
    land_stage(lake, "diarization", key, {}, **of)
    land_stage(lake, "transcript", key, {"words": [{**one, **of} for one in words_of(ENGLISH)]}, **of)
    land_stage(lake, "turns", key, {}, **of)
    upstream = {name: lake.runs(name, [key]) for name in quality.inputs}
    return lake, Batch((key,), upstream, {name: {} for name in quality.optional_inputs}), {"catalogue": catalogue, "lake": lake, "tiers": given["tiers"]}  # fmt: skip


def row_of(batch: Batch, resources: dict[str, Any]) -> QualityRow:
    (landing,) = quality.work(batch, **resources)
    assert isinstance(landing, Landing), landing
    (row,) = landing.rows["quality"]
    return row


def test_an_episode_is_summed_up_although_its_utterances_failed(failed) -> None:
    lake, batch, resources = failed
    row = row_of(batch, resources)
    assert (row.utterances_absent_reason, row.tier, row.n_utterances) == ("not_landed", None, None)
    assert (row.publisher_wer, row.publisher_wer_absent_reason) == (None, "not_fetched")
    (key,) = batch.keys
    land_stage(lake, "utterances", key, {}, audio_sha256="b" * 64, run_id="r")
    with_others = replace(batch, optional={name: lake.runs(name, [key]) for name in quality.optional_inputs})
    assert row_of(with_others, resources).utterances_absent_reason == "other_audio"


def test_what_lands_after_the_summary_is_planned_into_it(failed) -> None:
    lake, batch, _ = failed
    (key,) = batch.keys
    land_stage(lake, "quality", key, {}, run_id="r")

    def outdated() -> bool:
        state = LakeState.read(lake, EPISODE_GRAPH, [key])
        settings = PlanSettings(batch_sizes={})
        found = readiness(EPISODE_GRAPH, {key: Episode()}, state.commits, {}, InFlight(), settings, datetime.now(UTC))
        return found.ready["quality"] == {key: Reason.INPUTS}

    land_stage(lake, "utterances", key, {}, audio_sha256="a" * 64, run_id="r")
    assert not outdated(), "it waits for the publisher's transcript, which can run"
    land_stage(lake, "publisher_transcript", key, {}, run_id="r")
    assert outdated()
    land_stage(lake, "quality", key, {}, run_id="r")
    assert not outdated()
