"""`podlake export`: transcripts and data sets for other tools."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from dagster_project.settings import Settings
from resources.exports.dataset import Result, export_dataset
from resources.exports.known import remember
from resources.exports.licenses import PERMISSIVE
from resources.exports.selection import UNSTATED, Choice, Excluded
from resources.exports.splits import Kept, SplitRule
from resources.exports.transcripts import episodes_with_turns, write_transcripts
from resources.fetch.audio_store import AudioStore
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.warehouse import connect
from speech.waveforms import WaveformCache


def export_transcripts(home: Home, name: str, out: Path, *, feeds: Sequence[str], episodes: Sequence[str]) -> int:
    """Write the episodes' files with a progress bar. Returns their number."""
    with connect(home) as connection:
        keys = episodes_with_turns(connection, feeds=feeds, episodes=episodes)
        remember(home, str(out), name, f"podlake export {name} --out {shlex.quote(str(out.absolute()))}")
        files = write_transcripts(connection, name, keys, out)
        with click.progressbar(files, length=len(keys), label=f"Writing {name}", file=sys.stderr) as written:
            return sum(1 for _ in written)


def choice(
    *,
    profile: str | None = None,
    feeds: Sequence[str] = (),
    episodes: Sequence[str] = (),
    licenses: Sequence[str] = (),
    split: str = "100",
    split_by: Kept = "feed",
    shard_minutes: float = 60.0,
) -> Choice:
    """From the options of the command line. Raises ValueError and PodlakeError."""
    rule = SplitRule.parse(split, split_by)
    wanted = tuple(licenses) or (PERMISSIVE,)
    return Choice(profile, tuple(feeds), tuple(episodes), wanted, rule, shard_minutes)


def command_line(form: str, choice: Choice, out: str, codec: str) -> str:
    """The command that writes the same data set."""
    shares = "/".join(f"{100 * share:g}" for share in choice.split.shares)
    options = [("--profile", choice.profile)] if choice.profile else []
    options += [("--feed", feed) for feed in choice.feeds] + [("--episode", key) for key in choice.episodes]
    options += [("--license", one) for one in choice.licenses if choice.licenses != (PERMISSIVE,)]
    options += [("--split", shares), ("--split-by", choice.split.together)] if shares != "100/0/0" else []
    options += [("--audio", codec)] if codec != "flac" else []
    options += (
        [("--shard-minutes", f"{choice.shard_minutes:g}")] if choice.shard_minutes != Choice.shard_minutes else []
    )
    folder = out if "://" in out else str(Path(out).absolute())
    return shlex.join(["podlake", "export", form, *(word for option in options for word in option), "--out", folder])


def export_with_bar(settings: Settings, form: str, choice: Choice, out: str, *, codec: str) -> Result:
    """Write a data set with a progress bar of seconds of audio."""
    home = Home.at(settings.home)
    limit_bytes = int(settings.cache_gb * 1e9)
    with click.progressbar(length=1, label=f"Writing {form}", file=sys.stderr, show_pos=False) as bar:

        def progress(done_ms: int, total_ms: int) -> None:
            bar.length = total_ms
            bar.update(done_ms - bar.pos)

        return export_dataset(
            Lake(home),
            AudioStore(home, settings.cache_folder, limit_bytes, settings.space),
            WaveformCache(settings.cache_folder / "waveforms", limit_bytes),
            form,
            choice,
            out,
            codec=codec,
            command=command_line(form, choice, out, codec),
            progress=progress,
        )


def summary(result: Result) -> str:
    """What was written, what is left out, and why."""
    head = f"{result.out}: {_amount(result.selection.n_utterances, result.selection.duration_ms)}"
    if result.was_complete:
        head += "; nothing has changed since it was written"
    elif result.continued_shards:
        head += f"; {result.continued_shards} shards were there already"
    splits = [f"  {part.name}: {_amount(part.n_utterances, part.duration_ms)}" for part in result.facts.splits]
    lines = [f"{head}.", *(splits if len(splits) > 1 or result.missing_splits else [])]
    if result.missing_splits:
        lines.append(
            f"  {' and '.join(result.missing_splits)}: empty. The {result.selection.n_groups} groups of feeds and voices "
            "are too few; --split-by voice keeps only voices together."
        )
    return "\n".join([*lines, *_left_out(result.selection.excluded)])


def nothing(result: Result) -> str:
    """Why nothing was written."""
    lines = ["No utterance can be exported, so nothing was written.", *_left_out(result.selection.excluded)]
    if result.has_older:
        lines.append(
            f"{result.out} still has an earlier data set, of episodes that are left out now: remove the folder."
        )
    return "\n".join(lines)


def _left_out(excluded: Sequence[Excluded]) -> Iterator[str]:
    if excluded:
        yield "Left out:"
    for one in excluded:
        hint = " (--license any includes them)" if one.reason == UNSTATED else ""
        n_episodes = f"{one.n_episodes} {'episode' if one.n_episodes == 1 else 'episodes'}"
        yield f"  {n_episodes}, {_amount(one.n_utterances, one.duration_ms)}: {one.reason}{hint}"


def _amount(n_utterances: int, duration_ms: int) -> str:
    return f"{n_utterances} {'utterance' if n_utterances == 1 else 'utterances'}, {duration_ms / 3.6e6:.2f} h"
