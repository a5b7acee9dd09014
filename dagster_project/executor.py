"""How every run executes: in its own process, which signs it and, while its pool is taken, sleeps.

Dagster's own waiting for a slot takes a whole core, hears no Ctrl-C, and waits for ever for a run that was killed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.errors import raise_execution_interrupts
from dagster._core.events import EngineEventData
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.instance.config import PoolGranularity
from dagster._core.storage.tags import PRIORITY_TAG

from dagster_project.run_process import bury_dead_runs, sign

log = logging.getLogger("podlake")

LOOKS_EVERY_S = 1.0


class SignedRun(InProcessExecutor):
    """All steps in the process of the run, so that an engine is loaded once."""

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        instance, run = plan_context.instance, plan_context.dagster_run
        sign(instance, run.run_id)
        first = execution_plan.get_steps_to_execute_in_topo_order()[0]
        slot = Slot(instance, run.run_id, first.key, first.pool or "", _priority(run))
        try:
            if slot.is_needed() and not slot.claim():
                waits = f"{first.key} waits for the pool `{slot.pool}`, which is taken by {slot.holders()}"
                log.info(waits)
                yield dg.DagsterEvent.engine_event(plan_context, waits, EngineEventData())
                with raise_execution_interrupts():
                    slot.wait()
            yield from super().execute(plan_context, execution_plan)
        finally:
            slot.give_back()


@dataclass(frozen=True)
class Slot:
    """A step's place in its pool. Once it is claimed, Dagster finds it claimed, and frees it after the step."""

    instance: dg.DagsterInstance
    run_id: str
    step_key: str
    pool: str
    priority: int

    def is_needed(self) -> bool:
        """False where there is no pool, or none yet, or where runs are counted instead of steps."""
        store = self.instance.event_log_storage
        if not self.pool or not store.supports_global_concurrency_limits:
            return False
        if store.get_pool_config().pool_granularity is PoolGranularity.RUN:
            return False
        return self.pool in {limit.name for limit in store.get_pool_limits()}

    def claim(self) -> bool:
        """Take the slot, or a place in the queue for it."""
        store = self.instance.event_log_storage
        return store.claim_concurrency_slot(self.pool, self.run_id, self.step_key, self.priority).is_claimed

    def holders(self) -> str:
        """The runs that have the slots."""
        runs = sorted(self.instance.event_log_storage.get_concurrency_info(self.pool).active_run_ids)
        return f"run {', '.join(runs)}" if runs else "nobody any more"

    def wait(self) -> None:
        """Return once the slot is claimed."""
        while not self.claim():
            bury_dead_runs(self.instance)
            time.sleep(LOOKS_EVERY_S)

    def give_back(self) -> None:
        """Leave the slot, or the queue for it, to others. Dagster does so only after a step that has begun."""
        if self.pool and self.instance.event_log_storage.supports_global_concurrency_limits:
            self.instance.event_log_storage.free_concurrency_slot_for_step(self.run_id, self.step_key)


def _priority(run: dg.DagsterRun) -> int:
    try:
        return int(run.tags.get(PRIORITY_TAG, 0))
    except ValueError:
        return 0


@dg.executor(name="in_process")
def in_own_process(_: dg.InitExecutorContext) -> SignedRun:
    """Dagster's in-process executor, signed and patient."""
    return SignedRun(RetryMode.ENABLED)
