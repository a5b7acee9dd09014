"""The devices for talking heads: leased to one request at a time, looked at before they are used, set aside if unfit."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from resources.studio.device_leases import BUSY_FOR_S, DeviceLeases, DeviceState, Lease, Task
from speech.errors import DeviceBusy, HeadServiceFailed, LeaseLost, NetworkError
from speech.talking_head.device import HeadDevice
from speech.talking_head.heygem import Ended, Forgotten, Patience, is_busy, query

log = logging.getLogger("podlake")

UNREACHABLE_FOR_S = 60.0
"""A device that does not answer is looked at again after this time."""
_LOOK_S = 1.0


@dataclass(frozen=True)
class Held:
    """A device under lease. The lease is renewed while the block runs."""

    device: HeadDevice
    lease: Lease
    waited_s: float
    """Until the lease was given."""
    _lost: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise `LeaseLost` if another attempt has the device."""
        if self._lost.is_set():
            raise LeaseLost(f"{self.lease.video_id} has lost {self.device.name} to another attempt.")


@dataclass(frozen=True)
class HeadDevices:
    """All devices, with their leases."""

    devices: tuple[HeadDevice, ...]
    leases: DeviceLeases
    patience: Patience = field(default_factory=Patience)
    wait_s: float = 30 * 60.0
    """How long a run waits for a device."""

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
        held = self._taken(video_id, check, [device for device in self.devices if not only or device.name in only])
        stop = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(held, stop), daemon=True)
        renewing.start()
        kept = False
        try:
            yield held
            kept = keeps
        finally:
            stop.set()
            renewing.join()
            if not kept:
                self.leases.release(held.lease)

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

    def _taken(self, video_id: str, check: Callable[[], None], wanted: list[HeadDevice]) -> Held:
        started = time.monotonic()
        own = {task.device for task in self.leases.open_tasks() if task.video_id == video_id}
        names = sorted((device.name for device in wanted), key=lambda name: name not in own)
        while True:
            check()
            self.note_ended_tasks(video_id)
            lease = self.leases.take(video_id, names)
            if lease and (lease.device in own or self._is_fit(lease)):
                return Held(self.device(lease.device), lease, time.monotonic() - started)
            states = self.leases.states(names)
            if all(state.set_aside_at is not None for state in states):
                raise DeviceBusy(f"No device is left: {aside(states)}")
            if time.monotonic() - started > self.wait_s:
                raise DeviceBusy(f"{', '.join(names)} stayed busy for {self.wait_s / 60:.0f} minutes.")
            if lease is None:
                time.sleep(min(_LOOK_S, self.patience.poll_s))

    def _is_fit(self, lease: Lease) -> bool:
        """Whether the device is free on its own side too. If not, it is set aside for a while."""
        try:
            if not is_busy(self.device(lease.device)):
                return True
            reason, for_s = "It is busy with a video that podlake has not asked for.", BUSY_FOR_S
        except (NetworkError, HeadServiceFailed) as error:
            reason, for_s = f"It does not answer: {error}", UNREACHABLE_FOR_S
        log.warning("%s is set aside: %s", lease.device, reason)
        self.leases.set_aside(lease.device, reason, for_s)
        self.leases.release(lease)
        return False

    def _renew(self, held: Held, stop: threading.Event) -> None:
        while not stop.wait(self.leases.renew_every_s):
            if not self.leases.renew(held.lease):
                held._lost.set()
                return


def aside(states: list[DeviceState]) -> str:
    """`gpu0 (It does not answer), gpu1 (…)`: the devices that are set aside, with the reasons."""
    return ", ".join(f"{state.device} ({state.reason})" for state in states if state.set_aside_at is not None)
