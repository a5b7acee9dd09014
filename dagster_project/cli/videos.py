"""Commands for videos that are made on request: podlake video submit, list, status, cancel, forget, run, devices and others."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dagster_project.cli.context import TextFile, examples, lake_of, log_to_screen, read_settings
from dagster_project.cli.forget_requested import forget_command

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from dagster_project.settings import Settings
    from dagster_project.videos import VideoStatus
    from resources.lake.lake import Lake
    from resources.studio.head_devices import HeadDevices
    from resources.studio.video_files import VideoFiles
    from resources.studio.video_ledger import VideoLedger


@click.group(
    epilog=examples(
        "podlake video submit talk.txt --video me.mp4     ask for a talking head",
        "podlake video submit talk.txt --kind audiogram   ask for waveform and captions: no GPU is needed",
        "podlake video run                                make it here, without Dagster's daemon",
    )
)
def video() -> None:
    """Make videos of a text: a person who says it, or an audiogram."""


@video.command()
@click.argument("text", type=TextFile())
@click.option("--title", default="", help="Title. Default: the first words.")
@click.option("--language", default="en", show_default=True, help="Language of the text, such as en or zh.")
@click.option(
    "--kind", type=click.Choice(["auto", "talking_head", "audiogram"]), default="auto", show_default=True,
    help="auto: a talking head if there are devices for it, else an audiogram, and its row says so.",
)  # fmt: skip
@click.option("--shape", type=click.Choice(["square", "vertical", "wide"]), default="square", show_default=True,
              help="Of an audiogram.")  # fmt: skip
@click.option("--video", "video_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Video of the person who is to speak.")  # fmt: skip
@click.option("--audio", "audio_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Recording of the voice, 3–30 s of speech. Default: the sound of the video.")  # fmt: skip
@click.option("--user", default=None, help="Who asks; limits are for each user. Default: your name on this machine.")
def submit(
    text: str, title: str, language: str, kind: str, shape: str, video_file: Path | None, audio_file: Path | None,
    user: str | None,
) -> None:  # fmt: skip
    """Ask for a video of TEXT, a text file; - is standard input.

    The sensor `requested_videos` starts the run while Dagster's daemon runs (`podlake ui`); `podlake video run` makes it
    without the daemon.
    """
    from dagster_project.audiogram_check import check_audiogram
    from dagster_project.build_resources import voices
    from dagster_project.videos import open_videos, video_limits
    from partitions.languages import normalise_language
    from resources.studio.video_ledger import AskedVideo
    from speech.talking_head.reference import check_recording

    known = normalise_language(language)
    if known is None:
        raise click.BadParameter(f"{language!r} names no language: use a tag such as en.", param_hint="--language")
    with _studio() as (settings, instance, lake, ledger, heads):
        files = _files(settings)
        for one in filter(None, (video_file, audio_file)):
            check_recording(one, one.name)
        uploads = [one and files.keep_upload(one, one.suffix).name for one in (video_file, audio_file)]
        asked = AskedVideo(
            user or getpass.getuser(), text, title, known, kind, shape, *uploads,  # type: ignore[arg-type]
        )  # fmt: skip
        answer = ledger.admit(
            asked, video_limits(settings), lambda own: open_videos(instance, lake, own),
            has_devices=bool(heads.devices), check_audiogram=partial(check_audiogram, voices(settings)),
        )  # fmt: skip
    if answer.video_id is None:
        raise click.ClickException(f"{answer.code}: {answer.message}")
    click.echo(f"{answer.video_id}  {answer.message}")


@video.command("list")
@click.option("--user", default=None, help="Only the requests of this user.")
@click.option("--newest", default=20, show_default=True, help="So many of the newest.")
def list_videos(user: str | None, newest: int) -> None:
    """List requested videos, the newest first."""
    from dagster_project.videos import statuses

    with _studio() as (_, instance, lake, ledger, _heads):
        found = statuses(instance, lake, ledger.requests(user, most=newest))
    for one in found:
        request = one.request
        click.echo(f"{request.video_id}  {one.state:10}  {request.kind:12}  {request.user_id}  {request.title}")
    if not found:
        click.echo("No videos are requested. Ask for one: podlake video submit TEXT")


@video.command()
@click.argument("video_id", metavar="ID")
def status(video_id: str) -> None:
    """Show what became of a requested video."""
    from dagster_project.videos import statuses_in_queue

    with _studio() as (settings, instance, lake, ledger, heads):
        request = ledger.request(video_id)
        if request is None:
            raise _no_such(video_id)
        _show(statuses_in_queue(instance, lake, ledger, heads, [request])[0])
        _show_file(settings, lake, video_id)


@video.command()
@click.argument("video_id", metavar="ID")
def cancel(video_id: str) -> None:
    """Cancel a requested video. A finished one stays."""
    from dagster_project.videos import cancel_video

    with _studio() as (_, instance, lake, ledger, heads):
        found = cancel_video(instance, lake, ledger, heads, video_id)
    if found is None:
        raise _no_such(video_id)
    _show(found)


video.add_command(forget_command("video", "video-20261127-1a2b3c4d"))


@video.command()
def run() -> None:
    """Make the requested videos that are due, in this process. Several of these commands share the work."""
    from dagster_project.videos import run_due_videos, statuses

    log_to_screen()
    with _studio() as (settings, instance, lake, ledger, heads):
        made = run_due_videos(instance, lake, ledger, heads)
        found = statuses(instance, lake, [one for one in map(ledger.request, made) if one])
        for one in found:
            _show(one)
            _show_file(settings, lake, one.request.video_id)
    if not made:
        click.echo("No requested video is due.")
    sys.exit(any(one.state != "completed" for one in found))


@video.command()
def devices() -> None:
    """Show the devices for talking heads: who has them, and which are set aside and why."""
    with _studio() as (_, _instance, _lake, _ledger, heads):
        for state in heads.states():
            use = f"leased to {state.video_id}" if state.video_id else "free"
            if state.set_aside_at is not None:
                again = f"looked at again at {_clock(state.until)}" if state.until else "until it is brought back"
                use = f"set aside at {_clock(state.set_aside_at)}, {again}: {state.reason}"
            click.echo(f"{state.device:12}  {use}")
        if not heads.devices:
            click.echo("No device is set: PODLAKE_HEAD_DEVICES (docs/videos.md). Requests become audiograms.")


@video.command("device-back")
@click.argument("device")
def device_back(device: str) -> None:
    """Use a device again that is set aside."""
    with _studio() as (_, _instance, _lake, _ledger, heads):
        if device not in heads.names:
            raise click.ClickException(f"There is no device {device}. `podlake video devices` shows them.")
        heads.leases.bring_back(device)
    click.echo(f"{device} is used again.")


@video.command()
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
def clean(dry_run: bool) -> None:
    """Remove uploads, temporary files and files on devices that are older than PODLAKE_VIDEOS_KEEP_DAYS.

    The schedule `clean_videos` does this daily once it is switched on. Temporary files of lessons are removed too.
    Finished videos and lessons stay.
    """
    from dagster_project.clean_videos import planned_removals
    from resources.studio.video_cleanup import remove

    with _studio() as (settings, instance, lake, ledger, heads):
        files = _files(settings)
        chosen = planned_removals(instance, settings, lake, ledger, heads, files)
        for one in chosen:
            click.echo(f"{one.place:7} {one.size_bytes / 1e6:9.1f} MB  {one.at:%Y-%m-%d}  {one.path}")
        if not dry_run:
            remove(files, chosen)
    total = sum(one.size_bytes for one in chosen) / 1e6
    click.echo(f"{len(chosen)} files, {total:.1f} MB {'would be' if dry_run else 'are'} removed.")


@contextmanager
def _studio() -> Iterator[tuple[Settings, DagsterInstance, Lake, VideoLedger, HeadDevices]]:
    from dagster_project.build_resources import head_devices
    from dagster_project.instance import database_url, open_instance
    from resources.studio.video_ledger import VideoLedger

    settings = read_settings()
    with open_instance(settings) as instance:
        yield settings, instance, lake_of(settings), VideoLedger(database_url(settings)), head_devices(settings)


def _files(settings: Settings) -> VideoFiles:
    from resources.lake.home import Home
    from resources.studio.video_files import VideoFiles

    return VideoFiles(Home.at(settings.home), settings.cache_folder)


def _show(status: VideoStatus) -> None:
    parts = [f"{status.request.video_id}  {status.state}", status.request.kind]
    if status.position:
        parts.append(f"{status.position}. in the queue")
    if status.attempt:
        parts.append(f"attempt {status.attempt}")
    if status.stage:
        parts.append(f"at {status.stage}")
    if status.device:
        parts.append(f"on {status.device}")
    click.echo(", ".join(parts))
    more: list[tuple[str | None, Callable[[str], str]]] = [
        (status.request.kind_reason, str), (status.error, str), (status.waits_for, "Set aside: {}".format),
    ]  # fmt: skip
    for text, form in more:
        if text:
            click.echo(f"  {form(text)}")
    if status.retry_at and status.state == "pending":
        click.echo(f"  The next attempt begins at {status.retry_at:%H:%M:%S} UTC.")


def _show_file(settings: Settings, lake: Lake, video_id: str) -> None:
    from resources.lake.tables import TALKING_HEAD_VIDEOS
    from resources.studio.video_files import FOLDER

    for row in lake.rows(TALKING_HEAD_VIDEOS, video_id):
        root = Path(settings.home).absolute() if lake.home.is_local else lake.home.uri
        click.echo(f"  {root}/{FOLDER}/{row.path}")


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S} UTC"


def _no_such(video_id: str) -> click.ClickException:
    return click.ClickException(f"There is no requested video {video_id}. `podlake video list` shows them.")


COMMANDS = (video,)
