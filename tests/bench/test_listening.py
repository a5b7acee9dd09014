"""The model of a player's buffer, which says whether a listener would hear a gap."""

from __future__ import annotations

import pytest

from bench.listening import PlayerModel


def test_audio_in_time_has_no_gap() -> None:
    player = PlayerModel()
    for _ in range(10):
        player.receive(500, 100.0)
    for second in range(1, 60):
        player.receive(1_000, 100.0 + second)
    assert (player.gaps, player.gap_s) == (0, 0)
    assert player.most_ahead_ms == 5_000


def test_audio_that_comes_too_late_is_a_gap_of_that_length() -> None:
    player = PlayerModel()
    player.receive(2_500, 100.0)
    player.receive(500, 103.0)  # half a second after the end
    player.receive(500, 103.5)  # at the end
    player.receive(500, 105.0)
    assert player.gaps == 2
    assert player.gap_s == pytest.approx(1.5)


def test_a_player_does_not_begin_with_less_than_its_start_buffer() -> None:
    player = PlayerModel()
    for n in range(4):
        player.receive(500, 100.0 + 10 * n)
    assert player.gaps == 0
