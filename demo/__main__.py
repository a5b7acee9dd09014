"""`make demo`: the main job from a feed to an answer in SQL, and what came out of it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assets.stages import EPISODE_GRAPH
from dagster_project.build_resources import build_resources
from dagster_project.instance import open_instance
from dagster_project.run import Selection, run
from dagster_project.settings import Settings
from demo.serve import DEMO, HOST, serving, usual_or_free_port
from resources.fetch.hosts import FetchPolicy
from resources.lake.catalogue import Catalogue
from resources.lake.duckdb_files import retry_if_file_vanished
from resources.lake.home import Home
from resources.lake.warehouse import ask, connect

QUESTION = DEMO.parent / "sql" / "analysis" / "talk_time_share.sql"

out = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=120)


def main() -> None:
    """Serve the demo's feed (or take the user's), run the pipeline on it, and show what came out."""
    arguments = _arguments()
    os.environ["PODLAKE_ALLOW_HOSTS"] = f"{Settings().allow_hosts},{HOST}"  # the demo's own server, also for runs
    settings = Settings()
    log_to_console()
    given = build_resources(settings)
    started = time.monotonic()
    with _feed(arguments.feed) as url, open_instance(settings) as instance:
        feed_id = subscribe(given["catalogue"], url, given["fetch_policy"])
        run(instance, settings, given["lake"], given["engines"], Selection(feeds=(feed_id,), newest=arguments.newest))
    took_s = time.monotonic() - started
    _report(given["home"], feed_id, took_s)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=main.__doc__)
    parser.add_argument("--feed", help="an RSS feed of your own; default: the demo's, served on loopback")
    parser.add_argument("--newest", type=int, default=None, help="only so many of its newest episodes")
    return parser.parse_args()


@contextmanager
def _feed(url: str | None) -> Iterator[str]:
    with nullcontext(url) if url else serving(DEMO, usual_or_free_port()) as base:
        yield base if url else f"{base}/feed.xml"


def subscribe(catalogue: Catalogue, url: str, policy: FetchPolicy) -> str:
    """The feed's id; named by its title when it is new."""
    for subscription in catalogue.subscriptions():
        if subscription.url == url:
            return subscription.feed_id
    from partitions.feeds.rss import parse_feed
    from resources.fetch.http import Document, fetch_document

    document = fetch_document(url, policy)
    title = parse_feed(document.content, url=url).title if isinstance(document, Document) else None
    return catalogue.subscribe([(url, title)])[0].feed_id


def _report(home: Home, feed_id: str, took_s: float) -> None:
    """A line per episode, the failures with their reasons, a question with its answer, and where to go on."""
    asked = {"feed": feed_id, "stages": list(EPISODE_GRAPH.names)}
    with connect(home) as lake:
        episodes = ask(lake, EPISODES, asked)
        failures = ask(lake, FAILURES, asked)
        question = retry_if_file_vanished(lambda: lake.execute(QUESTION.read_text()))
        names = [column[0] for column in question.description]
        answer = question.fetchmany(10)
    audio_s = sum(row[1] or 0 for row in episodes if row[6] == "landed") / 1000
    table = Table(title=f"{len(episodes)} episodes of {feed_id}", title_justify="left")
    for name, justify in (("episode", "left"), ("length", "right"), ("speakers", "right"), ("words", "right"),
                          ("× real time", "right"), ("flags", "left"), ("outcome", "left")):  # fmt: skip
        table.add_column(name, justify=justify)
    for title, duration_ms, speakers, words, rtfx, flags, outcome in episodes:
        length = f"{duration_ms // 60000}:{duration_ms // 1000 % 60:02d}" if duration_ms is not None else "–"
        colour = "green" if outcome == "landed" else "red"
        speed = f"{rtfx:.1f}" if rtfx else "–"
        flagged = ", ".join(flags or []) or "–"
        table.add_row(title, length, _text(speakers), _text(words), speed, flagged, f"[{colour}]{outcome}[/]")
    out.print()
    out.print(table)
    for title, stages, error_class, message in failures:
        reason = escape(f"failed at {stages} [{error_class}]\n  {message}")
        out.print(f"[red]✗[/] [bold]{escape(title)}[/] {reason}", soft_wrap=True)
    out.print(
        f"\n[bold]{QUESTION.read_text().splitlines()[0].removeprefix('-- ')}[/]  ({QUESTION.relative_to(DEMO.parent)})"
    )
    shown = Table()
    for name in names:
        shown.add_column(name)
    for row in answer:
        shown.add_row(*[_text(value) for value in row])
    out.print(shown)
    out.print(f"\n{audio_s:.0f} s of audio in the tables; this run took {took_s:.0f} s.\n")
    out.print(NEXT, soft_wrap=True)


EPISODES = """
select e.title, q.duration_ms, q.n_speakers, q.n_words, t.rtfx, q.flags,
       case when q.episode_id is not null then 'landed' when f.stage is not null then 'failed at ' || f.stage else 'not done' end
from episodes e
left join quality q using (episode_id)
left join (select episode_id, arg_min(stage, list_position($stages, stage)) as stage from failures group by all) f
    using (episode_id)
left join (
    select episode_id, arg_max(rtfx, finished_at) as rtfx
    from stage_runs where stage = 'transcript' and outcome = 'landed' group by all
) t using (episode_id)
where e.feed_id = $feed and (q.episode_id is not null or f.stage is not null)
order by e.published_at
"""
FAILURES = """
select any_value(coalesce(e.title, e.episode_id)), string_agg(f.stage, ', ' order by list_position($stages, f.stage)),
       f.error_class, f.message
from failures f join episodes e using (episode_id)
where e.feed_id = $feed
group by e.episode_id, e.published_at, f.error_class, f.message
order by e.published_at
"""
NEXT = """[bold]Look further[/]
  make ui                                                    the Dagster UI: lineage, partitions, runs
  .venv/bin/podlake status                                   what has landed, what has failed and why
  .venv/bin/podlake sql "from transcript limit 20"           any question
  .venv/bin/podlake sql -f sql/analysis/interruptions.sql    a question that others have asked
  make notebooks                                             notebooks/: a feed at a glance, conversations, quality, cost
  FEED=https://… make demo                                   the same on a feed of your own"""


def _text(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def log_to_console() -> None:
    """The pipeline's own lines, with the seconds since the start."""
    handler = logging.StreamHandler(sys.stderr)
    started = time.monotonic()
    handler.setFormatter(logging.Formatter("%(elapsed)6.1f s  %(message)s"))
    handler.addFilter(lambda record: setattr(record, "elapsed", time.monotonic() - started) or True)
    logger = logging.getLogger("podlake")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


if __name__ == "__main__":
    main()
