"""Engines in the actors of a Ray cluster: warm across runs, as many as the cluster has room for.

An actor is named after its engine's fingerprint and detached: the next run, in another process, finds it loaded.
The batch is dealt out in groups, large ones first and single episodes at the end, so that the actors
finish together (guided self-scheduling: Polychronopoulos and Kuck, IEEE Trans. Computers, 1987). What an
actor had in hand when it was lost is given to another, an episode at a time: no episode pays for its neighbour.
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

from resources.engines.ray_actor import EngineActor, Post
from resources.engines.ray_cluster import BESIDE, EngineName, connect, free_room, places
from resources.engines.routing import Audio, Done, Slot
from speech.engines.protocols import EngineChoice, EngineSpec
from speech.errors import EngineCrashed, EngineUnavailable

log = logging.getLogger("podlake")

IDLE_S = 1800.0
"""An actor without work for this long leaves and gives its GPU back."""
TRIES = 3
"""Actors that an episode may take down with it, and starts that an actor may fail."""
WAIT_S = 3600.0
"""The cluster may have no room for this long before the step gives up."""
_GROUPS_IN_HAND = 2
"""One at work, one decoded meanwhile."""
_LOOK_EVERY_S = 2.0
"""For a place, while an actor waits for one."""


@dataclass(frozen=True)
class RayHost:
    """Hands a batch to the cluster's actors. Needs a cluster that is running; starts none."""

    address: str
    """As `ray.init` takes it: `auto`, or `host:6379` on a machine that is a node of that cluster."""
    gpus_per_engine: float
    """GPUs for each actor of an engine that gains from one: 1, a fraction to put several on one, or 0 for none."""
    home: str
    cache: str
    """A folder of each node's own, for waveforms."""
    cache_limit_bytes: int
    idle_s: float = IDLE_S

    def run(self, slot: Slot, choice: EngineChoice, spec: EngineSpec, audio: Iterable[Audio]) -> Iterator[Done]:
        """Each episode exactly once, in any order. Raises `EngineUnavailable`."""
        batch = _Batch(deque(audio))
        if not batch.fresh:
            return
        connect(self.address)
        gpus = self.gpus_per_engine if spec.needs_gpu else 0.0
        post = Post(slot, choice, self.home, self.cache, self.cache_limit_bytes, self.idle_s)
        hands = [
            ActorSlot(EngineName(slot, spec.fingerprint, post.digest, gpus, index), post, where)
            for index, where in enumerate(places(gpus, at_most=len(batch.fresh)))
        ]
        try:
            yield from dispatch(batch, hands)
        finally:
            for hand in hands:
                hand.let_go()


def dispatch(batch: _Batch, hands: list[ActorSlot]) -> Iterator[Done]:
    """Deal until nothing is left; results and losses as they come."""
    import ray

    heard_at = looked_at = time.monotonic()
    while batch.has_more or any(hand.groups for hand in hands):
        hands = _fillable(hands, time.monotonic() - heard_at)
        for n_held, hand in product(range(1, _GROUPS_IN_HAND + 1), hands):  # everybody one, then everybody another
            hand.take(batch, len(hands), n_held)
        of = {awaited: hand for hand in hands if (awaited := hand.awaits()) is not None}
        ready, _ = ray.wait(list(of), timeout=_LOOK_EVERY_S)
        for awaited in ready:
            heard_at = time.monotonic()
            yield from of[awaited].next_result(batch)
        if time.monotonic() - looked_at >= _LOOK_EVERY_S and any(hand.loading is not None for hand in hands):
            free_room([hand.name for hand in hands])
            looked_at = time.monotonic()


def _fillable(hands: list[ActorSlot], silence_s: float) -> list[ActorSlot]:
    """The hands whose actors start. Raises `EngineUnavailable` where there are none, or the cluster has no room."""
    left = [hand for hand in hands if hand.failed_starts < TRIES]
    if not left:
        raise EngineUnavailable(
            f"The actor {hands[0].name} died {TRIES} times before its engine was loaded: see its log in Ray. "
            f"The last time: {hands[0].last_error}"
        )
    if silence_s > WAIT_S and not any(hand.is_ready for hand in left):
        raise EngineUnavailable(
            f"The Ray cluster has had no room for {left[0].name} for {WAIT_S / 60:.0f} minutes. Add a node with a "
            "GPU, or set PODLAKE_RAY_GPUS_PER_ENGINE: 0.5 puts two engines on a GPU, 0 does without."
        )
    return left


@dataclass
class _Batch:
    """Episodes that are in nobody's hands."""

    fresh: deque[Audio]
    suspects: deque[Audio] = field(default_factory=deque)
    """Their actor was lost: from now on each is given alone, after all others."""
    losses: Counter[str] = field(default_factory=Counter)

    @property
    def has_more(self) -> bool:
        return bool(self.fresh or self.suspects)

    def deal(self, n_hands: int) -> tuple[Audio, ...]:
        if self.fresh:
            size = math.ceil(len(self.fresh) / (_GROUPS_IN_HAND * n_hands))
            return tuple(self.fresh.popleft() for _ in range(size))
        return (self.suspects.popleft(),) if self.suspects else ()

    def lose(self, one: Audio, error: Exception) -> Iterator[Done]:
        """An episode that an actor was lost over: another try, or its last word."""
        self.losses[one.episode_id] += 1
        if self.losses[one.episode_id] < TRIES:
            self.suspects.append(one)
        else:
            yield Done(one, None, error)


@dataclass
class _Group:
    """Episodes with an actor, and the stream that answers them."""

    answers: Any
    """An `ObjectRefGenerator` of `Done`."""
    open: dict[str, Audio]
    """Those without an answer."""

    def next_result(self) -> Iterator[Done]:
        """The next answer; none when the stream has ended. Raises what the actor raised, or `RayActorError`."""
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
    """A place in the cluster: its actor, hired again when lost, and the groups that it holds."""

    name: EngineName
    post: Post
    where: Any
    """Ray's scheduling strategy."""
    actor: Any = None
    placed: Any = None
    """Answered once the actor has its place; `loading`, once its engine is loaded."""
    loading: Any = None
    groups: deque[_Group] = field(default_factory=deque)
    is_ready: bool = False
    failed_starts: int = 0
    last_error: str = ""

    def take(self, batch: _Batch, n_hands: int, n_held: int) -> None:
        """Take a group from the batch where fewer are held; hire first, where that has not happened."""
        if self.actor is None and batch.has_more:
            self._hire()
        if self.is_ready and len(self.groups) < n_held and (group := batch.deal(n_hands)):
            if self.groups:
                self.actor.decode.options(concurrency_group=BESIDE).remote(group)
            answers = self.actor.work.options(num_returns="streaming").remote(group)
            self.groups.append(_Group(answers, {one.episode_id: one for one in group}))

    def awaits(self) -> Any:
        """What Ray is asked to wait for; None where nothing is under way."""
        return self.groups[0].answers if self.groups else self.loading

    def next_result(self, batch: _Batch) -> Iterator[Done]:
        """Take in what was awaited."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        try:
            if self.groups:
                yield from self.groups[0].next_result()
                if self.groups[0].is_over:
                    self.groups.popleft()
            else:
                self._loaded(ray.get(self.loading))
        except RayActorError as died:
            yield from self._lost(batch, str(died).strip().splitlines()[0])
        except RayTaskError as unforeseen:  # it may have left the device in any state: such an actor is not kept
            ray.kill(self.actor)
            yield from self._lost(batch, f"{type(unforeseen.cause).__name__}: {unforeseen.cause}")

    def let_go(self) -> None:
        """Leave the actor warm, without the work of this run; one that was never placed is not waited for any more."""
        import ray

        for group in self.groups:
            ray.cancel(group.answers)
        if self.actor is not None and not ray.wait([self.placed], timeout=0)[0]:
            ray.kill(self.actor)

    def _hire(self) -> None:
        import ray

        as_actor: Any = ray.remote  # its annotations do not know concurrency groups
        engine = as_actor(concurrency_groups={BESIDE: 2}, max_restarts=0)(EngineActor)  # a lost one is hired anew
        self.actor = engine.options(**self.name.options, scheduling_strategy=self.where).remote(self.post)
        self.placed = self.actor.pid.options(concurrency_group=BESIDE).remote()
        self.loading = self.actor.load.remote()

    def _loaded(self, unavailable: EngineUnavailable | None) -> None:
        import ray

        if unavailable is not None:
            ray.kill(self.actor)
            raise unavailable
        self.loading, self.is_ready, self.failed_starts = None, True, 0

    def _lost(self, batch: _Batch, why: str) -> Iterator[Done]:
        """Give back what the actor held: the group at work as suspects, the waiting one as it was."""
        log.warning("the actor %s was lost: %s", self.name, why)
        self.failed_starts += not self.is_ready
        self.last_error = why
        held = list(self.groups)
        self.actor, self.loading, self.is_ready, self.groups = None, None, False, deque()
        for one in [one for group in held[1:] for one in group.open.values()]:
            batch.fresh.appendleft(one)
        for one in [one for group in held[:1] for one in group.open.values()]:
            error = EngineCrashed(f"{one.episode_id}: the engine was lost at work {TRIES} times, at last with: {why}")
            yield from batch.lose(one, error)
