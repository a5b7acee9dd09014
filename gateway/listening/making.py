"""A podcast that is being made, as a live stream: its lines are encoded as they appear, at the times of the finished podcast."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from dagster_project.podcasts import State
from gateway.listening.messages import StreamFailed
from gateway.listening.recordings import Passage, passages_of
from resources.lake.lake import Lake
from resources.lake.tables.studio import SPEECH_LINES
from resources.studio.files import StudioFiles
from resources.studio.ledger import Request
from speech.engines.line_synthesizer import Sound, read_wav
from speech.errors import PodlakeError
from speech.mastering import CEILING_DBTP, Spoken, closing_silence, limited
from speech.opus_stream import ClusterEncoder
from speech.script import ScriptTurn, parse_script
from speech.spoken_turns import SpokenTurn, passage
from speech.webm import CLUSTER_MS, Cluster

LOOK_S = 0.2
"""How soon a line is seen."""
LOOKS = 8
"""Looks for a line, while the state of the podcast is asked for once."""
log = logging.getLogger("podlake")


@dataclass
class MakingRecording:
    """All clusters of the podcast so far, 4 kB a second, which its listeners share."""

    request: Request
    files: StudioFiles
    lake: Lake
    state: Callable[[Request], tuple[State, str | None]]
    """The state of a podcast, and its error. Takes a moment."""
    passages: list[Passage] = field(default_factory=list)
    is_live: bool = True
    duration_ms: int | None = None
    _clusters: list[Cluster] = field(default_factory=list)
    _failed: StreamFailed | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    @property
    def key(self) -> str:
        return self.request.podcast_id

    @property
    def title(self) -> str:
        return self.request.title

    @property
    def language(self) -> str | None:
        return self.request.language

    @property
    def has_failed(self) -> bool:
        return self._failed is not None

    async def clusters(self, from_ms: int) -> AsyncIterator[Cluster]:
        if self._task is None:
            self._task = asyncio.create_task(self._make())
        at = from_ms // CLUSTER_MS
        while True:
            changed = self._changed
            for cluster in self._clusters[at:]:
                yield cluster
                at += 1
            if at >= len(self._clusters):
                if self._failed is not None:
                    raise self._failed
                if not self.is_live:
                    return
                await changed.wait()

    def close(self) -> None:
        """Nobody listens any more."""
        if self._task is not None:
            self._task.cancel()

    async def _make(self) -> None:
        spoken, encoder = Spoken(), ClusterEncoder()
        try:
            for index, turn in enumerate(parse_script(self.request.script)):
                sound = await self._line(index)
                clusters, own = await asyncio.to_thread(_encoded, spoken, encoder, index, turn, sound)
                self.passages += own
                self._publish(clusters)
            clusters = await asyncio.to_thread(_ending, encoder)
            self.duration_ms = round((spoken.n_samples + len(closing_silence())) / 48)
            self.is_live = False
            self._publish(clusters)
        except StreamFailed as failed:
            self._fail(failed)
        except PodlakeError as error:
            self._fail(StreamFailed("podcast_failed", str(error)))
        except Exception:
            log.exception("%s cannot be streamed", self.key)
            self._fail(StreamFailed("internal", "The stream failed. The log of the service has the reason."))

    def _publish(self, clusters: list[Cluster]) -> None:
        self._clusters += clusters
        self._changed.set()
        self._changed = asyncio.Event()

    def _fail(self, failed: StreamFailed) -> None:
        self._failed = failed
        self._publish([])

    async def _line(self, index: int) -> Sound:
        """The line of a turn, when it is there: a local file, until the stage has landed all lines in the home."""
        while True:
            asking = asyncio.create_task(asyncio.to_thread(self._otherwise, index))
            try:
                for _ in range(LOOKS):
                    if sound := await asyncio.to_thread(self._said_line, index):
                        return sound
                    await asyncio.sleep(LOOK_S)
                if sound := await asking:
                    return sound
            finally:
                asking.cancel()

    def _said_line(self, index: int) -> Sound | None:
        try:
            path = self.files.newest_line(self.key, index)
            return None if path is None else read_wav(path)
        except FileNotFoundError:  # removed since the look: it is in the home
            return None

    def _otherwise(self, index: int) -> Sound | None:
        """The line in the home. Raises `StreamFailed` if there will be none. Takes longer than a look for a file."""
        if landed := self._landed_line(index):
            return landed
        state, error = self.state(self.request)
        if state in ("failed", "cancelled"):
            raise StreamFailed(f"podcast_{state}", error or f"The podcast was {state}.")
        return None

    def _landed_line(self, index: int) -> Sound | None:
        for row in self.lake.rows(SPEECH_LINES, self.key):
            if row.turn_idx == index:
                return read_wav(io.BytesIO(self.files.read(row.path)))
        return None


@cache
def prepare() -> None:
    """Load what the first line needs, which takes seconds, before the line is there."""
    second = Sound(np.full(22_050, 1_000, np.int16) * (np.arange(22_050) // 50 % 2 * 2 - 1).astype(np.int16), 22_050)
    _encoded(Spoken(), ClusterEncoder(), 0, ScriptTurn("S1", "Ready."), second)


def _encoded(
    spoken: Spoken, encoder: ClusterEncoder, index: int, turn: ScriptTurn, sound: Sound
) -> tuple[list[Cluster], list[Passage]]:
    """The clusters that a turn completes, and its words. Peaks are limited here; the whole is limited when it is mastered."""
    samples, span = spoken.append(turn.speaker, sound)
    words = passage(SpokenTurn(turn.speaker, span.start_ms, span.end_ms, turn.text)).words
    own = passages_of((index, turn.speaker, word.text, word.start_ms, word.end_ms) for word in words)
    return encoder.encode(limited(samples, CEILING_DBTP)), list(own)


def _ending(encoder: ClusterEncoder) -> list[Cluster]:
    return encoder.encode(closing_silence()) + encoder.finish()
