"""A Ray cluster: connects to it, finds places for actors, and ends idle actors to free GPUs."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from resources.engines.routing import Slot
from speech.engines.installed import require
from speech.errors import EngineUnavailable

log = logging.getLogger("podlake")

NAMESPACE = "podlake"
"""The Ray namespace of all engine actors, so that runs share them."""
CONTROL_GROUP = "control"
"""The concurrency group of the methods that an actor runs during work."""
EVICTABLE_AFTER_S = 5.0
"""An actor without work for this long may be ended for another engine. Pauses within a batch are shorter."""
_ANSWERS_WITHIN_S = 1.0


@dataclass(frozen=True)
class EngineName:
    """The name of an actor. A different engine, settings or GPU share gives a different name."""

    slot: Slot
    fingerprint: str
    settings: str
    """`ActorSpec.digest`."""
    gpus: float
    index: int

    def __str__(self) -> str:
        return f"{self.slot}-{self.fingerprint}-{self.settings}-{self.gpus:g}gpu-{self.index}"

    @classmethod
    def parse(cls, text: str) -> EngineName | None:
        """None if the actor is not an engine."""
        found = re.fullmatch(r"(diarizer|transcriber)-([0-9a-f]{16})-([0-9a-f]{8})-([0-9.]+)gpu-(\d+)", text)
        if not found:
            return None
        slot: Slot = "diarizer" if found[1] == "diarizer" else "transcriber"
        return cls(slot, found[2], found[3], float(found[4]), int(found[5]))

    @property
    def options(self) -> dict[str, Any]:
        """For `ray.remote`. Ray reserves no cores: an engine without a GPU uses all cores of its node."""
        return {
            "name": str(self), "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True,
            "num_gpus": self.gpus, "num_cpus": 0,
        }  # fmt: skip


def connect(address: str) -> None:
    """Join the cluster, once in a process. Raises `EngineUnavailable`."""
    require("ray", "ray")
    import ray

    if ray.is_initialized():
        return
    try:
        _check_port(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:
        raise EngineUnavailable(
            f"No Ray cluster at {address!r} (PODLAKE_RAY_ADDRESS): {str(error).rstrip('.')}. Start one with "
            "`ray start --head`, or run in this process with PODLAKE_ENGINE_HOST=local."
        ) from error


def _check_port(address: str) -> None:
    """`ray.init` takes minutes to fail on a closed port. Raises `OSError`, `ValueError`."""
    if "://" in address:
        raise ValueError("a run has to be on a node of the cluster, which is reached as host:port")
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=5.0).close()


def places(gpus: float, *, at_most: int) -> list[Any]:
    """A scheduling strategy for each actor that fits on the cluster now; at least one.

    With GPUs, as many actors as the GPUs allow; without, one on each node that has cores.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if gpus:
        total = ray.cluster_resources().get("GPU", 0.0)
        if total < gpus:
            log.warning("The Ray cluster has %g GPUs now, an engine needs %g: waiting for a node.", total, gpus)
        return (["SPREAD"] * max(1, int(total / gpus + 1e-6)))[:at_most]
    nodes = sorted(node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU"))
    return [NodeAffinitySchedulingStrategy(node, soft=True) for node in nodes[:at_most]] or ["SPREAD"]


def evict_idle(wanted: Sequence[EngineName]) -> None:
    """End idle actors of other engines, the longest idle first, if there are too few GPUs for all actors."""
    if not wanted[0].gpus:
        return
    import ray

    listed = ray.util.list_named_actors(all_namespaces=True)
    names = {EngineName.parse(entry["name"]) for entry in listed if entry["namespace"] == NAMESPACE}
    present = {name for name in names if name is not None} | set(wanted)
    missing_gpus = sum(name.gpus for name in present) - max(ray.cluster_resources().get("GPU", 0.0), wanted[0].gpus)
    if missing_gpus <= 0:
        return
    others = [name for name in present if name.gpus and replace(name, index=0) != replace(wanted[0], index=0)]
    for idle_s, name in sorted(_idle(others), key=lambda found: found[0], reverse=True):
        if missing_gpus > 0 and idle_s >= EVICTABLE_AFTER_S:
            log.info("end the actor %s, idle for %.0f s, to free its GPU for %s", name, idle_s, wanted[0].slot)
            ray.kill(ray.get_actor(str(name), NAMESPACE))
            missing_gpus -= name.gpus


def _idle(names: Sequence[EngineName]) -> list[tuple[float, EngineName]]:
    """Idle seconds of each actor, without those that do not answer (dead, or without a place)."""
    import ray
    from ray.exceptions import RayError

    asked: dict[Any, EngineName] = {}
    for name in names:
        try:
            actor = ray.get_actor(str(name), NAMESPACE)
        except ValueError:
            continue
        asked[actor.idle_s.options(concurrency_group=CONTROL_GROUP).remote()] = name
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_ANSWERS_WITHIN_S) if asked else ([], [])
    found = []
    for answer in answered:
        try:
            found.append((ray.get(answer), asked[answer]))
        except RayError:
            continue
    return found
