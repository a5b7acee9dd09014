"""The command line `podlake`. Each module has the commands of one subject; a command only reads its arguments."""

from __future__ import annotations

import errno
from typing import Any

import click

from dagster_project.cli import (
    alerts,
    catalogue,
    datasets,
    lessons,
    operations,
    pages,
    podcasts,
    service,
    system,
    tables,
    videos,
    voices,
    work,
    worker,
)
from dagster_project.cli.context import examples
from speech.errors import EngineUnavailable, PodlakeError


class _Podlake(click.Group):
    """Prints errors that the user can correct without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (PodlakeError, EngineUnavailable, OSError) as error:
            if ctx.params["debug"] or getattr(error, "errno", None) == errno.EPIPE:
                raise
            if isinstance(error, OSError) and error.filename:
                message = f"{error.filename}: {error.strerror}. Check the path and PODLAKE_HOME: `podlake doctor`."
                raise click.ClickException(message) from error
            raise click.ClickException(str(error)) from error


@click.group(
    cls=_Podlake,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "podlake add https://example.org/feed.xml     subscribe",
        "podlake run                                  download, diarize, transcribe",
        'podlake sql "select * from transcript"       ask',
    ),
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="podlake")
def main(debug: bool) -> None:
    """Podcast feeds in; speaker-attributed, word-timed, queryable Parquet tables out."""


for _module in (
    work,
    tables,
    catalogue,
    voices,
    pages,
    datasets,
    podcasts,
    lessons,
    videos,
    service,
    worker,
    alerts,
    operations,
    system,
):
    for _command in _module.COMMANDS:
        main.add_command(_command)
