"""Links of speakers to voices: new episodes relabel nothing, decisions hold, and real readers are told apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bench import voices as bench
from speech.engines.speaker_embeddings import DIMENSIONS, EMBEDDING_MODEL, embedding_mean
from speech.voices import (
    MANUAL,
    NEW,
    NO_EMBEDDING,
    OTHER_MODEL,
    SIMILARITY,
    TOO_LITTLE_SPEECH,
    Decisions,
    DiarizedEpisode,
    EpisodeSpeaker,
    Link,
    Pin,
    SameAs,
    Voice,
    link_feed,
)
from speech.voices_across import link_across

RANDOM = np.random.default_rng(3)
ADA, BOB, CLEO = RANDOM.standard_normal((3, DIMENSIONS)).astype(np.float32)


def embedding(person: np.ndarray, noise: float = 0.5) -> np.ndarray:
    """An embedding of the person, as the model gives it: most of it is the same for all people."""
    own = person + noise * RANDOM.standard_normal(DIMENSIONS).astype(np.float32)
    vector = embedding_mean() + 0.7 * own / np.linalg.norm(own)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def speaker(label: str, person: np.ndarray, speech_ms: int = 30_000) -> EpisodeSpeaker:
    return EpisodeSpeaker(label, embedding(person), EMBEDDING_MODEL, speech_ms)


def episode(number: int, *speakers: EpisodeSpeaker, version: str = "1") -> DiarizedEpisode:
    return DiarizedEpisode(f"show-2026010{number}-00000000", version, speakers)


def voices_of(links: Sequence[Link]) -> list[str | None]:
    return [link.voice_id for link in links]


FIRST = episode(1, speaker("S1", ADA), speaker("S2", BOB))
SECOND = episode(2, speaker("S1", BOB), speaker("S2", CLEO), speaker("S3", ADA))


def test_speakers_of_two_episodes_are_linked_and_new_ones_get_a_voice() -> None:
    links, voices = link_feed("show", [FIRST, SECOND], {})
    (ada, bob), second = voices_of(links[FIRST.episode_id]), links[SECOND.episode_id]
    assert [link.method for link in links[FIRST.episode_id]] == [NEW, NEW]
    assert (second[0].voice_id, second[2].voice_id) == (bob, ada)
    assert [link.method for link in second] == [SIMILARITY, NEW, SIMILARITY]
    assert second[0].similarity is not None
    assert second[0].similarity > 0.7
    assert second[0].margin is not None
    assert second[0].margin > 0.5
    assert {voice.voice_id for voice in voices} == {ada, bob, second[1].voice_id}
    assert link_feed("show", [FIRST, SECOND], {})[0] == links, "the ids do not depend on the moment"


def test_new_episodes_change_no_link() -> None:
    known, _ = link_feed("show", [FIRST], {})
    more, _ = link_feed("show", [FIRST, SECOND], known)
    assert more[FIRST.episode_id] == known[FIRST.episode_id]
    assert more == link_feed("show", [FIRST, SECOND], {})[0]


def test_two_speakers_of_an_episode_are_never_one_voice() -> None:
    twice = episode(2, speaker("S1", ADA), speaker("S2", ADA))
    links, _ = link_feed("show", [FIRST, twice], {})
    one, other = voices_of(links[twice.episode_id])
    assert one != other
    assert voices_of(links[FIRST.episode_id])[0] in (one, other)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (EpisodeSpeaker("S1"), NO_EMBEDDING),
        (speaker("S1", ADA, 3_999), TOO_LITTLE_SPEECH),
        (EpisodeSpeaker("S1", embedding(ADA), "another", 30_000), OTHER_MODEL),
    ],
)
def test_speakers_that_cannot_be_compared_have_a_reason_instead_of_a_voice(one: EpisodeSpeaker, reason: str) -> None:
    links, voices = link_feed("show", [episode(1, one)], {})
    assert links[FIRST.episode_id] == [Link("S1", reason=reason)]
    assert voices == []


def test_a_feed_that_is_diarized_again_keeps_its_voices() -> None:
    links, voices = link_feed("show", [FIRST], {})
    ada, bob = voices_of(links[FIRST.episode_id])
    again = episode(1, speaker("S1", BOB), speaker("S2", ADA), version="2")
    assert voices_of(link_feed("show", [again], {}, former=voices)[0][FIRST.episode_id]) == [bob, ada]
    other = episode(1, speaker("S1", CLEO), version="2")
    assert voices_of(link_feed("show", [other], {}, former=voices)[0][FIRST.episode_id])[0] not in (ada, bob)


class TestDecisions:
    links, _ = link_feed("show", [FIRST, SECOND], {})
    ada, bob = voices_of(links[FIRST.episode_id])
    pin = Pin(
        episode_id=SECOND.episode_id, speaker="S1", voice_id="show-vpinned", diarization_version="1",
        embedding=tuple(embedding(BOB).tolist()), embedding_model=EMBEDDING_MODEL,
    )  # fmt: skip

    def test_a_merged_voice_is_part_of_the_other_for_old_and_new_episodes(self) -> None:
        decided = Decisions(merged={str(self.bob): str(self.ada)})
        third = episode(3, speaker("S1", BOB))
        links, _ = link_feed("show", [FIRST, SECOND, third], self.links, decided)
        assert voices_of(links[FIRST.episode_id]) == [self.ada, self.ada]
        assert voices_of(links[third.episode_id]) == [self.ada]

    def test_a_pinned_speaker_has_its_voice_and_the_others_stay(self) -> None:
        links, voices = link_feed("show", [FIRST, SECOND], self.links, Decisions(pins=(self.pin,)))
        assert links[SECOND.episode_id][0] == Link("S1", "show-vpinned", method=MANUAL)
        assert links[SECOND.episode_id][1:] == self.links[SECOND.episode_id][1:]
        assert "show-vpinned" in {voice.voice_id for voice in voices}

    def test_another_diarization_that_names_speakers_differently_keeps_the_decision(self) -> None:
        again = episode(2, speaker("A", CLEO), speaker("S1", ADA), speaker("C", BOB), version="2")
        known = {FIRST.episode_id: self.links[FIRST.episode_id]}
        links, _ = link_feed("show", [FIRST, again], known, Decisions(pins=(self.pin,)))
        assert voices_of(links[again.episode_id])[1:] == [self.ada, "show-vpinned"]


def test_voices_of_different_feeds_are_linked_once() -> None:
    voices = [Voice(name, embedding(ADA, 0.2)) for name in ("a-v1", "b-v1", "c-v1")]
    voices += [Voice("a-v2", embedding(BOB)), Voice("b-v2", embedding(CLEO))]
    found = link_across(voices, {})
    assert {name: same.voice_id for name, same in found.items()} == {"b-v1": "a-v1", "c-v1": "a-v1"}
    assert all(same.method == "across" and same.similarity and same.similarity > 0.65 for same in found.values())
    assert link_across(voices, found) == {}
    known = {"c-v1": SameAs("b-v1", MANUAL)}
    assert {name: same.voice_id for name, same in link_across(voices, known).items()} == {"a-v1": "b-v1"}, "it stays"


def test_real_readers_through_other_channels_are_told_apart() -> None:
    if not bench.DATA.exists():
        pytest.skip("needs the recordings of ../shared/data")
    pytest.importorskip("onnxruntime")
    found = bench.short_rounds(n_rounds=2)
    assert bench.f1(bench.linked(found), bench.readers_of(found, found)) >= 0.95
    assert bench.relabelled(found) == 0
