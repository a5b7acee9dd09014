"""Routes of workers: claim a job, renew leases, fetch audio, send an outcome, give a job back."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from gateway.auth import Principal, Role, require
from gateway.errors import Problem
from gateway.service import Here, Service
from resources.lake.tables.audio import ACQUISITIONS
from resources.workers.connection import LEASE_HEADER, PATH, ClaimRequest, Machine, RenewRequest
from resources.workers.jobs import JobQueue, Lease, Work, Worker
from resources.workers.outcomes import check_outcome
from speech.errors import BadOutput, StorageError

router = APIRouter(prefix=PATH, tags=["workers"])
log = logging.getLogger("podlake")

WORK = "work"
"""The scope of a worker's token."""
LeaseId = Annotated[str, Header(alias=LEASE_HEADER, max_length=64)]
AsWorker = Annotated[Principal, require(Role.OPERATOR, WORK)]


@router.post("/claim", responses={204: {"description": "There is no job for this worker."}})
def claim(request: ClaimRequest, service: Here, principal: AsWorker) -> Lease | None:
    """Lease the oldest job that the worker can do."""
    worker = _worker(principal, request.machine)
    lease = _queue(service).claim(worker, slot=request.slot, fingerprint=request.fingerprint, refused=request.refused)
    return lease or Response(status_code=204)  # type: ignore[return-value]


@router.post("/renew")
def renew(request: RenewRequest, service: Here, principal: AsWorker) -> dict[str, list[str]]:
    """Extend the leases that the worker holds. `lost` are jobs that it no longer has."""
    return {"lost": _queue(service).renew(_worker(principal, request.machine), request.held)}


@router.get("/{job_id}/audio", response_class=FileResponse)
def audio(job_id: str, lease_id: LeaseId, service: Here, _: AsWorker) -> FileResponse:
    """The bytes as fetched, with Range. Their SHA-256 is in the lease."""
    work = _leased(service, job_id, lease_id)
    rows = service.lake.rows(ACQUISITIONS, work.episode_id)
    uri = next((row.storage_uri for row in rows if row.audio_sha256 == work.audio_sha256), None)
    if uri is None:
        raise Problem(404, f"{work.episode_id} has no audio with this hash.")
    try:
        path = service.store.local(uri)
    except StorageError as error:
        raise Problem(404, f"The audio of {work.episode_id} cannot be read: {error}") from error
    return FileResponse(path, media_type="application/octet-stream", headers={"ETag": f'"{work.audio_sha256}"'})


@router.put("/{job_id}/outcome", status_code=204)
async def outcome(job_id: str, lease_id: LeaseId, request: Request, service: Here, principal: AsWorker) -> None:
    """Store what came of the job. A lost lease is 409, an impossible result 422; both change nothing."""
    data = await request.body()
    await run_in_threadpool(_finish, service, job_id, lease_id, data, principal.name)


def _finish(service: Service, job_id: str, lease_id: str, data: bytes, worker: str) -> None:
    work = _leased(service, job_id, lease_id)
    try:
        check_outcome(data, work.slot)
    except BadOutput as error:
        raise Problem(422, str(error)) from error
    if not _queue(service).finish(job_id, lease_id, data):
        raise _lost()
    log.info("%s %s is done", work.episode_id, work.slot,
             extra={"key": work.episode_id, "slot": work.slot, "worker": worker})  # fmt: skip


@router.post("/{job_id}/give-back", status_code=204)
def give_back(job_id: str, lease_id: LeaseId, service: Here, _: AsWorker) -> None:
    """Let another worker have the job."""
    if not _queue(service).give_back(job_id, lease_id):
        raise _lost()


def _queue(service: Service) -> JobQueue:
    return JobQueue(service.database, timedelta(seconds=service.serve.lease_s))


def _worker(principal: Principal, machine: Machine) -> Worker:
    return Worker(principal.name, machine.host, machine.version, machine.devices, machine.languages)


def _leased(service: Service, job_id: str, lease_id: str) -> Work:
    work = _queue(service).leased(job_id, lease_id)
    if work is None:
        raise _lost()
    return work


def _lost() -> Problem:
    return Problem(409, "The lease is lost: the job was given to another worker, or its run has ended.")
