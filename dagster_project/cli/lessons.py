"""Commands for lessons that are dubbed: podlake lesson add, list, status, run, retry, cancel, forget; podlake review approve, reject."""

from __future__ import annotations

import getpass
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dagster_project.cli.context import examples, lake_of, log_to_screen, read_settings
from dagster_project.cli.forget_requested import forget_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    import dagster as dg

    from dagster_project.lessons import Status
    from dagster_project.settings import Settings
    from resources.lake.lake import Lake
    from resources.studio.lessons import Gate, LessonLedger


@click.group(
    epilog=examples(
        'podlake lesson add talk.mp4 --title "Mitosis" --source en --target es --course biology',
        "podlake lesson run                                  as far as the gates are open",
        "podlake review approve lesson-20261127-1a2b3c4d --by Ann",
    )
)
def lesson() -> None:
    """Dub videos and episodes in another language."""


@lesson.command()
@click.argument("source", metavar="FILE|EPISODE")
@click.option("--title", required=True, help="Title of the lesson.")
@click.option("--source", "source_language", required=True, help="Language that is spoken in it, such as en.")
@click.option("--target", "target_language", required=True, help="Language that it is dubbed in, such as es.")
@click.option("--course", default=None, help="Name of the course that it belongs to.")
@click.option("--user", default=None, help="Who adds it. Default: your name on this machine.")
def add(
    source: str, title: str, source_language: str, target_language: str, course: str | None, user: str | None
) -> None:
    """Add a lesson: a video FILE (mp4, mov, avi, mkv, webm), or an EPISODE of the catalogue.

    Nothing is dubbed before a person approves it: podlake review approve ID --by NAME.
    """
    from dagster_project.build_resources import lesson_files, lesson_limits, voices
    from dagster_project.instance import database_url
    from resources.engines.voices import FIRST_SPEAKER, NoVoice
    from resources.lake.catalogue import Catalogue
    from resources.studio.lessons import LessonLedger, NewLesson
    from speech.videos import check_lesson_file

    settings, path = read_settings(), Path(source)
    lake = lake_of(settings)
    is_file = path.is_file()
    if not is_file and source not in Catalogue(lake).entries([source]):
        raise click.BadParameter(f"{source} is neither a file nor an episode. `podlake list` shows the feeds.")
    new = NewLesson(
        title, _language(source_language, "--source"), _language(target_language, "--target"),
        user or getpass.getuser(), course, None if is_file else source,
    )  # fmt: skip
    try:
        voices(settings).check_voice(FIRST_SPEAKER, new.target_language)
    except NoVoice as error:
        raise click.ClickException(f"{error.code}: {error}") from error
    ledger = LessonLedger(database_url(settings))
    if is_file:
        check_lesson_file(path, lesson_limits(settings))
    key = ledger.new_key(new)
    uri = lesson_files(settings, lake.home).add(key, f"source{path.suffix.lower()}", path) if is_file else None
    ledger.add(key, new, uri)
    click.echo(f"{key}  added. `podlake lesson run` probes it; then review it.")


@lesson.command("list")
@click.option("--course", default=None, help="Only the lessons of this course.")
@click.option("--newest", default=20, show_default=True, help="So many of the newest.")
def list_lessons(course: str | None, newest: int) -> None:
    """List lessons, the newest first."""
    from dagster_project.lessons import statuses

    with _opened() as (instance, lake, ledger, _):
        found = statuses(instance, lake, ledger, ledger.lessons(course, most=None if course else newest))
    for one in found[:newest]:
        languages = f"{one.lesson.source_language}→{one.lesson.target_language}"
        click.echo(
            f"{one.lesson.lesson_id}  {one.state:16}  {languages:6}  {one.lesson.course or '-'}  {one.lesson.title}"
        )
    if course and found:
        wanted = [one for one in found if one.state != "cancelled"]
        is_available = bool(wanted) and all(one.state == "published" for one in wanted)
        click.echo(f"The course {course} is {'available' if is_available else 'not available yet'}.")
    if not found:
        click.echo("There are no lessons. Add one: podlake lesson add FILE --title TITLE --source en --target es")


@lesson.command()
@click.argument("lesson_id", metavar="ID")
def status(lesson_id: str) -> None:
    """Show where a lesson is, what was decided about it, and its files."""
    from dagster_project import lessons

    with _opened() as (instance, lake, ledger, _):
        _show(lessons.status(instance, lake, ledger, lesson_id))
        for review in ledger.reviews(lesson_id):
            word = "approved" if review.is_approved else "rejected"
            note = f": {review.note}" if review.note else ""
            click.echo(f"  {review.gate} {word} by {review.decided_by} at {review.decided_at:%Y-%m-%d %H:%M} UTC{note}")
        for kind, place in _files(lake, lesson_id):
            click.echo(f"  {kind}: {place}")


@lesson.command()
def run() -> None:
    """Do what is due, in this process: probe, dub and publish lessons as far as their gates are open."""
    from dagster_project.lessons import run_due, statuses

    log_to_screen()
    with _opened() as (instance, lake, ledger, _):
        done = run_due(instance, lake, ledger)
        found = statuses(instance, lake, ledger, [one for one in map(ledger.lesson, done) if one])
    for one in found:
        _show(one)
    if not done:
        click.echo("No lesson is due. `podlake lesson list` shows which ones wait for a review.")
    sys.exit(any(one.error is not None for one in found))


@lesson.command()
@click.argument("lesson_id", metavar="ID")
@click.option("--from", "stage", default=None, help="Do this stage and all after it again. Default: what is missing.")
def retry(lesson_id: str, stage: str | None) -> None:
    """Let a failed lesson be tried again; `podlake lesson run` or the sensor does it."""
    from assets.stages import LESSON_GRAPH
    from dagster_project import lessons

    if stage is not None and stage not in LESSON_GRAPH.names:
        raise click.BadParameter(f"{stage} is no stage of lessons: {', '.join(LESSON_GRAPH.names)}.")
    with _opened() as (instance, lake, ledger, _):
        _show(lessons.retry(instance, lake, ledger, lesson_id, stage))


@lesson.command()
@click.argument("lesson_id", metavar="ID")
def cancel(lesson_id: str) -> None:
    """Stop dubbing a lesson. A published one stays."""
    from dagster_project.lessons import cancel as cancel_lesson

    with _opened() as (instance, lake, ledger, _):
        _show(cancel_lesson(instance, lake, ledger, lesson_id))


lesson.add_command(forget_command("lesson", "lesson-20261127-1a2b3c4d"))


@click.group(
    epilog=examples(
        "podlake review approve lesson-20261127-1a2b3c4d --by Ann",
        'podlake review reject lesson-20261127-1a2b3c4d --by Ann --note "The microphone hums."',
    )
)
def review() -> None:
    """Open or close the gates of a lesson: its content, and later its dub."""


_by = click.option("--by", required=True, help="Who decides.")
_gate = click.option(
    "--gate", type=click.Choice(["content_review", "voiceover_review"]), default=None,
    help="Which gate. Default: the one that the lesson has come to.",
)  # fmt: skip


@review.command()
@click.argument("lesson_id", metavar="ID")
@_by
@click.option("--note", default=None, help="A remark.")
@_gate
def approve(lesson_id: str, by: str, note: str | None, gate: Gate | None) -> None:
    """Open the gate."""
    _decide(lesson_id, is_approved=True, by=by, note=note, gate=gate)


@review.command()
@click.argument("lesson_id", metavar="ID")
@_by
@click.option("--note", required=True, help="Why.")
@_gate
def reject(lesson_id: str, by: str, note: str, gate: Gate | None) -> None:
    """Close the gate, with the reason."""
    _decide(lesson_id, is_approved=False, by=by, note=note, gate=gate)


def _decide(lesson_id: str, *, is_approved: bool, by: str, note: str | None, gate: Gate | None) -> None:
    from dagster_project import lessons

    with _opened() as (instance, lake, ledger, _):
        made = lessons.decide(
            instance, lake, ledger, lesson_id, is_approved=is_approved, by=by, note=note, gate=gate
        )  # fmt: skip
        lessons.land_decision(instance, lesson_id, made.gate)
        click.echo(f"{made.gate} of {lesson_id} is {'approved' if is_approved else 'rejected'} by {made.decided_by}.")


@contextmanager
def _opened() -> Iterator[tuple[dg.DagsterInstance, Lake, LessonLedger, Settings]]:
    from dagster_project.instance import database_url, open_instance
    from resources.studio.lessons import LessonLedger

    settings = read_settings()
    with open_instance(settings) as instance:
        yield instance, lake_of(settings), LessonLedger(database_url(settings)), settings


def _files(lake: Lake, lesson_id: str) -> list[tuple[str, str]]:
    """The dubbed video, and where it is published."""
    from resources.lake.tables.lessons import DUBBED_VIDEOS, PUBLISHED_VIDEOS

    root = lake.home.root if lake.home.is_local else lake.home.uri
    dubbed = [("dubbed", f"{root}/{row.uri}") for row in lake.rows(DUBBED_VIDEOS, lesson_id)]
    return dubbed + [("published", row.location) for row in lake.rows(PUBLISHED_VIDEOS, lesson_id)]


def _language(text: str, option: str) -> str:
    from partitions.languages import normalise_language

    known = normalise_language(text)
    if known is None:
        raise click.BadParameter(f"{text!r} names no language: use a tag such as en or es.", param_hint=option)
    return known


def _show(status: Status) -> None:
    parts = [f"{status.lesson.lesson_id}  {status.state}"]
    if status.state in ("content_review", "voiceover_review"):
        parts.append(f"look at {status.stage}, then approve or reject it")
    elif status.stage and status.state != "rejected":
        parts.append(f"at {status.stage}")
    if status.attempt:
        parts.append(f"attempt {status.attempt}")
    click.echo(", ".join(parts))
    if status.state == "rejected" and status.review:
        click.echo(f"  rejected by {status.review.decided_by}: {status.review.note}")
    if status.error:
        click.echo(f"  {status.error}")
    if status.retry_at:
        click.echo(f"  The next attempt begins at {status.retry_at:%H:%M:%S} UTC.")


COMMANDS = (lesson, review)
