"""What runs beside the routes while the service runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from gateway.landings import watching
from gateway.notices import telling
from gateway.service import Service
from gateway.webhooks import Webhooks, sending
from gateway.webservers import running
from resources.fetch.addresses import AllowedHosts


def watch_lake(service: Service) -> AbstractAsyncContextManager[None]:
    return watching(service.landings, Webhooks(service.database).put)


def send_webhooks(service: Service) -> AbstractAsyncContextManager[None]:
    allowed = AllowedHosts.parse(service.settings.allow_hosts)
    return sending(Webhooks(service.database), service.lake, allowed)


def tell_of_podcasts(service: Service) -> AbstractAsyncContextManager[None]:
    return telling(service)


def run_dagster(service: Service) -> AbstractAsyncContextManager[None]:
    return running(service.settings, service.webservers) if service.serve.dagster else nullcontext()


@asynccontextmanager
async def keep_library(service: Service) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await service.library.close()
