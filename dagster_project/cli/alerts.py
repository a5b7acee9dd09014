"""The command `alerts`: what a person has to look at, and a test of the channels."""

from __future__ import annotations

import click

from dagster_project.cli.context import examples, lake_of, read_settings


@click.command(epilog=examples("podlake alerts", "PODLAKE_ALERT_COMMAND='notify-send podlake' podlake alerts --test"))
@click.option("--test", "is_test", is_flag=True, help="Send a test message through every channel that is set.")
@click.option("--tell", is_flag=True, help="Also tell the channels of changes, as the sensor `alerts` does.")
def alerts(is_test: bool, tell: bool) -> None:
    """Look for stalled feeds, failing engines, idle pipelines, full disks, failed checks and lost runs.

    The sensor `alerts` does this every five minutes and tells each change once. Ends with 1 if there are alerts.
    """
    from datetime import UTC, datetime

    from dagster_project import alerts as watch
    from dagster_project.commands.terminal import render
    from dagster_project.instance import database_url, open_instance
    from resources.alerts.channels import NotTold
    from resources.alerts.ledger import Alert, AlertLedger, RaisedAlert

    settings = read_settings()
    channels = watch.channels(settings)
    if is_test:
        if not channels:
            raise click.UsageError(
                "Set PODLAKE_ALERT_EMAIL with PODLAKE_SMTP_URL, PODLAKE_ALERT_WEBHOOK or PODLAKE_ALERT_COMMAND."
            )
        message = RaisedAlert(Alert("test", "message", "This is a test. Nothing is wrong."), datetime.now(UTC))
        for channel in channels:
            try:
                channel.tell(message)
            except NotTold as error:
                raise click.ClickException(str(error)) from error
            click.echo(f"{channel.name}: sent")
        return
    lake = lake_of(settings)
    with open_instance(settings) as instance:
        if tell:
            found, problems = watch.evaluate(instance, lake, settings)
        else:
            found, problems = watch.current_alerts(instance, lake, settings), []
    for problem in problems:
        click.echo(f"Not told: {problem}", err=True)
    if not found:
        click.echo("All is well.")
        return
    since = {(one.alert.name, one.alert.subject): one for one in AlertLedger.at(database_url(settings)).all()}
    rows = []
    for alert in found:
        known = since.get((alert.name, alert.subject))
        rows.append(
            (alert.name, alert.subject, known.raised_at if known and not known.over_at else "now", alert.message)
        )
    click.echo(render(("alert", "about", "since (UTC)", "message"), rows))
    raise SystemExit(1)


COMMANDS = (alerts,)
