"""`python -m gateway` is what `podlake serve` starts."""

from __future__ import annotations

import logging

import click
import uvicorn
from pydantic import ValidationError
from uvicorn.config import LOGGING_CONFIG

from dagster_project.cli.context import read_settings
from gateway.allocators import limit_allocators
from gateway.app import create_app
from gateway.authentication import RefusedToStart, check_address, is_open
from gateway.service import Service
from gateway.settings import ServeSettings
from gateway.sockets import OPTIONS
from resources.logs import log_json

log = logging.getLogger("podlake")


@click.command()
@click.option("--host", default="127.0.0.1")
@click.option("--port", type=click.IntRange(1, 65535), default=8000)
def main(host: str, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    limit_allocators()
    try:
        serve, settings = ServeSettings(), read_settings()
        is_json = settings.log_format == "json"
        if is_json:
            log_json()
        service = Service.of(settings, serve)
        check_address(host, serve, is_open=is_open(serve, service.accounts))
        app = create_app(service)
    except (RefusedToStart, ValidationError) as error:
        raise click.ClickException(str(error)) from error
    at = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    if is_json:
        log.info("podlake is at %s", at)
    else:
        click.echo(f"podlake is at {at}")
    uvicorn.run(
        app, host=host, port=port, log_level="warning", log_config=None if is_json else LOGGING_CONFIG, proxy_headers=False,
        server_header=False, h11_max_incomplete_event_size=64 << 10, timeout_graceful_shutdown=5, **OPTIONS,
    )  # fmt: skip


if __name__ == "__main__":
    main()
