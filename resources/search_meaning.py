"""Search by meaning: vectors of all turns in Parquet files of the local cache, which follow the landings of `turns`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.embeddings import Embedder
from resources.lake.warehouse import ask
from resources.search import LANDINGS, SNIPPET_CHARACTERS, Hit, QueryRefused, SearchQuery, SearchResult, locked

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EPISODES_AT_ONCE = 100
"""Episodes whose vectors are in one file: a killed update loses no more."""
TEXTS_AT_ONCE = 64
NEAREST = 10_000
"""Turns that are looked up if the query has no filters."""
_TEXTS = "select turn_idx, text from turns where episode_id = ? order by turn_idx"
_HITS = """
select turn.episode_id, coalesce(episode.title, turn.episode_id), episode.feed_id, turn.turn_idx, turn.speaker,
    turn.start_ms, turn.text, nearest.score, link.name
from nearest
join turns as turn using (episode_id, turn_idx)
join episodes as episode using (episode_id)
left join quality on quality.episode_id = turn.episode_id and quality.audio_sha256 = turn.audio_sha256
left join speaker_links as link
    on link.episode_id = turn.episode_id and link.audio_sha256 = turn.audio_sha256 and link.speaker = turn.speaker
    and coalesce(turn.diarization_version = link.diarization_version, true)
where ($feed is null or episode.feed_id = $feed)
    and ($language is null or coalesce(quality.language_detected, episode.language) = lower($language))
    and ($speaker is null or lower(turn.speaker) = lower($speaker) or lower(link.name) = lower($speaker)
        or link.voice_id = $speaker)
    and ($since is null or episode.published_at::date >= $since)
    and ($until is null or episode.published_at::date <= $until)
order by nearest.score desc, turn.episode_id, turn.turn_idx limit $limit
"""


@dataclass(frozen=True)
class MeaningIndex:
    """The vectors of one model. `folder` is deleted with the word index, for example when an episode is forgotten."""

    folder: Path
    embedder: Embedder

    def update(
        self, connection: DuckDBPyConnection, progress: Callable[[int, int], None] = lambda _done, _all: None
    ) -> int:
        """Embed the turns that have landed since the last update, and drop those that are gone. Returns the episodes."""
        with locked(self._place):
            current: dict[str, str] = dict(ask(connection, LANDINGS))
            known: dict[str, str] = {}
            for path in self._files():
                known |= _keep(path, current)
            new = sorted(episode for episode in current if episode not in known)
            for start in range(0, len(new), EPISODES_AT_ONCE):
                part = new[start : start + EPISODES_AT_ONCE]
                self._write({episode: current[episode] for episode in part}, connection)
                progress(start + len(part), len(new))
            return len(new)

    def search(self, connection: DuckDBPyConnection, query: SearchQuery, *, limit: int) -> SearchResult:
        """The turns that are nearest to the text in meaning, by cosine similarity."""
        if not query.text.strip():
            raise QueryRefused('Say what to search for, for example: podlake search --meaning "trains at night".')
        nearest = self._nearest(self.embedder.embed([query.text])[0], everything=_has_filters(query))
        connection.register("nearest", nearest)
        asked = {
            "feed": query.feed, "language": query.language, "speaker": query.speaker, "since": query.since,
            "until": query.until, "limit": limit,
        }  # fmt: skip
        try:
            rows = ask(connection, _HITS, asked)
        finally:
            connection.unregister("nearest")
        hits = tuple(Hit(*[*row[:6], row[5], _start(row[6]), (), *row[7:]]) for row in rows)
        return SearchResult(len(hits), hits)

    @property
    def _place(self) -> Path:
        return self.folder / f"meaning-{hashlib.sha256(self.embedder.name.encode()).hexdigest()[:12]}"

    def _files(self) -> list[Path]:
        return sorted(self._place.glob("*.parquet"))

    def _write(self, stamps: Mapping[str, str], connection: DuckDBPyConnection) -> None:
        rows = [
            (episode, stamp, turn_idx, text)
            for episode, stamp in stamps.items()
            for turn_idx, text in ask(connection, _TEXTS, [episode])
        ] or [(episode, stamp, -1, "") for episode, stamp in stamps.items()]  # remembers episodes without turns
        vectors = np.concatenate(list(self._vectors([text for *_, text in rows])))
        columns = {
            "episode_id": [row[0] for row in rows],
            "stamp": [row[1] for row in rows],
            "turn_idx": pa.array([row[2] for row in rows], pa.int32()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
        }
        _replace(self._place / f"{min(stamps)}.parquet", pa.table(columns))

    def _vectors(self, texts: list[str]) -> Iterator[np.ndarray]:
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            yield self.embedder.embed(texts[start : start + TEXTS_AT_ONCE])

    def _nearest(self, vector: np.ndarray, *, everything: bool) -> pa.Table:
        """Episode, turn and similarity of the nearest turns."""
        found = [
            pa.table(
                {
                    "episode_id": pa.array([], pa.string()),
                    "turn_idx": pa.array([], pa.int32()),
                    "score": pa.array([], pa.float32()),
                }
            )
        ]
        for path in self._files():
            rows = pq.read_table(path, columns=["episode_id", "turn_idx", "vector"]).combine_chunks()
            stored = rows["vector"].chunk(0).flatten().to_numpy() if rows.num_rows else np.zeros(0, np.float32)
            scores = stored.reshape(rows.num_rows, -1) @ vector if rows.num_rows else stored
            found.append(rows.select(["episode_id", "turn_idx"]).append_column("score", pa.array(scores, pa.float32())))
        every = pa.concat_tables(found)
        return every if everything else every.take(pc.select_k_unstable(every, NEAREST, [("score", "descending")]))


def _has_filters(query: SearchQuery) -> bool:
    return any((query.feed, query.language, query.speaker, query.since, query.until))


def _keep(path: Path, current: Mapping[str, str]) -> dict[str, str]:
    """Remove from the file what another landing has replaced. Returns episode → stamp of what stays."""
    rows = pq.read_table(path)
    pairs = zip(rows["episode_id"].to_pylist(), rows["stamp"].to_pylist(), strict=True)
    stays = [current.get(episode) == stamp for episode, stamp in pairs]
    kept = rows.filter(pa.array(stays, pa.bool_()))
    if kept.num_rows == 0:
        path.unlink()
    elif kept.num_rows < rows.num_rows:
        _replace(path, kept)
    return dict(zip(kept["episode_id"].to_pylist(), kept["stamp"].to_pylist(), strict=True))


def _replace(path: Path, rows: pa.Table) -> None:
    fresh = path.with_suffix(".part")
    pq.write_table(rows, fresh)
    fresh.replace(path)


def _start(text: str) -> str:
    if len(text) <= SNIPPET_CHARACTERS:
        return text
    return text[: max(text.rfind(" ", 0, SNIPPET_CHARACTERS), 1)]
