"""The API's routes of podcasts that are made from scripts: request, follow, download, cancel. Users see their own."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from starlette.responses import FileResponse, Response

from dagster_project.podcasts import OPEN, cancel
from gateway.auth import Principal, Role, require
from gateway.errors import Problem
from gateway.service import Here, Service
from partitions.languages import normalise_language
from podlake.api import NewPodcast, Podcast, PodcastLimits, PodcastList, PodcastOverview, PodcastProblem
from resources.studio.ledger import Answer as LedgerAnswer
from resources.studio.ledger import Request, check_title
from speech.script import ScriptRefused, parse_script

router = APIRouter(prefix="/api/v1/podcasts", tags=["podcasts"])
Requester = Annotated[Principal, require(Role.VIEWER, "submit")]
"""Every user may request podcasts, within the limits of a user."""
Viewer = Annotated[Principal, require(Role.VIEWER)]
Administrator = Annotated[Principal, require(Role.ADMIN)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", description="Repeats get the first answer, for a day.")]
_TAG = re.compile(r"([A-Za-z]{2,3})([-_][\w-]{1,9})?")
_MEDIA_TYPES = {"mp3": "audio/mpeg", "opus": "audio/ogg"}
_LONGEST_USER = 200
_LARGEST_SEED = 2**31 - 1
_RETRY_S = {"request_in_progress": 1, "rate_limit_exceeded": 15}
_PROBLEM: dict[str, object] = {"content": {"application/problem+json": {}}}
_ANSWERS: dict[int | str, dict[str, object]] = {
    400: {**_PROBLEM, "description": "The script, the title or the language is against a rule; `code` says which."},
    409: {**_PROBLEM, "description": "`request_in_progress`: a request with this key is being decided."},
    422: {**_PROBLEM, "description": "`idempotency_key_reused`: the key was used for another request."},
    429: {**_PROBLEM, "description": "`rate_limit_exceeded` or `daily_limit_exceeded`, with Retry-After."},
}


@router.post("", status_code=202, responses=_ANSWERS)
def request_podcast(
    asked: NewPodcast, service: Here, principal: Requester, response: Response, key: Key = None
) -> Podcast:
    """Request a podcast. A user has one at a time and five a day (UTC), unless the settings say otherwise."""
    user_id = _user_id(principal)
    found = _problems(service, asked, has_turns=False)
    if found:
        raise Problem(400, found[0].message, code=found[0].code, field=found[0].field)
    answer = service.studio.admit(user_id, asked, _language(asked.language) or asked.language, key)
    if not answer.is_admitted:
        raise _refusal(answer)
    request = service.studio.ledger.request(answer.podcast_id or "")
    if request is None:
        raise Problem(404, f"{answer.podcast_id} was removed.")
    if principal.address and service.accounts.address(user_id) != principal.address:
        service.accounts.set_address(user_id, principal.address)
    response.headers["Location"] = f"/api/v1/podcasts/{request.podcast_id}"
    return service.studio.podcast(request)


@router.post("/check")
def check_podcast(asked: NewPodcast, service: Here, _: Requester) -> list[PodcastProblem]:
    """Why a request would be refused, without making it; the limits of the user do not count."""
    return _problems(service, asked)


@router.get("")
def list_podcasts(
    service: Here, principal: Viewer, everyone: bool = False, user: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: str | None = None,
) -> PodcastList:  # fmt: skip
    """The user's own podcasts, the newest first; for administrators also those of `everyone`, or of one `user`."""
    if (everyone or user) and principal.role < Role.ADMIN:
        raise Problem(403, "Only administrators see the podcasts of others.")
    wanted = user if everyone or user else _user_id(principal)
    requests = service.studio.ledger.requests(wanted, after=cursor, most=limit + 1)
    shown = requests[:limit]
    more = shown[-1].podcast_id if len(requests) > limit else None
    return PodcastList(tuple(service.studio.podcasts(shown)), more)


@router.get("/limits")
def podcast_limits(service: Here, principal: Viewer) -> PodcastLimits:
    """Who asks, what they may request, and with which voices."""
    return service.studio.limits(_user_id(principal), is_admin=principal.role >= Role.ADMIN)


@router.get("/overview")
def podcast_overview(service: Here, _: Administrator) -> PodcastOverview:
    """The podcasts of the last seven days by user and state."""
    return service.studio.overview()


@router.get("/{podcast_id}")
def podcast(podcast_id: str, service: Here, principal: Viewer) -> Podcast:
    """One podcast with its script and turns, and which of them are said."""
    return service.studio.podcast(_own(service, principal, podcast_id))


@router.post("/{podcast_id}/cancel")
def cancel_podcast(podcast_id: str, service: Here, principal: Requester) -> Podcast:
    """Cancel a podcast that is not finished; its run ends. One that is cancelled already stays so."""
    request = _own(service, principal, podcast_id)
    studio = service.studio
    (before,) = studio.podcasts([request])
    if before.state not in (*OPEN, "cancelled"):
        raise Problem(409, f"The podcast is {before.state} already.", code="already_finished")
    cancel(studio.instance, studio.lake, studio.ledger, podcast_id)
    return studio.podcast(studio.ledger.request(podcast_id) or request)


@router.get("/{podcast_id}/audio", response_class=FileResponse)
def podcast_audio(
    podcast_id: str, service: Here, principal: Viewer,
    format: Literal["mp3", "opus"] = "mp3", download: bool = False,  # noqa: A002
) -> Response:  # fmt: skip
    """The finished audio. Answers Range requests. With `download`, browsers save it under the podcast's title."""
    request = _own(service, principal, podcast_id)
    (found,) = service.studio.podcasts([request])
    audio = service.studio.audio(podcast_id) if found.state == "completed" else None
    if audio is None:
        raise Problem(404, f"The podcast is {found.state}, and has no audio.", code="no_audio")
    try:
        path = service.studio.files.local(audio.mp3_path if format == "mp3" else audio.opus_path)
    except FileNotFoundError as error:
        raise Problem(404, f"The audio of {podcast_id} was removed.", code="no_audio") from error
    if not path.exists():
        raise Problem(404, f"The audio of {podcast_id} was removed.", code="no_audio")
    name = f"{request.title}.{format}" if download else None
    return FileResponse(path, media_type=_MEDIA_TYPES[format], filename=name)


def _own(service: Service, principal: Principal, podcast_id: str) -> Request:
    """The request, if it is the principal's. Others are not told whether it exists."""
    request = service.studio.ledger.request(podcast_id)
    if request is None or (principal.role < Role.ADMIN and request.user_id != _user_id(principal)):
        raise Problem(404, f"You have no podcast {podcast_id[:120]}.")
    return request


def _problems(service: Service, asked: NewPodcast, *, has_turns: bool = True) -> list[PodcastProblem]:
    found = []
    if not 0 <= asked.seed <= _LARGEST_SEED:
        found.append(PodcastProblem("seed", "bad_seed", f"A seed is a number from 0 to {_LARGEST_SEED}."))
    language = _language(asked.language)
    if language is None:
        found.append(
            PodcastProblem("language", "bad_language", "This names no language: use a tag such as en or de.")
        )  # fmt: skip
    if has_turns:
        try:
            check_title(asked.title)
        except ScriptRefused as refused:
            found.append(PodcastProblem("title", refused.code, str(refused)))
        try:
            service.studio.voices.check(parse_script(asked.script), language or "en")
        except ScriptRefused as refused:
            found.append(PodcastProblem("script", refused.code, str(refused)))
    return found


def _refusal(answer: LedgerAnswer) -> Problem:
    wait_s = answer.retry_after_s or _RETRY_S.get(answer.code)
    headers = {"Retry-After": str(wait_s)} if wait_s else None
    more = {"field": "title" if answer.code == "bad_title" else "script"} if answer.status == 400 else {}
    return Problem(answer.status, answer.message, headers=headers, code=answer.code, **more)


def _language(text: str) -> str | None:
    found = _TAG.fullmatch(text)
    return normalise_language(found[1].lower()) if found else None


def _user_id(principal: Principal) -> str:
    if len(principal.user_id) > _LONGEST_USER:
        raise Problem(400, f"The name of the user is longer than {_LONGEST_USER} characters.")
    return principal.user_id
