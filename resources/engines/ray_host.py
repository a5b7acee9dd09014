"""Runs engines in the actors of a Ray cluster, one actor for each place that the cluster has.

An actor is detached and its name contains the engine's fingerprint, so the next run finds the engine loaded. The batch
is split into groups, large ones first, so that the actors finish together (guided self-scheduling: Polychronopoulos and
Kuck, IEEE Trans. Computers, 1987). When an actor dies, its current episodes are retried one at a time.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any

from resources.engines import progress
from resources.engines.progress import AtWork
from resources.engines.ray_actor import ActorSpec, EngineActor
from resources.engines.ray_cluster import CONTROL_GROUP, EngineName, connect, evict_idle, places
from resources.engines.routing import Audio, Done, Slot
from speech.engines.protocols import EngineChoice, EngineSpec
from speech.errors import EngineCrashed, EngineUnavailable

log = logging.getLogger("podlake")

IDLE_S = 1800.0
"""An actor exits, and frees its GPU, after this long without work."""
MAX_FAILURES = 3
"""An episode fails after this many actors died on it; a slot fails after this many starts of its actor."""
WAIT_S = 3600.0
"""The step fails when the cluster has no free place for this long."""
PLACED_WITHIN_S = 30.0
"""So long an engine that is loaded ahead of its first episode waits for a place."""
READ_AHEAD = 128
"""Episodes read from the audio stream before they are assigned to an actor."""
_GROUPS_PER_ACTOR = 2
"""The engine runs on one while the node decodes the other."""
_POLL_EVERY_S = 2.0
"""How often the host tries to free a place for an actor that waits for one."""


@dataclass(frozen=True)
class RayHost:
    """Runs a batch on the actors of a cluster that is already running."""

    address: str
    """As `ray.init` takes it: `auto`, or `host:6379` on a machine that is a node of that cluster."""
    gpus_per_engine: float
    """GPUs for each actor of an engine that gains from one: 1, a fraction to put several on one, or 0 for none."""
    home: str
    cache: str
    """A local folder on each node, for waveforms."""
    cache_limit_bytes: int
    idle_s: float = IDLE_S

    def preload(self, slot: Slot, choice: EngineChoice, spec: EngineSpec) -> None:
        """Start one actor, if the cluster has a place for it. Raises `EngineUnavailable`."""
        import ray

        connect(self.address)
        for actor_slot in self._slots(slot, choice, spec, at_most=1):
            actor_slot.start()
            if ray.wait([actor_slot.placed], timeout=PLACED_WITHIN_S)[0]:
                actor_slot.wait_until_loaded()
            else:
                actor_slot.release()

    def run(self, slot: Slot, choice: EngineChoice, spec: EngineSpec, audio: Iterable[Audio]) -> Iterator[Done]:
        """Each episode exactly once, in any order. Raises `EngineUnavailable`."""
        batch = _Batch(iter(audio))
        if not batch.fresh:
            return
        connect(self.address)
        slots = self._slots(slot, choice, spec, at_most=len(batch.fresh))
        try:
            yield from dispatch(batch, slots)
        finally:
            for actor_slot in slots:
                actor_slot.release()

    def _slots(self, slot: Slot, choice: EngineChoice, spec: EngineSpec, at_most: int) -> list[ActorSlot]:
        gpus = self.gpus_per_engine if spec.needs_gpu else 0.0
        actor_spec = ActorSpec(slot, choice, self.home, self.cache, self.cache_limit_bytes, self.idle_s)
        return [
            ActorSlot(EngineName(slot, spec.fingerprint, actor_spec.digest, gpus, index), actor_spec, where)
            for index, where in enumerate(places(gpus, at_most=at_most))
        ]


def dispatch(batch: _Batch, slots: list[ActorSlot]) -> Iterator[Done]:
    """Assign groups to the actors until the batch is done. Yields results and errors as they arrive."""
    import ray

    answered_at = polled_at = time.monotonic()
    while batch.has_more or any(slot.groups for slot in slots):
        slots = _usable(slots, time.monotonic() - answered_at)
        # Each slot gets its first group before any slot gets a second one.
        for n_held, slot in product(range(1, _GROUPS_PER_ACTOR + 1), slots):
            slot.take(batch, len(slots), n_held)
        slot_of = {pending: slot for slot in slots if (pending := slot.pending()) is not None}
        ready, _ = ray.wait(list(slot_of), timeout=_POLL_EVERY_S)
        for pending in ready:
            answered_at = time.monotonic()
            yield from slot_of[pending].next_result(batch)
        for slot in slots:
            slot.follow()
        if time.monotonic() - polled_at >= _POLL_EVERY_S and any(slot.loading is not None for slot in slots):
            evict_idle([slot.name for slot in slots])
            polled_at = time.monotonic()


def _usable(slots: list[ActorSlot], quiet_s: float) -> list[ActorSlot]:
    """The slots whose actors start. Raises `EngineUnavailable` if there are none, or no actor gets a place."""
    usable = [slot for slot in slots if slot.failed_starts < MAX_FAILURES]
    if not usable:
        raise EngineUnavailable(
            f"The actor {slots[0].name} died {MAX_FAILURES} times before its engine was loaded: see its log in Ray. "
            f"Last error: {slots[0].last_error}"
        )
    if quiet_s > WAIT_S and not any(slot.is_ready for slot in usable):
        raise EngineUnavailable(
            f"The Ray cluster has no free place for {usable[0].name} after {WAIT_S / 60:.0f} minutes. Add a node with a "
            "GPU, or set PODLAKE_RAY_GPUS_PER_ENGINE: 0.5 puts two engines on a GPU, 0 does without."
        )
    return usable


@dataclass
class _Batch:
    """Episodes that no actor has."""

    unread: Iterator[Audio]
    fresh: deque[Audio] = field(default_factory=deque)
    suspects: deque[Audio] = field(default_factory=deque)
    """Episodes whose actor died. Each is retried alone, after all others."""
    failures: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._fill()

    @property
    def has_more(self) -> bool:
        return bool(self.fresh or self.suspects)

    def next_group(self, n_slots: int) -> tuple[Audio, ...]:
        if self.fresh:
            size = math.ceil(len(self.fresh) / (_GROUPS_PER_ACTOR * n_slots))
            group = tuple(self.fresh.popleft() for _ in range(size))
            self._fill()
            return group
        return (self.suspects.popleft(),) if self.suspects else ()

    def retry_or_fail(self, one: Audio, error: Exception) -> Iterator[Done]:
        """Queue an episode whose actor died for another try, or yield its error."""
        self.failures[one.episode_id] += 1
        if self.failures[one.episode_id] < MAX_FAILURES:
            self.suspects.append(one)
        else:
            yield Done(one, None, error)

    def _fill(self) -> None:
        self.fresh.extend(islice(self.unread, max(0, READ_AHEAD - len(self.fresh))))


@dataclass
class _Group:
    """Episodes that an actor works on, and the stream of their results."""

    results: Any
    """An `ObjectRefGenerator` of `Done`."""
    open: dict[str, Audio]
    """Episodes without a result."""

    def next_result(self) -> Iterator[Done]:
        """The next result; none when the stream has ended. Raises the actor's error, or `RayActorError`."""
        import ray

        for result in self.results:
            done = ray.get(result)
            self.open.pop(done.audio.episode_id, None)
            yield done
            return
        self.open.clear()

    @property
    def is_over(self) -> bool:
        return not self.open


@dataclass(eq=False)
class ActorSlot:
    """A place in the cluster: its actor, which is started again when it dies, and the groups of that actor."""

    name: EngineName
    spec: ActorSpec
    where: Any
    """Ray's scheduling strategy."""
    actor: Any = None
    placed: Any = None
    """Resolves when the actor has a place; `loading` resolves when the engine is loaded."""
    loading: Any = None
    groups: deque[_Group] = field(default_factory=deque)
    is_ready: bool = False
    failed_starts: int = 0
    last_error: str = ""
    asked: Any = None
    """Resolves to what the actor works on."""
    at_work: dict[str, AtWork] = field(default_factory=dict)
    """As it answered last, shown as the progress of this process."""

    def take(self, batch: _Batch, n_slots: int, n_held: int) -> None:
        """Start the actor if there is none. Assign it a group if it has fewer than `n_held`."""
        if self.actor is None and batch.has_more:
            self.start()
        if self.is_ready and len(self.groups) < n_held and (group := batch.next_group(n_slots)):
            if self.groups:
                self.actor.decode.options(concurrency_group=CONTROL_GROUP).remote(group)
            results = self.actor.work.options(num_returns="streaming").remote(group)
            self.groups.append(_Group(results, {one.episode_id: one for one in group}))

    def pending(self) -> Any:
        """The reference that `ray.wait` waits for; None when the slot has no work."""
        return self.groups[0].results if self.groups else self.loading

    def next_result(self, batch: _Batch) -> Iterator[Done]:
        """Receive what `pending` refers to."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        try:
            if self.groups:
                yield from self.groups[0].next_result()
                if self.groups[0].is_over:
                    self.groups.popleft()
            else:
                self._loaded(ray.get(self.loading))
        except RayActorError as error:
            yield from self._actor_died(batch, str(error).strip().splitlines()[0])
        except RayTaskError as error:  # the state of the device is unknown: end the actor
            ray.kill(self.actor)
            yield from self._actor_died(batch, f"{type(error.cause).__name__}: {error.cause}")

    def release(self) -> None:
        """Cancel the work of this run and keep the actor. An actor that has no place yet is ended."""
        import ray

        self._show([])
        for group in self.groups:
            ray.cancel(group.results)
        if self.actor is not None and not ray.wait([self.placed], timeout=0)[0]:
            ray.kill(self.actor)

    def follow(self) -> None:
        """Show what the actor works on, as it answered since the last call, and ask again."""
        import ray
        from ray.exceptions import RayError

        if self.asked is not None and ray.wait([self.asked], timeout=0)[0]:
            with suppress(RayError):  # `next_result` handles an actor that has died
                self._show(ray.get(self.asked))
            self.asked = None
        if self.asked is None and self.groups:
            self.asked = self.actor.at_work.options(concurrency_group=CONTROL_GROUP).remote()

    def _show(self, at_work: Sequence[AtWork]) -> None:
        theirs = {one.episode_id: one for one in at_work}
        for episode_id in self.at_work.keys() - theirs.keys():
            progress.end(self.at_work.pop(episode_id))
        for episode_id, one in theirs.items():
            if episode_id not in self.at_work:
                self.at_work[episode_id] = progress.begin(episode_id, one.slot, one.audio_ms)
            self.at_work[episode_id].report(one.done_ms)

    def wait_until_loaded(self) -> None:
        """Raises `EngineUnavailable`."""
        import ray

        self._loaded(ray.get(self.loading))

    def start(self) -> None:
        """Start the actor, or take the one that an earlier run has left."""
        import ray

        as_actor: Any = ray.remote  # its annotations do not know concurrency groups
        engine = as_actor(concurrency_groups={CONTROL_GROUP: 2}, max_restarts=0)(EngineActor)  # `take` starts a new one
        self.actor = engine.options(**self.name.options, scheduling_strategy=self.where).remote(self.spec)
        self.placed = self.actor.pid.options(concurrency_group=CONTROL_GROUP).remote()
        self.loading = self.actor.load.remote()

    def _loaded(self, unavailable: EngineUnavailable | None) -> None:
        import ray

        if unavailable is not None:
            ray.kill(self.actor)
            raise unavailable
        self.loading, self.is_ready, self.failed_starts = None, True, 0

    def _actor_died(self, batch: _Batch, why: str) -> Iterator[Done]:
        """Return the dead actor's episodes to the batch: the current group as suspects, the waiting one unchanged."""
        log.warning("the actor %s died: %s", self.name, why)
        self.failed_starts += not self.is_ready
        self.last_error = why
        held = list(self.groups)
        self.asked = None
        self._show([])
        self.actor, self.loading, self.is_ready, self.groups = None, None, False, deque()
        for one in [one for group in held[1:] for one in group.open.values()]:
            batch.fresh.appendleft(one)
        for one in [one for group in held[:1] for one in group.open.values()]:
            error = EngineCrashed(
                f"{one.episode_id}: the engine's process died {MAX_FAILURES} times on this episode. Last error: {why}"
            )
            yield from batch.retry_or_fail(one, error)
