"""What the routes of podcasts share: the ledger, the voices, the files, the outbox and an open Dagster instance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from threading import Lock

import dagster as dg

from dagster_project.build_resources import voices
from dagster_project.instance import open_instance
from dagster_project.podcasts import Status, limits, open_requests, statuses, statuses_in_queue
from dagster_project.settings import Settings
from gateway.bell import Bell
from pipeline.lake_state import newest_commits
from podlake.api import (
    NewPodcast,
    Podcast,
    PodcastLimits,
    PodcastOverview,
    PodcastState,
    PodcastTurn,
    PodcastUser,
    PodcastVoice,
)
from resources.engines.voices import Voices
from resources.lake.lake import Lake
from resources.lake.tables import PODCAST_AUDIO, PODCAST_TURNS
from resources.lake.tables.studio import PodcastAudioRow
from resources.studio.files import StudioFiles
from resources.studio.ledger import LONGEST_TITLE, Answer, Asked, Ledger, Request
from resources.studio.notifications import Notifications
from resources.studio.request_limits import REMEMBERED
from speech.script import MAX_CHARACTERS, ScriptRefused, parse_script

_LINES_STAGE = "speech_lines"


@dataclass(frozen=True)
class Studio:
    """The podcasts of a service."""

    settings: Settings
    lake: Lake
    ledger: Ledger
    outbox: Notifications
    files: StudioFiles
    bell: Bell = field(default_factory=Bell)
    _opening: Lock = field(default_factory=Lock)

    @cached_property
    def voices(self) -> Voices:
        return voices(self.settings)

    @property
    def instance(self) -> dg.DagsterInstance:
        """Open from the first use to `close`: to open it takes a tenth of a second."""
        with self._opening:
            return self._instance

    @cached_property
    def _instance(self) -> dg.DagsterInstance:
        return open_instance(self.settings)

    def close(self) -> None:
        if "_instance" in self.__dict__:
            self._instance.dispose()

    def admit(self, user_id: str, asked: NewPodcast, language: str, key: str | None) -> Answer:
        """The ledger's answer to a request."""
        return self.ledger.admit(
            Asked(user_id, asked.script, asked.title, language, asked.seed), limits(self.settings),
            lambda own: open_requests(self.instance, self.lake, own), key=key, check_turns=self.voices.check,
        )  # fmt: skip

    def podcasts(self, requests: Sequence[Request]) -> list[Podcast]:
        """What became of the requests."""
        # The outbox knows which requests are not finished without a look at all of the last days.
        found = statuses_in_queue(self.instance, self.lake, requests, self.outbox.untold(datetime.now(UTC)))
        with_lines = newest_commits(self.lake, (_LINES_STAGE,), [one.podcast_id for one in requests])[_LINES_STAGE]
        finished = [one.request.podcast_id for one in found if one.state == "completed"]
        audio = self.lake.read_many(PODCAST_AUDIO, finished)
        lengths = {key: PODCAST_AUDIO.rows_of(rows)[0].duration_ms for key, rows in audio.items()}
        return [
            self._podcast(one, lengths.get(one.request.podcast_id), has_lines=one.request.podcast_id in with_lines)
            for one in found
        ]

    def podcast(self, request: Request) -> Podcast:
        """One podcast, with its script and turns."""
        (found,) = self.podcasts([request])
        turns = parse_script(request.script)
        times = self.lake.rows(PODCAST_TURNS, request.podcast_id) if found.state == "completed" else []
        said = self._said(request.podcast_id, found, len(turns))
        return Podcast(
            **{name: getattr(found, name) for name in found.__dataclass_fields__ if name not in ("script", "turns")},
            script=request.script,
            turns=tuple(
                PodcastTurn(
                    turn.speaker, turn.text, index in said,
                    times[index].start_ms if index < len(times) else None,
                    times[index].end_ms if index < len(times) else None,
                )
                for index, turn in enumerate(turns)
            ),
        )  # fmt: skip

    def audio(self, podcast_id: str) -> PodcastAudioRow | None:
        """The finished audio."""
        return next(iter(self.lake.rows(PODCAST_AUDIO, podcast_id)), None)

    def limits(self, user_id: str, *, is_admin: bool) -> PodcastLimits:
        now = datetime.now(UTC)
        own = self.ledger.requests(user_id, since=now - REMEMBERED)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return PodcastLimits(
            user_id, is_admin,
            at_once=self.settings.podcasts_at_once,
            open=len(open_requests(self.instance, self.lake, own)),
            per_day=self.settings.podcasts_per_day,
            today=sum(one.admitted_at >= midnight for one in own),
            script_characters=MAX_CHARACTERS,
            title_characters=LONGEST_TITLE,
            voices=tuple(
                PodcastVoice(name.rpartition(".")[2], choice.name, name.rpartition(".")[0] or None)
                for name, choice in self.voices.choices.items()
            ),
        )  # fmt: skip

    def overview(self, within: timedelta = REMEMBERED) -> PodcastOverview:
        """The podcasts of all users that were requested within this time, by user and state."""
        since = datetime.now(UTC) - within
        by_user: dict[str, Counter[PodcastState]] = {}
        for one in statuses(self.instance, self.lake, self.ledger.requests(since=since, most=None)):
            by_user.setdefault(one.request.user_id, Counter())[one.state] += 1
        total: Counter[PodcastState] = sum(by_user.values(), Counter())
        users = tuple(PodcastUser(user, dict(states)) for user, states in sorted(by_user.items()))
        return PodcastOverview(since, dict(total), users, {str(name): n for name, n in self.outbox.mails().items()})

    def _podcast(self, status: Status, duration_ms: int | None, *, has_lines: bool) -> Podcast:
        request = status.request
        try:
            n_turns = len(parse_script(request.script))
        except ScriptRefused:  # of an earlier version with other rules
            n_turns = 0
        made = n_turns if has_lines or status.state == "completed" else 0
        if not made and status.state in ("pending", "processing", "failed"):
            made = min(n_turns, len(self.files.lines_made(request.podcast_id)))
        return Podcast(
            request.podcast_id, request.user_id, request.title, request.language, status.state, request.admitted_at,
            status.position, n_turns, made, status.attempt, status.stage, status.error, status.retry_at, duration_ms,
        )  # fmt: skip

    def _said(self, podcast_id: str, found: Podcast, n_turns: int) -> frozenset[int]:
        if found.lines_made >= n_turns:
            return frozenset(range(n_turns))
        return self.files.lines_made(podcast_id)
