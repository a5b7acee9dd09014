"""What the routes share: the settings, the lake, the audio, the search index and the database."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends
from starlette.requests import HTTPConnection

from dagster_project.build_resources import lesson_files
from dagster_project.instance import database_url
from dagster_project.settings import Settings
from gateway import idempotency, webhooks
from gateway.landings import Landings
from gateway.lessons import Lessons
from gateway.listening.library import Library
from gateway.settings import ServeSettings
from gateway.snapshot import Snapshot, snapshot
from gateway.statistics import Kept
from gateway.status import Statuses
from gateway.studio import Studio
from gateway.videos import VideoStudio
from gateway.webservers import Webservers
from podlake.api import Statistics
from resources import accounts, listening_tokens
from resources.accounts import Accounts
from resources.alerts import ledger as alert_ledger
from resources.database import open_database
from resources.fetch.audio_store import AudioStore
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.search import SearchIndex
from resources.studio import ledger as podcast_ledger
from resources.studio import notifications
from resources.studio.files import StudioFiles
from resources.studio.lessons import LessonLedger
from resources.workers import jobs


@dataclass(frozen=True)
class Service:
    """The parts of a running service. `Here` gives it to a route."""

    settings: Settings
    serve: ServeSettings
    lake: Lake
    store: AudioStore
    index: SearchIndex
    database: sa.Engine
    landings: Landings
    statuses: Statuses
    studio: Studio
    lessons: Lessons
    library: Library
    """What can be listened to live."""
    database_url: str
    statistics: Kept[Statistics] = field(default_factory=lambda: Kept(10.0))
    _snapshot: Kept[Snapshot] = field(default_factory=lambda: Kept(10.0))
    webservers: Webservers = field(default_factory=Webservers.planned)

    @classmethod
    def of(cls, settings: Settings, serve: ServeSettings) -> Service:
        home = Home.at(settings.home)
        lake = Lake(home)
        landings = Landings(lake)
        store = AudioStore(home, settings.cache_folder, int(settings.cache_gb * 1e9))
        url = database_url(settings)
        database = open_database(
            url, accounts.SCHEMA, idempotency.SCHEMA, webhooks.SCHEMA, jobs.SCHEMA, alert_ledger.SCHEMA,
            podcast_ledger.SCHEMA, notifications.SCHEMA, listening_tokens.SCHEMA,
        )  # fmt: skip
        studio = Studio(
            settings, lake, podcast_ledger.Ledger(url), notifications.Notifications(database),
            StudioFiles(home, settings.cache_folder),
        )  # fmt: skip
        return cls(
            settings,
            serve,
            lake,
            store,
            SearchIndex(settings.cache_folder / "search"),
            database,
            landings,
            Statuses(lake, landings),
            studio,
            Lessons(settings, lake, LessonLedger(url), lesson_files(settings, home)),
            Library.of(studio, store, int(serve.listen_cache_gb * 1e9)),
            url,
        )

    async def snapshot(self) -> Snapshot:
        """The state of the pipeline, at most ten seconds old."""
        return await self._snapshot.get(lambda: asyncio.to_thread(snapshot, self))

    @cached_property
    def videos(self) -> VideoStudio:
        return VideoStudio.of(self.settings, self.lake, self.database_url, lambda: self.studio.instance)

    @property
    def accounts(self) -> Accounts:
        return Accounts(self.database)


def service_of(connection: HTTPConnection) -> Service:
    service: Service = connection.app.state.service
    return service


Here = Annotated[Service, Depends(service_of)]
"""A parameter of a route: `def answer(service: Here) -> …`."""
