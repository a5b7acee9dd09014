"""The devices for talking heads: leased to one request at a time, looked at before they are used, set aside if unfit."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resources.gpu_server.servers import GpuServers
from resources.studio.device_leases import BUSY_FOR_S, DeviceLeases, DeviceState, Lease, Task
from speech.errors import DeviceBusy, GpuServerUnavailable, HeadServiceFailed, LeaseLost, NetworkError
from speech.talking_head.device import HeadDevice
from speech.talking_head.heygem import Ended, Forgotten, Patience, is_busy, query
from speech.talking_head.service import not_answering

if TYPE_CHECKING:
    from resources.gpu_server.on_demand import GpuServer

log = logging.getLogger("podlake")

UNREACHABLE_FOR_S = 60.0
"""A device that does not answer is looked at again after this time."""
_LOOK_S = 1.0


@dataclass
class Held:
    """A device under lease. The lease is renewed while the block runs."""

    device: HeadDevice
    lease: Lease
    waited_s: float
    """Until the lease was given."""
    is_kept: bool = False
    """Whether the lease stays when the block ends."""
    is_lost: bool = False

    def check(self) -> None:
        """Raise `LeaseLost` if another attempt has the device."""
        if self.is_lost:
            raise LeaseLost(f"{self.lease.video_id} has lost {self.device.name} to another attempt.")


@dataclass(frozen=True)
class HeadDevices:
    """All devices, with their leases."""

    devices: tuple[HeadDevice, ...]
    leases: DeviceLeases
    patience: Patience = field(default_factory=Patience)
    wait_s: float = 30 * 60.0
    """How long a run waits for a device."""
    gpu_servers: GpuServers = field(default_factory=GpuServers)
    """Those on which devices may be. They run while a device is leased."""
    answer_s: float = 600.0
    """How long the servers of a device may take to answer after its GPU server was woken."""

    @property
    def names(self) -> list[str]:
        return [device.name for device in self.devices]

    def device(self, name: str) -> HeadDevice:
        """Raises `DeviceBusy` if the settings do not name it any more."""
        found = next((device for device in self.devices if device.name == name), None)
        if found is None:
            raise DeviceBusy(f"The settings have no device {name} any more.")
        return found

    def states(self) -> list[DeviceState]:
        return self.leases.states(self.names)

    @contextmanager
    def leased(
        self, video_id: str, check: Callable[[], None], *, only: Collection[str] = (), keeps: bool = False
    ) -> Iterator[Held]:
        """A device for the request, as soon as one is free; with `only`, one of these.

        `check` is called while it waits, and may raise. With `keeps`, the lease stays when the block ends without an
        error, for the request's next stage. Raises `DeviceBusy` if all are set aside, or none gets free in time.
        """
        wanted = [device for device in self.devices if not only or device.name in only]
        with ExitStack() as stack:
            held = self._fit_one(video_id, check, wanted, stack)
            yield held
            held.is_kept = keeps

    @contextmanager
    def awake(self, device: HeadDevice) -> Iterator[None]:
        """The GPU server of the device runs during this block, if it is on one. Raises `GpuServerUnavailable`."""
        with self.gpu_servers.in_use(device.urls, f"the device {device.name}"):
            yield

    def has_work_on(self, server: GpuServer) -> bool:
        """Whether a request has a device of this GPU server, or has left a task there."""
        names = [device.name for device in self.devices if server.serves(device.urls)]
        leased = any(state.video_id is not None for state in self.leases.states(names))
        return leased or any(task.device in names for task in self.leases.open_tasks())

    def note_ended_tasks(self, video_id: str) -> None:
        """Ask the devices about tasks that other requests have left there, so that a device is free when its task is over.

        The server says once how a task ended, so the answer is stored for the request that may still want it.
        """
        holders = {state.video_id for state in self.states()}
        for task in self.leases.open_tasks():
            if task.video_id == video_id or task.video_id in holders or task.device not in self.names:
                continue
            self._note_end(task)

    def _note_end(self, task: Task) -> None:
        try:
            found = query(self.device(task.device), task.code)
        except (NetworkError, HeadServiceFailed) as error:
            log.warning("%s: the task of %s cannot be asked for: %s", task.device, task.video_id, error)
            found = None
        if isinstance(found, Ended):
            self.leases.end(task.code, found.answer)
        elif isinstance(found, Forgotten):
            self.leases.end(task.code)
        elif time.time() - task.given_at > self.patience.limit_s:
            self.leases.end(task.code)
            self.leases.timed_out(task.device)

    def _fit_one(
        self, video_id: str, check: Callable[[], None], wanted: list[HeadDevice], stack: ExitStack
    ) -> Held:  # fmt: skip
        """The first device that is free and fit for use. `stack` ends its lease, and the use of its GPU server."""
        started = time.monotonic()
        own = {task.device for task in self.leases.open_tasks() if task.video_id == video_id}
        names = sorted((device.name for device in wanted), key=lambda name: name not in own)
        while True:
            lease = self._lease(video_id, check, names, started)
            with ExitStack() as trial:
                held = trial.enter_context(self._renewed(lease, started))
                unfit = self._woken(held, check, trial)
                if unfit is None and lease.device not in own:
                    unfit = self._unfit(held.device)
                if unfit is None:
                    stack.push(trial.pop_all())
                    return held
                reason, for_s = unfit
                log.warning("%s is set aside: %s", lease.device, reason)
                self.leases.set_aside(lease.device, reason, for_s)

    def _lease(self, video_id: str, check: Callable[[], None], names: list[str], started: float) -> Lease:
        """Wait until one of the devices is free."""
        while True:
            check()
            self.note_ended_tasks(video_id)
            if lease := self.leases.take(video_id, names):
                return lease
            states = self.leases.states(names)
            if all(state.set_aside_at is not None for state in states):
                raise DeviceBusy(f"No device is left: {aside(states)}")
            if time.monotonic() - started > self.wait_s:
                raise DeviceBusy(f"{', '.join(names)} stayed busy for {self.wait_s / 60:.0f} minutes.")
            time.sleep(min(_LOOK_S, self.patience.poll_s))

    @contextmanager
    def _renewed(self, lease: Lease, started: float) -> Iterator[Held]:
        """Renew the lease during this block, and release it at the end unless it is kept."""
        held = Held(self.device(lease.device), lease, time.monotonic() - started)
        stop = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(held, stop), daemon=True)
        renewing.start()
        try:
            yield held
        finally:
            stop.set()
            renewing.join()
            if not held.is_kept:
                self.leases.release(lease)

    def _woken(self, held: Held, check: Callable[[], None], trial: ExitStack) -> tuple[str, float] | None:
        """Wake the device's GPU server, and wait until both servers of the device answer. Why it is unfit, and how long."""
        if not any(server.serves(held.device.urls) for server in self.gpu_servers.servers):
            return None
        try:
            trial.enter_context(self.awake(held.device))
        except GpuServerUnavailable as error:
            return str(error), UNREACHABLE_FOR_S
        deadline = time.monotonic() + self.answer_s
        while reason := next(filter(None, map(not_answering, held.device.urls)), None):
            held.check()
            check()
            if time.monotonic() > deadline:
                return f"It does not answer: {reason}", UNREACHABLE_FOR_S
            time.sleep(min(_LOOK_S, self.patience.poll_s))
        return None

    def _unfit(self, device: HeadDevice) -> tuple[str, float] | None:
        """Why the device cannot be used although podlake leaves it free, and for how long; None: it can."""
        try:
            busy = is_busy(device)
        except (NetworkError, HeadServiceFailed) as error:
            return f"It does not answer: {error}", UNREACHABLE_FOR_S
        if busy:
            return "It is busy with a video that podlake has not asked for.", BUSY_FOR_S
        self.leases.found_fit(device.name)
        return None

    def _renew(self, held: Held, stop: threading.Event) -> None:
        while not stop.wait(self.leases.renew_every_s):
            if not self.leases.renew(held.lease):
                held.is_lost = True
                return


def aside(states: list[DeviceState]) -> str:
    """`gpu0 (It does not answer), gpu1 (…)`: the devices that are set aside, with the reasons."""
    return ", ".join(f"{state.device} ({state.reason})" for state in states if state.set_aside_at is not None)
