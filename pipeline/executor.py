"""How every run executes: in its own process, which signs it and, while a pool is taken, sleeps.

Dagster's own waiting for a slot takes a whole core, hears no Ctrl-C, and waits for ever for a run that was killed.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster._core.errors import raise_execution_interrupts
from dagster._core.events import EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.execute_plan import inner_plan_execution_iterator
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor

from pipeline.run_process import fail_orphaned_runs, is_dead, tag_process

log = logging.getLogger("podlake")

LOOKS_EVERY_S = 1.0


class SignedRun(InProcessExecutor):
    """All steps in the process of the run, so that an engine is loaded once."""

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        tag_process(plan_context.instance, plan_context.run_id)
        here = EngineEventData.in_process(os.getpid(), execution_plan.step_keys_to_execute)
        yield dg.DagsterEvent.engine_event(plan_context, f"Executing steps in process {os.getpid()}", here)
        context = PlanExecutionContextManager(
            job=plan_context.job,
            retry_mode=plan_context.retry_mode,
            execution_plan=plan_context.execution_plan,
            run_config=plan_context.run_config,
            dagster_run=plan_context.dagster_run,
            instance=plan_context.instance,
            raise_on_error=plan_context.raise_on_error,
            output_capture=plan_context.output_capture,
            step_dependency_config=self.step_dependency_config,
        )
        yield from iter(ExecuteRunWithPlanIterable(plan_context.execution_plan, _steps, context))


def _steps(job_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
    with PatientSlots(job_context.instance, job_context.dagster_run) as slots:
        yield from inner_plan_execution_iterator(job_context, execution_plan, slots)


class PatientSlots(InstanceConcurrencyContext):
    """Dagster's claims to slots of pools, and the waiting where none is free."""

    def __init__(self, instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
        super().__init__(instance, run)
        self._run = run
        self._pool_of: dict[str, str] = {}
        """Step that waits → its pool."""

    def claim(self, concurrency_key: str, step_key: str, step_priority: int = 0) -> bool:
        """Take a slot of the pool or, in turn, wait for one: False."""
        if super().claim(concurrency_key, step_key, step_priority):
            self._pool_of.pop(step_key, None)
            return True
        if step_key not in self._pool_of:
            self._pool_of[step_key] = concurrency_key
            holders = self._instance.event_log_storage.get_concurrency_info(concurrency_key).active_run_ids
            waits = f"{step_key} waits for the pool `{concurrency_key}`, taken by run {', '.join(holders)}"
            self._instance.report_engine_event(waits, self._run, step_key=step_key)
            log.info(waits)
        return False

    def interval_to_next_pending_claim_check(self) -> float:
        """Asked whenever no step can go on: the waiting itself. Returns that the next look may be at once."""
        with raise_execution_interrupts():
            fail_orphaned_runs(self._instance)
            for step_key, pool in self._pool_of.items():
                self._free_what_nobody_will(step_key, pool)
            time.sleep(LOOKS_EVERY_S)
        self._pending_timeouts.update(dict.fromkeys(self._pending_timeouts, 0.0))
        return 0.0

    def _free_what_nobody_will(self, step_key: str, pool: str) -> None:
        """Slots of dead runs that had been ended before they died, or that they wait for; and one that is free, but that
        nobody was given.

        Dagster looks for a free slot before it takes down who waits for one: a slot that is freed between the two is
        given to nobody. Whoever asks anew gets it.
        """
        store = self._instance.event_log_storage
        taken = store.get_concurrency_info(pool)
        for run_id in taken.active_run_ids | {step.run_id for step in taken.pending_steps}:
            run = self._instance.get_run_by_id(run_id)
            if run and run.is_finished and is_dead(self._instance, run):
                store.free_concurrency_slots_for_run(run_id)
        if store.has_unassigned_slots(pool):  # type: ignore[attr-defined]
            store.free_concurrency_slot_for_step(self._run_id, step_key)


@dg.executor(name="in_process")
def in_own_process(_: dg.InitExecutorContext) -> SignedRun:
    """Dagster's in-process executor, signed and patient."""
    return SignedRun(RetryMode.ENABLED)
