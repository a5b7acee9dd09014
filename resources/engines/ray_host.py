"""Runs engines in actors of a Ray cluster: warm across runs, as many as the cluster has resources for.

An actor is named after its engine's fingerprint and detached, so that later runs find it loaded. The batch is divided
into groups, large ones first and single episodes last, so that the actors finish together (guided self-scheduling:
Polychronopoulos and Kuck, IEEE Trans. Computers, 1987). The episodes of a lost actor are retried one at a time, so
that one episode cannot fail another.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from resources.engines.ray_actor import ActorSpec, EngineActor
from resources.engines.ray_cluster import CONTROL, EngineName, connect, end_idle_actors, places
from resources.engines.routing import Audio, Done, Slot
from speech.engines.protocols import EngineChoice, EngineSpec
from speech.errors import EngineCrashed, EngineUnavailable

log = logging.getLogger("podlake")

IDLE_S = 1800.0
"""An actor without work for this long ends and releases its GPU."""
TRIES = 3
"""Lost actors after which an episode fails, and failed starts after which an actor is given up."""
WAIT_S = 3600.0
"""How long the step waits for resources of the cluster."""
_GROUPS_PER_ACTOR = 2
"""One is worked on; the next is decoded meanwhile."""
_CHECK_EVERY_S = 2.0
"""How often resources are checked while an actor waits for them."""


@dataclass(frozen=True)
class RayHost:
    """Runs a batch on the cluster's actors. The cluster must be running."""

    address: str
    """As `ray.init` takes it: `auto`, or `host:6379` on a machine that is a node of that cluster."""
    gpus_per_engine: float
    """GPUs per actor of an engine that uses one: 1, a fraction to share a GPU, or 0 for none."""
    home: str
    cache: str
    """A local folder of each node, for waveforms."""
    cache_limit_bytes: int
    idle_s: float = IDLE_S

    def run(self, slot: Slot, choice: EngineChoice, spec: EngineSpec, audio: Iterable[Audio]) -> Iterator[Done]:
        """Each episode exactly once, in any order. Raises `EngineUnavailable`."""
        batch = _Batch(deque(audio))
        if not batch.fresh:
            return
        connect(self.address)
        gpus = self.gpus_per_engine if spec.needs_gpu else 0.0
        actor_spec = ActorSpec(slot, choice, self.home, self.cache, self.cache_limit_bytes, self.idle_s)
        slots = [
            ActorSlot(EngineName(slot, spec.fingerprint, actor_spec.digest, gpus, index), actor_spec, where)
            for index, where in enumerate(places(gpus, at_most=len(batch.fresh)))
        ]
        try:
            yield from dispatch(batch, slots)
        finally:
            for place in slots:
                place.release()


def dispatch(batch: _Batch, slots: list[ActorSlot]) -> Iterator[Done]:
    """Give groups to actors until all episodes have a result."""
    import ray

    last_result_at = checked_at = time.monotonic()
    while batch.has_more or any(place.groups for place in slots):
        slots = _usable(slots, time.monotonic() - last_result_at)
        for n_held, place in product(
            range(1, _GROUPS_PER_ACTOR + 1), slots
        ):  # each actor gets one, then each a second one
            place.take(batch, len(slots), n_held)
        of = {awaited: place for place in slots if (awaited := place.awaits()) is not None}
        ready, _ = ray.wait(list(of), timeout=_CHECK_EVERY_S)
        for awaited in ready:
            last_result_at = time.monotonic()
            yield from of[awaited].next_result(batch)
        if time.monotonic() - checked_at >= _CHECK_EVERY_S and any(place.loading is not None for place in slots):
            end_idle_actors([place.name for place in slots])
            checked_at = time.monotonic()


def _usable(slots: list[ActorSlot], silence_s: float) -> list[ActorSlot]:
    """The slots whose actors start. Raises `EngineUnavailable` if there is none, or the cluster has no resources."""
    left = [place for place in slots if place.failed_starts < TRIES]
    if not left:
        raise EngineUnavailable(
            f"The actor {slots[0].name} exited {TRIES} times before its engine was loaded: see its log in Ray. "
            f"Last error: {slots[0].last_error}"
        )
    if silence_s > WAIT_S and not any(place.is_ready for place in left):
        raise EngineUnavailable(
            f"The Ray cluster has had no resources for {left[0].name} for {WAIT_S / 60:.0f} minutes. Add a node with a "
            "GPU, or set PODLAKE_RAY_GPUS_PER_ENGINE: 0.5 puts two engines on a GPU, 0 uses none."
        )
    return left


@dataclass
class _Batch:
    """Episodes that no actor has."""

    fresh: deque[Audio]
    suspects: deque[Audio] = field(default_factory=deque)
    """Episodes of lost actors: each is given alone, after all others."""
    losses: Counter[str] = field(default_factory=Counter)

    @property
    def has_more(self) -> bool:
        return bool(self.fresh or self.suspects)

    def next_group(self, n_slots: int) -> tuple[Audio, ...]:
        if self.fresh:
            size = math.ceil(len(self.fresh) / (_GROUPS_PER_ACTOR * n_slots))
            return tuple(self.fresh.popleft() for _ in range(size))
        return (self.suspects.popleft(),) if self.suspects else ()

    def retry_or_fail(self, one: Audio, error: Exception) -> Iterator[Done]:
        """An episode of a lost actor: it is retried, or fails after `TRIES` losses."""
        self.losses[one.episode_id] += 1
        if self.losses[one.episode_id] < TRIES:
            self.suspects.append(one)
        else:
            yield Done(one, None, error)


@dataclass
class _Group:
    """Episodes that an actor has, and the stream of its results."""

    answers: Any
    """An `ObjectRefGenerator` of `Done`."""
    open: dict[str, Audio]
    """Episodes without a result."""

    def next_result(self) -> Iterator[Done]:
        """The next result; none at the end of the stream. Raises the actor's error, or `RayActorError`."""
        import ray

        for answer in self.answers:
            done = ray.get(answer)
            self.open.pop(done.audio.episode_id, None)
            yield done
            return
        self.open.clear()

    @property
    def is_over(self) -> bool:
        return not self.open


@dataclass(eq=False)
class ActorSlot:
    """A place in the cluster: its actor, started again when lost, and the actor's groups."""

    name: EngineName
    actor_spec: ActorSpec
    where: Any
    """Ray's scheduling strategy."""
    actor: Any = None
    running: Any = None
    """Resolves when the actor runs; `loading` resolves when its engine is loaded."""
    loading: Any = None
    groups: deque[_Group] = field(default_factory=deque)
    is_ready: bool = False
    failed_starts: int = 0
    last_error: str = ""

    def take(self, batch: _Batch, n_slots: int, n_held: int) -> None:
        """Take a group from the batch if the actor has fewer; start the actor first."""
        if self.actor is None and batch.has_more:
            self._start()
        if self.is_ready and len(self.groups) < n_held and (group := batch.next_group(n_slots)):
            if self.groups:
                self.actor.decode.options(concurrency_group=CONTROL).remote(group)
            answers = self.actor.work.options(num_returns="streaming").remote(group)
            self.groups.append(_Group(answers, {one.episode_id: one for one in group}))

    def awaits(self) -> Any:
        """The reference that Ray waits for; None if the slot has no work."""
        return self.groups[0].answers if self.groups else self.loading

    def next_result(self, batch: _Batch) -> Iterator[Done]:
        """The result that `awaits` waited for."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        try:
            if self.groups:
                yield from self.groups[0].next_result()
                if self.groups[0].is_over:
                    self.groups.popleft()
            else:
                self._loaded(ray.get(self.loading))
        except RayActorError as lost:
            yield from self._lost(batch, str(lost).strip().splitlines()[0])
        except RayTaskError as unexpected:  # the device may be in any state: the actor is replaced
            ray.kill(self.actor)
            yield from self._lost(batch, f"{type(unexpected.cause).__name__}: {unexpected.cause}")

    def release(self) -> None:
        """Cancel the work of this run and keep the actor warm; an actor that never ran is ended."""
        import ray

        for group in self.groups:
            ray.cancel(group.answers)
        if self.actor is not None and not ray.wait([self.running], timeout=0)[0]:
            ray.kill(self.actor)

    def _start(self) -> None:
        import ray

        as_actor: Any = ray.remote  # its annotations do not know concurrency groups
        engine = as_actor(concurrency_groups={CONTROL: 2}, max_restarts=0)(
            EngineActor
        )  # a lost one is started again here
        self.actor = engine.options(**self.name.options, scheduling_strategy=self.where).remote(self.actor_spec)
        self.running = self.actor.pid.options(concurrency_group=CONTROL).remote()
        self.loading = self.actor.load.remote()

    def _loaded(self, unavailable: EngineUnavailable | None) -> None:
        import ray

        if unavailable is not None:
            ray.kill(self.actor)
            raise unavailable
        self.loading, self.is_ready, self.failed_starts = None, True, 0

    def _lost(self, batch: _Batch, why: str) -> Iterator[Done]:
        """Return the actor's episodes: those of the current group as suspects, the waiting ones unchanged."""
        log.warning("the actor %s was lost: %s", self.name, why)
        self.failed_starts += not self.is_ready
        self.last_error = why
        held = list(self.groups)
        self.actor, self.loading, self.is_ready, self.groups = None, None, False, deque()
        for one in [one for group in held[1:] for one in group.open.values()]:
            batch.fresh.appendleft(one)
        for one in [one for group in held[:1] for one in group.open.values()]:
            error = EngineCrashed(
                f"{one.episode_id}: the engine was lost {TRIES} times while it worked; the last error: {why}"
            )
            yield from batch.retry_or_fail(one, error)
