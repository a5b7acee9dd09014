"""What the corpus site shows of the whole lake: totals, feeds, episodes, speakers and distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from resources.lake.warehouse import ask
from speech.errors import PodlakeError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """A feed in the list."""

    feed_id: str
    title: str
    languages: tuple[str, ...]
    n_episodes: int
    n_read: int
    """Episodes with a transcript."""
    audio_ms: int
    speech_ms: int
    n_words: int
    newest_at: datetime | None


@dataclass(frozen=True, slots=True)
class EpisodeEntry:
    """An episode in a feed's list."""

    episode_id: str
    title: str
    published_at: datetime | None
    language: str | None
    duration_ms: int | None
    n_speakers: int | None
    n_words: int | None
    flags: tuple[str, ...]
    is_readable: bool
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a histogram."""

    label: str
    count: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many episodes fall into each class of a measure."""

    title: str
    bars: tuple[Bar, ...]

    @property
    def most(self) -> int:
        return max((bar.count for bar in self.bars), default=0) or 1


@dataclass(frozen=True, slots=True)
class Corpus:
    """The first page of the site."""

    feeds: tuple[FeedEntry, ...]
    histograms: tuple[Histogram, ...]
    n_voices: int
    """People across episodes."""

    @property
    def audio_ms(self) -> int:
        return sum(feed.audio_ms for feed in self.feeds)

    @property
    def speech_ms(self) -> int:
        return sum(feed.speech_ms for feed in self.feeds)

    @property
    def n_episodes(self) -> int:
        return sum(feed.n_episodes for feed in self.feeds)

    @property
    def n_read(self) -> int:
        return sum(feed.n_read for feed in self.feeds)

    @property
    def n_words(self) -> int:
        return sum(feed.n_words for feed in self.feeds)


def load_corpus(connection: DuckDBPyConnection) -> Corpus:
    feeds = tuple(FeedEntry(*_with_tuples(row)) for row in ask(connection, _FEEDS))
    histograms = (_histogram(connection, title, value, labels) for title, value, labels in _MEASURES)
    ((n_voices,),) = ask(connection, "select count(distinct coalesce(same_as, voice_id)) from voices")
    return Corpus(feeds, tuple(one for one in histograms if any(bar.count for bar in one.bars)), n_voices)


def load_feed(connection: DuckDBPyConnection, feed_id: str) -> tuple[str, list[EpisodeEntry]]:
    """Title and episodes, newest first. Raises PodlakeError if there is no such feed."""
    title = ask(connection, "select coalesce(title, feed_id) from feeds where feed_id = ?", [feed_id])
    rows = ask(connection, _EPISODES, [feed_id])
    if not title and not rows:
        raise PodlakeError(f"There is no feed {feed_id}. `podlake list` shows the feeds.")
    return (title[0][0] if title else feed_id), [EpisodeEntry(*_with_tuples(row)) for row in rows]


def _with_tuples(row: Sequence[object]) -> list[Any]:
    """A row of an answer, its lists as tuples."""
    return [tuple(value) if isinstance(value, list) else value for value in row]


_FEEDS = """
select
    episode.feed_id,
    coalesce(any_value(feed.title), episode.feed_id),
    coalesce(list_sort(list(distinct coalesce(quality.language_detected, episode.language))
        filter (coalesce(quality.language_detected, episode.language) is not null)), []),
    count(*),
    count(quality.episode_id),
    coalesce(sum(quality.duration_ms), 0)::bigint,
    coalesce(sum(quality.speech_ms), 0)::bigint,
    coalesce(sum(quality.n_words), 0)::bigint,
    max(episode.published_at)
from episodes as episode
left join feeds as feed using (feed_id)
left join quality on quality.episode_id = episode.episode_id
group by episode.feed_id
order by 6 desc, 1
"""
_EPISODES = """
select
    overview.episode_id, coalesce(overview.title, overview.episode_id), overview.published_at, overview.language,
    overview.duration_ms, overview.n_speakers, overview.n_words, coalesce(overview.flags, []),
    list_contains(overview.stages, 'turns'), overview.failures
from episode_overview as overview
where overview.feed_id = ?
order by overview.published_at desc nulls last, overview.episode_id
"""
# A measure: title, SQL expression of the class over `quality`, and the labels of the classes.
_MEASURES: tuple[tuple[str, str, Sequence[str]], ...] = (
    (
        "Length of episodes, minutes",
        "case when duration_ms < 600000 then 0 when duration_ms < 1800000 then 1 when duration_ms < 3600000 then 2"
        " when duration_ms < 7200000 then 3 else 4 end",
        ("< 10", "10–30", "30–60", "60–120", "> 120"),
    ),
    ("Speakers", "least(n_speakers, 6)", ("0", "1", "2", "3", "4", "5", "6 +")),
    (
        "Mean confidence of words",
        "least(greatest(floor(mean_confidence * 10)::int - 4, 0), 5)",
        ("< 0.5", "0.5", "0.6", "0.7", "0.8", "0.9"),
    ),
    ("Words per minute of speech", "least(floor(words_per_minute / 40)::int, 6)",
     ("< 40", "40", "80", "120", "160", "200", "240 +")),
    ("Share of speech with overlap", "least(floor(overlap_ratio * 20)::int, 5)",
     ("< 5 %", "5 %", "10 %", "15 %", "20 %", "25 % +")),
    ("Signal-to-noise ratio, median of utterances, dB", "least(greatest(floor(snr_db_median / 10)::int, 0), 5)",
     ("< 10", "10", "20", "30", "40", "50 +")),
    ("DNSMOS, median of utterances", "least(greatest(floor(dnsmos_overall_median * 2)::int - 3, 0), 5)",
     ("< 2", "2", "2.5", "3", "3.5", "4 +")),
    ("Bandwidth, median of utterances, kHz", "least(floor(bandwidth_hz_median / 2000)::int, 3)",
     ("< 2", "2", "4", "6 +")),
    ("Tier", "case tier when 'A' then 0 when 'B' then 1 when 'C' then 2 end", ("A", "B", "C")),
)  # fmt: skip


def _histogram(connection: DuckDBPyConnection, title: str, value: str, labels: Sequence[str]) -> Histogram:
    counted = ask(connection, f"select {value} as class, count(*) from quality where {value} is not null group by all")
    counts: dict[int, int] = dict(counted)
    return Histogram(title, tuple(Bar(label, counts.get(index, 0)) for index, label in enumerate(labels)))
