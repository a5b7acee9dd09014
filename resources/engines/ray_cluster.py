"""Connects to a Ray cluster, names the actors of engines, and decides how many run and which idle ones end."""

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
"""Actors of all runs that share engines are found under it."""
CONTROL = "control"
"""The concurrency group of the methods that an actor answers while it works."""
MIN_IDLE_S = 5.0
"""An actor without work for this long may be ended for another engine; within a batch no actor waits so long."""
_ANSWERS_WITHIN_S = 1.0


@dataclass(frozen=True)
class EngineName:
    """An actor's name. Another engine, other settings or another share of a GPU make another actor."""

    slot: Slot
    fingerprint: str
    settings: str
    """Digest of the actor's other arguments."""
    gpus: float
    index: int

    def __str__(self) -> str:
        return f"{self.slot}-{self.fingerprint}-{self.settings}-{self.gpus:g}gpu-{self.index}"

    @classmethod
    def parse(cls, text: str) -> EngineName | None:
        """None for the name of an actor that is not an engine."""
        found = re.fullmatch(r"(diarizer|transcriber)-([0-9a-f]{16})-([0-9a-f]{8})-([0-9.]+)gpu-(\d+)", text)
        if not found:
            return None
        slot: Slot = "diarizer" if found[1] == "diarizer" else "transcriber"
        return cls(slot, found[2], found[3], float(found[4]), int(found[5]))

    @property
    def options(self) -> dict[str, Any]:
        """Options of `ray.remote`. An engine without a GPU uses all cores of its node, so Ray reserves none for it."""
        return {
            "name": str(self), "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True,
            "num_gpus": self.gpus, "num_cpus": 0,
        }  # fmt: skip


def connect(address: str) -> None:
    """Connect this process to the cluster, once. Raises `EngineUnavailable`."""
    require("ray", "ray")
    import ray

    if ray.is_initialized():
        return
    try:
        _require_listener(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError) as error:
        raise EngineUnavailable(
            f"No Ray cluster at {address!r} (PODLAKE_RAY_ADDRESS): {str(error).rstrip('.')}. Start one with "
            "`ray start --head`, or run in this process with PODLAKE_ENGINE_HOST=local."
        ) from error


def _require_listener(address: str) -> None:
    """Fail at once if no server listens; Ray takes minutes. Raises `OSError`, `ValueError`."""
    if "://" in address:
        raise ValueError("a run must be on a node of the cluster; the address is host:port")
    host, colon, port = address.rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=_ANSWERS_WITHIN_S * 5).close()


def places(gpus: float, *, at_most: int) -> list[Any]:
    """A scheduling strategy for each actor that the cluster can run now; at least one.

    With GPUs: as many actors as the GPUs allow, on any node. Without: one on each node that has cores.
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


def end_idle_actors(wanted: Sequence[EngineName]) -> None:
    """If the GPUs do not suffice for all actors, end idle actors of other engines, the longest idle first."""
    if not wanted[0].gpus:
        return
    import ray

    listed = ray.util.list_named_actors(all_namespaces=True)
    names = {EngineName.parse(entry["name"]) for entry in listed if entry["namespace"] == NAMESPACE}
    present = {name for name in names if name is not None} | set(wanted)
    lacking = sum(name.gpus for name in present) - max(ray.cluster_resources().get("GPU", 0.0), wanted[0].gpus)
    if lacking <= 0:
        return
    others = [name for name in present if name.gpus and replace(name, index=0) != replace(wanted[0], index=0)]
    for idle_s, name in sorted(_idle(others), key=lambda found: found[0], reverse=True):
        if lacking > 0 and idle_s >= MIN_IDLE_S:
            log.info("the actor %s, idle for %.0f s, ends: its GPU is needed for the %s", name, idle_s, wanted[0].slot)
            ray.kill(ray.get_actor(str(name), NAMESPACE))
            lacking -= name.gpus


def _idle(names: Sequence[EngineName]) -> list[tuple[float, EngineName]]:
    """Idle seconds of each actor that answers; dead and pending ones are left out."""
    import ray
    from ray.exceptions import RayError

    asked: dict[Any, EngineName] = {}
    for name in names:
        try:
            actor = ray.get_actor(str(name), NAMESPACE)
        except ValueError:
            continue
        asked[actor.idle_s.options(concurrency_group=CONTROL).remote()] = name
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_ANSWERS_WITHIN_S) if asked else ([], [])
    found = []
    for answer in answered:
        try:
            found.append((ray.get(answer), asked[answer]))
        except RayError:
            continue
    return found
