"""Finds what a token is for, and shares it: listeners of the same episode read, encode and keep it once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dagster_project.podcasts import State, statuses
from gateway.listening.making import MakingRecording, prepare
from gateway.listening.messages import StreamFailed
from gateway.listening.parts import EpisodeAudio, Parts
from gateway.listening.recordings import PART_CLUSTERS, LandedRecording, Passage, Recording, passages_of
from gateway.studio import Studio
from pages.episode import load_episode
from resources.fetch.audio_store import AudioStore
from resources.lake.tables.studio import (
    PODCAST_AUDIO,
    PODCAST_TURNS,
    SCRIPTS,
    STREAM_CLUSTERS,
    STREAM_PACKAGES,
    StreamClusterRow,
)
from resources.lake.warehouse import ask, connect
from resources.listening_tokens import Kind
from resources.studio.ledger import Request
from speech.errors import PodlakeError
from speech.spoken_turns import SpokenTurn, passage
from speech.webm import Cluster, read_clusters

KEPT_S = 60.0
"""How long a recording is kept without listeners: one whose connection was lost comes back."""
_EPISODE = """
select coalesce(episode.title, episode.episode_id), episode.language, audio.audio_sha256,
    if(removed.landed_at > audio.fetched_at, removed.copy_uri, audio.storage_uri), hashes.duration_ms,
    coalesce(hashes.decode_errors > 0 or hashes.clock_jumps > 0, false)
from lake.episodes as episode
left join acquisitions as audio using (episode_id)
left join removed_audio as removed using (audio_sha256)
left join hashes using (audio_sha256)
where episode.episode_id = ? order by audio.fetched_at desc nulls last limit 1
"""


@dataclass
class _Shared:
    recording: Recording
    n_listeners: int = 0


@dataclass
class Library:
    """The recordings of a service. All calls are of one event loop."""

    studio: Studio
    store: AudioStore
    parts: Parts
    _shared: dict[tuple[Kind, str], asyncio.Task[_Shared]] = field(default_factory=dict)

    @classmethod
    def of(cls, studio: Studio, store: AudioStore, limit_bytes: int) -> Library:
        """`limit_bytes` of what is encoded stay in the cache."""
        settings = studio.settings
        return cls(studio, store, Parts(settings.cache_folder, limit_bytes, int(settings.cache_gb * 1e9)))

    @asynccontextmanager
    async def listening(self, kind: Kind, key: str) -> AsyncIterator[Recording]:
        """The recording, for one more listener. Raises `StreamFailed`."""
        shared = await self._opened(kind, key)
        shared.n_listeners += 1
        try:
            yield shared.recording
        finally:
            shared.n_listeners -= 1
            if not shared.n_listeners:
                asyncio.get_running_loop().call_later(KEPT_S, self._forget, kind, key, shared)

    async def check(self, kind: Kind, key: str) -> None:
        """Raises `StreamFailed` if it cannot be listened to."""
        await self._opened(kind, key)

    async def close(self) -> None:
        """End what is being made and encoded."""
        for task in self._shared.values():
            if task.done() and not task.cancelled() and not task.exception():
                _close(task.result())
        self._shared.clear()
        await asyncio.to_thread(self.parts.close)

    async def _opened(self, kind: Kind, key: str) -> _Shared:
        """Loaded once for those who ask at the same time."""
        task = self._shared.get((kind, key))
        if task is None:
            task = self._shared[kind, key] = asyncio.create_task(self._load(kind, key))
        try:
            shared = await asyncio.shield(task)
        except Exception:
            self._shared.pop((kind, key), None)
            raise
        if isinstance(shared.recording, MakingRecording) and shared.recording.has_failed:
            self._shared.pop((kind, key), None)  # it may have been made since
            return await self._opened(kind, key)
        return shared

    async def _load(self, kind: Kind, key: str) -> _Shared:
        load = self._podcast if kind == "podcast" else self._episode
        shared = _Shared(await asyncio.to_thread(load, key))
        if isinstance(shared.recording, MakingRecording):
            asyncio.get_running_loop().run_in_executor(None, prepare)
        asyncio.get_running_loop().call_later(KEPT_S, self._forget, kind, key, shared)
        return shared

    def _forget(self, kind: Kind, key: str, shared: _Shared) -> None:
        task = self._shared.get((kind, key))
        if task and task.done() and not task.exception() and task.result() is shared and not shared.n_listeners:
            del self._shared[kind, key]
            _close(shared)

    def _episode(self, key: str) -> Recording:
        with connect(self.studio.lake.home) as connection:
            found = ask(connection, _EPISODE, [key])
            if not found:
                raise StreamFailed("not_found", f"There is no episode {key}.")
            title, language, sha256, uri, duration_ms, is_damaged = found[0]
            if not uri or not self.store.has(uri):
                raise StreamFailed("no_audio", f"The audio of {key} is not fetched yet, or not kept.")
            try:
                page = load_episode(connection, key)
            except PodlakeError:
                passages: list[Passage] = []
            else:
                words = (
                    (turn.turn_idx, page.name_of(turn.speaker) if turn.speaker else None, word.text.strip(),
                     word.start_ms, word.end_ms)
                    for turn in page.turns for word in turn.words
                )  # fmt: skip
                passages = sorted(passages_of(words), key=lambda one: one.start_ms)
        # A copy that retention has made has another content than the hash says, and no waveform is made of it.
        audio = EpisodeAudio(sha256, self.store.local(uri), is_damaged and Path(uri).stem == sha256)
        return LandedRecording(key, title, language, duration_ms, passages, partial(self.parts.read, audio))

    def _podcast(self, key: str) -> Recording:
        packages, clusters = self.studio.lake.rows(STREAM_PACKAGES, key), self.studio.lake.rows(STREAM_CLUSTERS, key)
        scripts, audio = self.studio.lake.rows(SCRIPTS, key), self.studio.lake.rows(PODCAST_AUDIO, key)
        if packages and scripts and audio:
            turns = self.studio.lake.rows(PODCAST_TURNS, key)
            rows = sorted((one for one in clusters if one.cluster_idx >= 0), key=lambda one: one.cluster_idx)
            path = self.studio.files.local(packages[0].path)
            passages = [one for turn in turns for one in _passages(turn.turn_idx, SpokenTurn(
                turn.speaker, turn.start_ms, turn.end_ms, turn.text))]  # fmt: skip
            return LandedRecording(
                key, scripts[0].title, scripts[0].language, audio[0].duration_ms, passages,
                lambda index: asyncio.to_thread(_read, path, rows[index * PART_CLUSTERS : (index + 1) * PART_CLUSTERS]),
            )  # fmt: skip
        request = self.studio.ledger.request(key)
        if request is None:
            raise StreamFailed("not_found", f"There is no podcast {key}.")
        state, error = self._state(request)
        if state in ("failed", "cancelled"):
            raise StreamFailed(f"podcast_{state}", error or f"The podcast was {state}.")
        return MakingRecording(request, self.studio.files, self.studio.lake, self._state)

    def _state(self, request: Request) -> tuple[State, str | None]:
        current = self.studio.ledger.request(request.podcast_id) or request  # it may be cancelled by now
        (found,) = statuses(self.studio.instance, self.studio.lake, [current])
        return found.state, found.error


def _passages(turn_idx: int, turn: SpokenTurn) -> list[Passage]:
    words = passage(turn).words
    return list(passages_of((turn_idx, turn.speaker, word.text, word.start_ms, word.end_ms) for word in words))


def _read(path: Path, rows: list[StreamClusterRow]) -> list[Cluster]:
    if not rows:
        return []
    with path.open("rb") as file:
        file.seek(rows[0].offset_bytes)
        return list(read_clusters(file.read(sum(row.size_bytes for row in rows))))


def _close(shared: _Shared) -> None:
    if isinstance(shared.recording, MakingRecording):
        shared.recording.close()
