"""What users decide about voices: a file `voices/<feed>.json` in the home, which no stage writes or replaces."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from pydantic import TypeAdapter

from resources.lake.home import Home
from resources.lake.locks import one_process
from speech.voices import Decisions

FOLDER = "voices"
_DECISIONS = TypeAdapter(Decisions)


def decisions_of(home: Home, feed_id: str) -> Decisions:
    """The decisions about the feed's voices; none if there is no file."""
    if not home.exists(FOLDER, f"{feed_id}.json"):
        return Decisions()
    return _DECISIONS.validate_json(home.read(FOLDER, f"{feed_id}.json"))


def decided_feeds(home: Home) -> list[str]:
    """The feeds about whose voices something is decided."""
    return [name.removesuffix(".json") for name in home.names(FOLDER) if name.endswith(".json")]


def change_decisions(home: Home, feed_id: str, change: Callable[[Decisions], Decisions]) -> Decisions:
    """Change the file, which readers see before or after. One process of this machine at a time. Raises `StorageError`."""
    with one_process(home, "voices", feed_id):
        before = decisions_of(home, feed_id)
        after = change(before)
        if after != before:
            with home.writing(FOLDER, f"{feed_id}.json") as stream:
                stream.write(_DECISIONS.dump_json(after, indent=1))
        return after


def forget_same_as(home: Home, feed_id: str, voice_ids: Collection[str]) -> None:
    """Remove that these voices of the feed are the same as voices of others."""
    change_decisions(
        home,
        feed_id,
        lambda decisions: replace(
            decisions, same_as={name: same for name, same in decisions.same_as.items() if name not in voice_ids}
        ),
    )


def forget_pins(home: Home, feed_id: str, episode_ids: Collection[str]) -> None:
    """Remove what a user has decided about speakers of these episodes: it contains their embeddings."""
    change_decisions(
        home,
        feed_id,
        lambda decisions: replace(
            decisions, pins=tuple(pin for pin in decisions.pins if pin.episode_id not in episode_ids)
        ),
    )
