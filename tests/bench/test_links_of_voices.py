"""The benchmark of voices across episodes on speakers that are known."""

from __future__ import annotations

import numpy as np

from bench.voices import Pairs, pairs_across
from speech.engines.speaker_embeddings import EMBEDDING_MODEL
from speech.voices import DiarizedEpisode, EpisodeSpeaker


def test_speakers_without_a_voice_are_in_no_pair() -> None:
    ann, bob = np.random.default_rng(0).standard_normal((2, 192)).astype(np.float32)

    def episode(name: str, bob_spoke_ms: int) -> DiarizedEpisode:
        spoken = (("S1", ann, 30_000), ("S2", bob, bob_spoke_ms))
        return DiarizedEpisode(
            name, "1",
            tuple(EpisodeSpeaker(one, vector / np.linalg.norm(vector), EMBEDDING_MODEL, ms) for one, vector, ms in spoken),
        )  # fmt: skip

    found = [episode("0-first", 30_000), episode("1-second", 100)]
    truth = {(one.episode_id, speaker): reader for one in found for speaker, reader in (("S1", "ann"), ("S2", "bob"))}
    assert pairs_across(found, 0.65, truth) == Pairs(linked=1, same=1, both=1)
