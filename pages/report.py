"""What a feed, or the whole lake, holds and has cost: tables to print, and an HTML page of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from resources.lake.warehouse import ask
from speech.errors import PodlakeError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Section:
    """A table with a heading."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The sections that have rows, in order."""

    title: str
    sections: tuple[Section, ...]


def load_report(connection: DuckDBPyConnection, feed_id: str | None) -> Report:
    """The report of a feed; None: of the whole lake. Raises PodlakeError for an unknown feed."""
    if feed_id is not None and not ask(connection, "select 1 from episodes where feed_id = ? limit 1", [feed_id]):
        raise PodlakeError(f"There is no feed {feed_id} with episodes. `podlake list` shows the feeds.")
    sections = []
    for title, sql in _SECTIONS.items():
        answer = connection.execute(sql, {"feed": feed_id})
        columns = tuple(column[0].replace("_", " ") for column in answer.description or ())
        sections.append(Section(title, columns, tuple(ask(connection, sql, {"feed": feed_id}))))
    return Report(feed_id or "All feeds", tuple(one for one in sections if one.rows))


_SECTIONS = {
    "Episodes": """
        select count(*) as episodes, count(quality.episode_id) as transcribed,
            round(coalesce(sum(quality.duration_ms), 0) / 3.6e6, 2) as audio_hours,
            round(coalesce(sum(quality.speech_ms), 0) / 3.6e6, 2) as speech_hours,
            round(coalesce(sum(quality.usable_ms), 0) / 3.6e6, 2) as usable_hours,
            coalesce(sum(quality.n_words), 0)::bigint as words,
            min(published_at)::date as oldest, max(published_at)::date as newest
        from episodes as episode left join quality using (episode_id)
        where $feed is null or episode.feed_id = $feed""",
    "Languages": """
        select coalesce(quality.language_detected, quality.language_declared, 'unknown') as language, count(*) as episodes,
            round(sum(duration_ms) / 3.6e6, 2) as audio_hours, count(*) filter (not language_agrees) as not_as_declared
        from quality join episodes as episode using (episode_id)
        where $feed is null or episode.feed_id = $feed
        group by 1 order by audio_hours desc, 1""",
    "Speakers": """
        select n_speakers as speakers, count(*) as episodes, round(sum(speech_ms) / 3.6e6, 2) as speech_hours,
            round(100 * avg(overlap_ratio), 1) as overlap_percent, count(*) filter (speakers_saturated) as at_the_limit
        from quality join episodes as episode using (episode_id)
        where $feed is null or episode.feed_id = $feed
        group by 1 order by 1""",
    "Quality": """
        select unnest(if(len(flags) = 0, ['no flag'], flags)) as flag, count(*) as episodes,
            round(sum(duration_ms) / 3.6e6, 2) as audio_hours, round(avg(mean_confidence), 3) as mean_confidence,
            round(avg(words_per_minute), 0) as words_per_minute
        from quality join episodes as episode using (episode_id)
        where $feed is null or episode.feed_id = $feed
        group by 1 order by episodes desc, 1""",
    "Failures": """
        select stage, error_class, count(*) as episodes, count(*) filter (retryable) as retried_later,
            arg_max(message, last_at) as newest_message
        from failures where $feed is null or feed_id = $feed
        group by 1, 2 order by episodes desc, 1, 2""",
    "Cost": """
        select stage, coalesce(engine, '') as engine, coalesce(device, '') as device,
            count(*) filter (outcome = 'landed') as landed, count(*) filter (outcome <> 'landed') as failed,
            round(sum(audio_ms) / 3.6e6, 2) as audio_hours, round(sum(engine_ms) / 3.6e6, 3) as engine_hours,
            round(sum(audio_ms) filter (engine_ms > 0) / nullif(sum(engine_ms), 0), 1) as times_real_time
        from stage_runs
        where $feed is null or episode_id = $feed
            or episode_id in (select episode_id from episodes where feed_id = $feed)
        group by 1, 2, 3 order by engine_hours desc nulls last, landed desc, 1""",
}
