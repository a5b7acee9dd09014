"""What a worker does: a thread for each device claims jobs, runs their engine, and sends the outcomes."""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Condition, Thread

from resources.engines import progress
from resources.engines.devices import CPU, Devices
from resources.engines.local_host import LocalHost
from resources.engines.routing import Audio, Done
from resources.logs import log_fields
from resources.workers.connection import AudioUnavailable, GatewayConnection, LeaseLost, Refused, Stopped
from resources.workers.jobs import LEASE, Lease, Progress
from resources.workers.outcomes import outcome_json
from speech.engines import registry
from speech.engines.protocols import EngineChoice, EngineSpec
from speech.errors import BadOutput, EngineFailed, EngineUnavailable, StorageError
from speech.waveforms import WaveformCache

log = logging.getLogger("podlake")

IDLE_WAIT_S = 5.0
"""How long a device waits before it asks again when there is no job."""
HELD_BYTES = 100_000_000
"""Audio that a device holds before it stops to claim; one recording is always held beside the one at work."""
HELD_AT_LEAST = 3


@dataclass(frozen=True)
class WorkerSettings:
    """How the worker uses its machine."""

    cache: Path
    cache_limit_bytes: int
    pythons: Mapping[str, str] = field(default_factory=dict)
    """Engine → the Python that its host process runs under."""
    engine_idle_s: float = 600.0
    is_once: bool = False
    """End when there is no job."""


def run_worker(connection: GatewayConnection, devices: tuple[str, ...], settings: WorkerSettings) -> None:
    """Work until `connection.stop` is set, or the queue is empty. Raises `Refused`."""
    held = HeldJobs(connection)
    works = [_Device(connection, held, device, settings) for device in devices or (CPU,)]
    with ExitStack() as stack:
        stack.callback(held.give_back_all)
        renewing = Thread(target=held.renew_until_stopped, name="renew", daemon=True)
        renewing.start()
        threads = [Thread(target=work.run, name=f"device {work.name}", daemon=True) for work in works]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and not connection.stop.is_set():
            connection.stop.wait(0.2)
    connection.stop.set()
    if error := next((work.error for work in works if work.error), None):
        raise error


class HeldJobs:
    """The leases of all devices. A thread renews them."""

    def __init__(self, connection: GatewayConnection) -> None:
        self._connection = connection
        self._held: dict[str, tuple[Lease, int]] = {}
        """Job → its lease, and the size of its audio."""
        self._lost: set[str] = set()
        self.changed = Condition()

    def add(self, lease: Lease, size: int = 0) -> None:
        with self.changed:
            self._held[lease.job_id] = (lease, size)

    def drop(self, lease: Lease) -> None:
        with self.changed:
            self._held.pop(lease.job_id, None)
            self._lost.discard(lease.job_id)
            self.changed.notify_all()

    def is_lost(self, lease: Lease) -> bool:
        return lease.job_id in self._lost

    def size_of(self, leases: Mapping[str, Lease]) -> int:
        """Bytes of the audio of these jobs."""
        return sum(self._held.get(lease.job_id, (lease, 0))[1] for lease in list(leases.values()))

    def renew_until_stopped(self) -> None:
        while not self._connection.stop.wait(self._pause_s()):
            at_work = {(one.episode_id, one.slot): one.done_ms for one in progress.at_work()}
            leases = [lease for lease, _ in list(self._held.values())]
            held = [
                Progress(one.job_id, one.lease_id, at_work.get((one.work.episode_id, one.work.slot), 0))
                for one in leases
            ]
            try:
                self._lost |= self._connection.renew(held)
            except (LeaseLost, Refused, Stopped) as error:
                log.warning("the leases could not be renewed: %s", error or type(error).__name__)

    def _pause_s(self) -> float:
        """A third of the shortest lease."""
        leases = [lease.duration_s for lease, _ in list(self._held.values())]
        return min(leases, default=LEASE.total_seconds()) / 3

    def give_back_all(self) -> None:
        """Of a worker that ends."""
        for lease, _ in list(self._held.values()):
            self._connection.give_back(lease)


class _Device:
    """A device with its own host of engines."""

    def __init__(self, connection: GatewayConnection, held: HeldJobs, name: str, settings: WorkerSettings) -> None:
        self.name = name
        self.error: Exception | None = None
        self._connection = connection
        self._all_held = held
        self._settings = settings
        self._folder = settings.cache / "jobs" / name.replace(":", "-")
        self._refused: set[str] = set()
        """Fingerprints of engines that this machine cannot run."""
        waveforms = WaveformCache(settings.cache / "waveforms", limit_bytes=settings.cache_limit_bytes)
        devices = Devices(() if name == CPU else (name,))
        self._host = LocalHost(waveforms, devices, settings.engine_idle_s)

    def run(self) -> None:
        with log_fields(worker=self._connection.machine.host, device=self.name):
            self._run()

    def _run(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.iterdir():  # of a worker that was killed
            left.unlink()
        with suppress(Stopped):
            try:
                self._work()
            except Exception as error:
                if not isinstance(error, Refused):
                    log.exception("the device %s ends", self.name)
                self.error = error

    def _work(self) -> None:
        while not self._connection.stop.is_set():
            lease = self._connection.claim(refused=self._refused)
            if lease is not None:
                self._work_from(lease)
            elif self._settings.is_once:
                return
            else:
                self._connection.stop.wait(IDLE_WAIT_S)

    def _work_from(self, first: Lease) -> None:
        """Work on jobs of one engine until there are no more."""
        work = first.work
        try:
            choice, spec = self._engine(first)
        except EngineUnavailable as error:
            self._refuse(work.fingerprint, error)
            self._connection.give_back(first)
            return
        leases: dict[str, Lease] = {}
        try:
            with closing(self._audio(first, leases)) as audio:
                for done in self._host.run(work.slot, choice, spec, audio):
                    self._send(leases.pop(done.audio.episode_id), done)
        except EngineUnavailable as error:
            self._refuse(work.fingerprint, error)
        except EngineFailed as error:
            log.exception("the engine %s failed on %s", spec.name, error.episode_id, extra={"key": error.episode_id})
            if lease := leases.pop(error.episode_id, None):
                self._send(lease, self._failed(lease, error.cause))
        finally:  # also if the device ends: its leases would be renewed as long as another one works
            for lease in leases.values():
                self._connection.give_back(lease)
                self._forget(lease)

    def _engine(self, lease: Lease) -> tuple[EngineChoice, EngineSpec]:
        """The job's engine on this machine. Raises `EngineUnavailable`, also if it has other weights."""
        choice = lease.work.choice
        if python := self._settings.pythons.get(choice.name):
            choice = replace(choice, options={**choice.options, "python": python})
        spec = registry.describe(lease.work.slot, choice)
        if spec.fingerprint != lease.work.fingerprint:
            raise EngineUnavailable(
                f"The engine {choice.name} of this machine ({spec.model} {spec.revision}) is another one than the job's."
            )
        return choice, spec

    def _audio(self, first: Lease, leases: dict[str, Lease]) -> Generator[Audio]:
        """The audio of the first job and of more with the same engine, fetched ahead of the engine."""
        lease: Lease | None = first
        while lease is not None:
            self._all_held.add(lease)
            path = self._path(lease)
            try:
                if not path.exists():
                    self._connection.fetch_audio(lease, path)
            except LeaseLost:
                self._forget(lease)
            except AudioUnavailable as error:
                log.error("%s", error)  # noqa: TRY400 - the message is complete
                self._send(lease, self._failed(lease, StorageError(str(error))))
                return
            else:
                self._all_held.add(lease, path.stat().st_size)
                leases[lease.work.episode_id] = lease
                yield Audio(lease.work.episode_id, lease.work.audio_sha256, path, lease.work.language)
            if len(leases) >= max(HELD_AT_LEAST, lease.fair_share):
                return  # the engine finishes what it has, and others get the rest
            with self._all_held.changed:
                self._all_held.changed.wait_for(
                    lambda: (
                        self._connection.stop.is_set()
                        or len(leases) < HELD_AT_LEAST
                        or self._all_held.size_of(leases) < HELD_BYTES
                    )
                )
            lease = self._connection.claim(first.work.slot, first.work.fingerprint, self._refused)

    def _send(self, lease: Lease, done: Done) -> None:
        with log_fields(key=lease.work.episode_id, slot=lease.work.slot):
            self._send_logged(lease, done)

    def _send_logged(self, lease: Lease, done: Done) -> None:
        name = lease.work.episode_id
        try:
            if not self._all_held.is_lost(lease):
                self._send_once(lease, done)
                said = f"failed: {done.error}" if done.result is None else "done"
                log.info("%s %s on %s: %s", name, lease.work.slot, self.name, said)
        except LeaseLost:
            log.warning("the lease of %s is lost: its result is not needed", name)
        except ValueError as error:  # the lease ends by itself, so that this try counts
            log.error("%s", error)  # noqa: TRY400 - the message is complete
        self._forget(lease)

    def _send_once(self, lease: Lease, done: Done) -> None:
        """Send the outcome; of a result that is not accepted, the error. The same work would give the same result.

        Raises `LeaseLost`, `Refused`, `Stopped`; ValueError if the error is not accepted either.
        """
        machine = self._connection.machine
        try:
            self._connection.send(lease, outcome_json(done, host=machine.host, version=machine.version))
        except ValueError as error:
            if done.result is None:
                raise
            log.error("%s", error)  # noqa: TRY400 - the message is complete
            self._send_once(lease, self._failed(lease, BadOutput(str(error))))

    def _failed(self, lease: Lease, error: Exception) -> Done:
        work = lease.work
        return Done(Audio(work.episode_id, work.audio_sha256, self._path(lease), work.language), None, error)

    def _forget(self, lease: Lease) -> None:
        self._all_held.drop(lease)
        self._path(lease).unlink(missing_ok=True)

    def _path(self, lease: Lease) -> Path:
        return self._folder / lease.job_id

    def _refuse(self, fingerprint: str, error: EngineUnavailable) -> None:
        log.error("%s. Jobs of this engine are left to other workers.", error)
        self._refused.add(fingerprint)
