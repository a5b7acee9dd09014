"""What a data set contains, in numbers: for its card, its manifest and the UI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resources.exports.selection import Selection
from resources.exports.splits import SPLITS
from resources.lake.duckdb_files import retry_if_file_vanished

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ENGINES = """
select stage, arg_max(coalesce(engine, '') || coalesce(' ' || model, ''), finished_at) as engine
from stage_runs join export_episodes using (episode_id)
where stage in ('diarization', 'transcript') and outcome = 'landed' and engine is not null
group by episode_id, stage
"""
_WER = """
select count(publisher_wer), median(publisher_wer) from quality join export_episodes using (episode_id, audio_sha256)
"""


@dataclass(frozen=True, order=True)
class Part:
    """Utterances that have something in common."""

    name: str
    n_utterances: int
    duration_ms: int
    n_speakers: int

    @property
    def hours(self) -> float:
        return self.duration_ms / 3.6e6


@dataclass(frozen=True)
class Facts:
    """What a data set contains."""

    splits: tuple[Part, ...]
    """Those with utterances, train first."""
    languages: tuple[Part, ...]
    licenses: tuple[Part, ...]
    n_shards: dict[str, int]
    """Split → shards."""
    engines: tuple[tuple[str, str, int], ...]
    """Stage, engine, episodes."""
    wer_episodes: int
    """Episodes with a publisher's transcript."""
    wer_median: float | None
    n_feeds: int
    n_episodes: int
    n_speakers: int
    n_unlinked: int
    """Speakers that are not linked to a voice."""
    unlinked_ms: int
    uncertain_ms: int
    """Duration of utterances whose mean confidence is under 0.6, or that have none."""
    overlapped_ms: int
    """Duration of utterances in which somebody else speaks too."""
    other_language_ms: int
    repeated_ms: int
    """Duration of utterances whose audio is in the data set under another episode too."""


def measure(connection: DuckDBPyConnection, selection: Selection) -> Facts:
    """Count the rows of the selection, and look up how they were made."""
    import duckdb

    with duckdb.connect() as counting:
        path = str(selection.rows).replace("'", "''")
        counting.execute(f"create view rows as from read_parquet('{path}')").fetchall()

        def parts(column: str) -> tuple[Part, ...]:
            found = counting.execute(
                f"select {column}, count(*), sum(duration_ms)::bigint, count(distinct speaker) from rows group by all"
            ).fetchall()
            return tuple(sorted(Part(name or "", *rest) for name, *rest in found))

        (totals,) = counting.execute(_TOTALS).fetchall()
        splits = {part.name: part for part in parts("split")}
        shards = counting.execute("select split, max(shard) + 1 from rows group by all").fetchall()
        engines = retry_if_file_vanished(
            lambda: connection.execute(
                f"select stage, engine, count(*) from ({_ENGINES}) group by all order by all"
            ).fetchall()
        )
        ((wer_episodes, wer_median),) = retry_if_file_vanished(lambda: connection.execute(_WER).fetchall())
        return Facts(
            tuple(splits[name] for name in SPLITS if name in splits),
            parts("language"),
            parts("license"),
            dict(shards),
            tuple(engines),
            wer_episodes,
            wer_median,
            *totals,
        )


_TOTALS = """
select
    count(distinct feed_id), count(distinct episode_id), count(distinct speaker),
    count(distinct speaker) filter (starts_with(speaker, concat(episode_id, '/'))),
    coalesce(sum(duration_ms) filter (starts_with(speaker, concat(episode_id, '/'))), 0)::bigint,
    coalesce(sum(duration_ms) filter (coalesce(mean_confidence, 0) < 0.6), 0)::bigint,
    coalesce(sum(duration_ms) filter (overlap_share > 0), 0)::bigint,
    coalesce(sum(duration_ms) filter (not language_agrees), 0)::bigint,
    coalesce((
        select sum(duration_ms) from (select *, count(*) over (partition by audio_sha256, start_ms, end_ms) as n from rows)
        where n > 1
    ), 0)::bigint
from rows
"""
