"""The process of `podlake serve`: it checks its settings, and serves the application."""

from __future__ import annotations

import logging

import click
import uvicorn
from pydantic import ValidationError
from uvicorn.config import LOGGING_CONFIG

from dagster_project.cli.context import read_settings
from gateway.app import create_app
from gateway.authentication import RefusedToStart, check_address, is_open
from gateway.service import Service
from gateway.settings import ServeSettings
from gateway.sockets import OPTIONS
from resources.logs import hide_credentials, log_json

log = logging.getLogger("podlake")


def serve(host: str, port: int) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises `click.ClickException` for settings that are wrong or not safe."""
    hide_credentials()
    try:
        own, settings = ServeSettings(), read_settings()
        is_json = settings.log_format == "json"
        if is_json:
            log_json()
        service = Service.of(settings, own)
        check_address(host, own, is_open=is_open(own, service.accounts))
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
