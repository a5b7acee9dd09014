"""The application of `podlake serve`: a list of routers and mounted applications behind the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from gateway import (
    api_changes,
    api_docs,
    api_episodes,
    api_events,
    api_lessons,
    api_notifications,
    api_podcasts,
    api_videos,
    background,
    dagster_ui,
    dashboard,
    lessons_page,
    login_page,
    metrics,
    site,
    studio_pages,
    webservers,
    work,
)
from gateway.authentication import Authenticator, is_open
from gateway.errors import handle_errors
from gateway.guard import Guard
from gateway.listening import page as listening_page
from gateway.listening import routes as listening
from gateway.listening.metrics import ListeningMetrics
from gateway.service import Service

ROUTERS = (
    login_page.router,
    api_docs.router,
    api_episodes.router,
    api_changes.router,
    api_events.router,
    api_podcasts.router,
    api_videos.router,
    api_videos.pages,
    api_lessons.router,
    lessons_page.router,
    api_notifications.router,
    studio_pages.router,
    work.router,
    metrics.router,
    listening_page.router,  # before the dashboard, whose /static/{name} has other files
    dashboard.router,
    listening.router,
)
"""Every route of a router has a `require` of `gateway.auth`."""
MOUNTS = (("/corpus", site.corpus), (webservers.PREFIX, dagster_ui.dagster_ui))
"""Path, and a function that makes the ASGI application for a service."""
BACKGROUND = (
    background.watch_lake,
    background.send_webhooks,
    background.tell_of_podcasts,
    background.run_dagster,
    background.keep_library,
)
"""Async context managers of a service, open while the application runs."""


def create_app(service: Service) -> FastAPI:
    """The application. Raises `RefusedToStart` for an empty password."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for background in BACKGROUND:
                await stack.enter_async_context(background(service))
            yield

    app = FastAPI(
        title="podlake", version=version("podlake"), lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    app.state.service = service
    app.state.authenticator = Authenticator(service.serve, service.accounts, is_open(service.serve, service.accounts))
    handle_errors(app)
    for router in ROUTERS:
        app.include_router(router)
    for path, make in MOUNTS:
        app.mount(path, make(service))
    app.state.registry = CollectorRegistry()
    app.state.listeners = listening.Listeners(ListeningMetrics(app.state.registry))
    app.add_middleware(
        Guard, authenticator=app.state.authenticator, serve=service.serve,
        upload_bytes={
            "/api/v1/lessons": round(1e9 * service.settings.lesson_max_gb),
            "/api/v1/videos/uploads": round(1e6 * service.serve.upload_mb),
        },
    )  # fmt: skip
    app.add_middleware(metrics.Latency, registry=app.state.registry)
    return app
