"""A worker's connection to the gateway: claims jobs, fetches audio, renews leases, sends outcomes."""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Annotated

import httpx
from pydantic import Field, TypeAdapter

from resources.workers.jobs import Lease, Progress
from speech.engines.protocols import Slot

log = logging.getLogger("podlake")

LEASE_HEADER = "X-Podlake-Lease"
PATH = "/api/v1/workers"
RETRY_FOR_S = 600.0
"""How long a request is repeated while the gateway does not answer. A restart takes seconds."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_CHUNK_BYTES = 1 << 20

Name = Annotated[str, Field(min_length=1, max_length=200)]


@dataclass(frozen=True)
class Machine:
    """What a worker says of itself. Its name is that of its token."""

    host: Name
    version: Name
    devices: Annotated[tuple[Name, ...], Field(max_length=64)]
    languages: Annotated[tuple[Name, ...], Field(max_length=200)] = ()
    """Those that it takes; empty: all."""


@dataclass(frozen=True)
class ClaimRequest:
    """Which jobs a worker asks for: the body of `POST /api/v1/workers/claim`."""

    machine: Machine
    slot: Slot | None = None
    fingerprint: Name | None = None
    refused: Annotated[tuple[Name, ...], Field(max_length=1000)] = ()


@dataclass(frozen=True)
class RenewRequest:
    """The leases that a worker holds: the body of `POST /api/v1/workers/renew`."""

    machine: Machine
    held: Annotated[tuple[Progress, ...], Field(max_length=1000)] = ()


_LEASE = TypeAdapter(Lease)


class LeaseLost(Exception):
    """The job has been given to another worker, or its run has ended."""


class Refused(Exception):
    """The gateway takes no requests of this worker. The message says why, and what to do."""


class AudioUnavailable(Exception):
    """The gateway cannot give the audio of a job, or its bytes are wrong."""


class Stopped(Exception):
    """The worker ends."""


@dataclass(frozen=True)
class GatewayConnection:
    """Requests are repeated while the gateway is away, until `stop` is set."""

    client: httpx.Client
    machine: Machine
    stop: Event

    @classmethod
    def to(cls, server: str, token: str, machine: Machine, stop: Event) -> GatewayConnection:
        headers = {"Authorization": f"Bearer {token}", "User-Agent": f"podlake-worker/{machine.version}"}
        client = httpx.Client(
            base_url=server.rstrip("/") + PATH, headers=headers, timeout=httpx.Timeout(60, connect=10)
        )
        return cls(client, machine, stop)

    def claim(
        self, slot: Slot | None = None, fingerprint: str | None = None, refused: Collection[str] = ()
    ) -> Lease | None:
        """A job, or None if there is none for this worker. Raises `Refused`, also of what is no service; `Stopped`."""
        request = ClaimRequest(self.machine, slot=slot, fingerprint=fingerprint, refused=tuple(sorted(refused)))
        answer = self._ask(lambda: self.client.post("/claim", json=asdict(request)), patient=True)
        if answer.status_code == httpx.codes.NO_CONTENT:
            return None
        if answer.status_code != httpx.codes.OK:
            raise Refused(
                f"{answer.url} answers {answer.status_code}: {answer.text[:200]} Compare the URL with the service's, and "
                "the versions of podlake on both machines."
            )
        return _LEASE.validate_json(answer.content)

    def renew(self, held: Iterable[Progress]) -> set[str]:
        """Renew the leases. Returns the ids of jobs whose lease is lost. Raises `LeaseLost`, `Refused`, `Stopped`."""
        request = RenewRequest(self.machine, tuple(held))
        answer = self._ask(lambda: self.client.post("/renew", json=asdict(request)))
        if answer.status_code != httpx.codes.OK:
            raise LeaseLost(f"The gateway answers {answer.status_code}: {answer.text[:200]}")
        return set(answer.json()["lost"])

    def fetch_audio(self, lease: Lease, path: Path) -> None:
        """Store the job's audio at the path. Raises `LeaseLost`, `AudioUnavailable`, `Refused`, `Stopped`."""
        part = path.with_name(f".{path.name}.part")
        answer = self._ask(lambda: self._download(lease, part))
        if not answer.is_success and answer.status_code != httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise AudioUnavailable(f"The gateway has no audio of {lease.work.episode_id}: {answer.text[:200]}")
        if _sha256(part) != lease.work.audio_sha256:
            part.unlink()
            raise AudioUnavailable(f"The gateway sent other bytes than those of {lease.work.episode_id}.")
        part.rename(path)

    def send(self, lease: Lease, outcome: bytes) -> None:
        """Store the job's outcome. Raises `LeaseLost`, `Refused`, `Stopped`; ValueError if it is not accepted."""
        headers = {LEASE_HEADER: lease.lease_id, "Content-Type": "application/json"}
        answer = self._ask(lambda: self.client.put(f"/{lease.job_id}/outcome", content=outcome, headers=headers))
        if answer.is_client_error:
            raise ValueError(f"The gateway refuses the result of {lease.work.episode_id}: {answer.text[:500]}")

    def give_back(self, lease: Lease) -> None:
        """Let another worker have the job. One try: otherwise the lease ends by itself."""
        try:
            self.client.post(f"/{lease.job_id}/give-back", headers={LEASE_HEADER: lease.lease_id}, timeout=5)
        except httpx.TransportError as error:
            log.info("%s could not be given back: %s. Its lease ends within a minute.", lease.work.episode_id, error)

    def _download(self, lease: Lease, part: Path) -> httpx.Response:
        """Go on where an earlier try ended."""
        have = part.stat().st_size if part.exists() else 0
        headers = {LEASE_HEADER: lease.lease_id} | ({"Range": f"bytes={have}-"} if have else {})
        with self.client.stream("GET", f"/{lease.job_id}/audio", headers=headers) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return answer  # the part is whole, or wrong: the hash decides
            if answer.is_success:
                mode = "ab" if answer.status_code == httpx.codes.PARTIAL_CONTENT else "wb"
                with part.open(mode) as file:
                    for chunk in answer.iter_bytes(_CHUNK_BYTES):
                        file.write(chunk)
            else:
                answer.read()
        return answer

    def _ask(self, request: Callable[[], httpx.Response], *, patient: bool = False) -> httpx.Response:
        """The answer. Tries again after a broken connection, a 5xx or a 429: for ever if `patient`."""
        started, wait_s = time.monotonic(), _FIRST_WAIT_S
        while True:
            if self.stop.is_set():
                raise Stopped
            try:
                answer = request()
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
                    raise Refused(
                        f"The gateway does not accept the worker's token ({answer.status_code}). An administrator makes "
                        "one: podlake keys add NAME --role operator --scope work"
                    )
                if answer.status_code == httpx.codes.CONFLICT:
                    raise LeaseLost
                if not answer.is_server_error and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                    return answer
                problem = f"it answers {answer.status_code}"
            if not patient and time.monotonic() - started > RETRY_FOR_S:
                raise LeaseLost(f"The gateway has not answered for {RETRY_FOR_S:.0f} s: {problem}")
            log.warning("the gateway does not answer: %s. Next try in %.0f s", problem, wait_s)
            self.stop.wait(wait_s * random.uniform(0.75, 1.25))  # noqa: S311 - jitter
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
