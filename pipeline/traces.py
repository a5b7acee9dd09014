"""OpenTelemetry spans: one for a batch, one below it for each episode, and below that its download, decoding and engine.

Spans go to whatever tracer provider the process has. Without one, as by default, they cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pipeline.stage import Cost, Failure, Landing, Outcome, Stage

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

SEND_WITHIN_S = 5.0
"""How long the end of a batch waits for the collector at most."""
_NS_PER_MS = 1_000_000


class TracesUnavailable(Exception):
    """The extra `otel` is not installed. The message says how to install it."""


def send_traces(url: str) -> None:
    """Send the spans of this process to a collector that speaks OTLP over HTTP. Raises `TracesUnavailable`."""
    if not (find_spec("opentelemetry") and find_spec("opentelemetry.exporter") and find_spec("opentelemetry.sdk")):
        raise TracesUnavailable("PODLAKE_TRACES_URL needs the extra `otel`: pip install 'podlake[otel]'.")
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return  # definitions are loaded again in the same process
    provider = TracerProvider(
        resource=Resource.create({"service.name": "podlake", "service.version": version("podlake")})
    )
    exporter = OTLPSpanExporter(f"{url.rstrip('/')}/v1/traces", timeout=SEND_WITHIN_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


@dataclass(frozen=True)
class BatchTrace:
    """The span of a batch, if the process has a tracer."""

    tracer: Tracer | None

    def episode(self, outcome: Outcome, received_ns: int, attempts: int) -> None:
        """Record an episode that has ended now. `received_ns`: when the stage gave the outcome, since the epoch.

        What came before is laid out backwards from there by its duration: the work on several episodes overlaps.
        """
        if self.tracer is None:
            return
        cost = outcome.cost if isinstance(outcome, Landing | Failure) else Cost()
        parts = [(name, ms) for name, ms in _parts(cost) if ms]
        begin_ns = received_ns - sum(ms for _, ms in parts) * _NS_PER_MS
        span = self.tracer.start_span("episode", start_time=begin_ns, attributes=_episode_attributes(outcome, attempts))
        _record_failure(span, outcome)
        for name, ms in parts:
            self._part(span, name, begin_ns, ms, cost)
            begin_ns += ms * _NS_PER_MS
        span.end()

    def _part(self, parent: Span, name: str, begin_ns: int, ms: int, cost: Cost) -> None:
        from opentelemetry import trace

        assert self.tracer is not None
        attributes = _engine_attributes(cost) if name == "engine" else {}
        below = trace.set_span_in_context(parent)
        span = self.tracer.start_span(name, context=below, start_time=begin_ns, attributes=attributes)
        span.end(begin_ns + ms * _NS_PER_MS)


@contextmanager
def batch_trace(stage: Stage, run_id: str, n_keys: int) -> Iterator[BatchTrace]:
    """The span of a batch, until the block ends. Then what waits is sent."""
    if find_spec("opentelemetry") is None:
        yield BatchTrace(None)
        return
    from opentelemetry import trace

    tracer = trace.get_tracer("podlake")
    attributes: dict[str, str | int] = {"podlake.stage": stage.name, "podlake.run_id": run_id, "podlake.keys": n_keys}
    try:
        with tracer.start_as_current_span(f"batch {stage.name}", attributes=attributes) as span:
            yield BatchTrace(tracer if span.is_recording() else None)
    finally:
        if flush := getattr(trace.get_tracer_provider(), "force_flush", None):
            flush(round(1000 * SEND_WITHIN_S))


def _parts(cost: Cost) -> tuple[tuple[str, int | None], ...]:
    return ("download", cost.download_ms), ("decode", cost.decode_ms), ("engine", cost.engine_ms)


def _episode_attributes(outcome: Outcome, attempts: int) -> dict[str, str | int]:
    name = {Landing: "landed", Failure: "failed"}.get(type(outcome), "unchanged")
    return {"podlake.key": outcome.key, "podlake.outcome": name, "podlake.attempts": attempts}


def _engine_attributes(cost: Cost) -> dict[str, str | int | float]:
    known = {
        "podlake.engine": cost.engine,
        "podlake.model": cost.model,
        "podlake.fingerprint": cost.engine_fingerprint,
        "podlake.device": cost.device,
        "podlake.worker": cost.worker,
        "podlake.audio_ms": cost.audio_ms,
        "podlake.rtfx": cost.rtfx,
    }
    return {name: value for name, value in known.items() if value is not None}


def _record_failure(span: Span, outcome: Outcome) -> None:
    if isinstance(outcome, Failure):
        from opentelemetry.trace import Status, StatusCode

        span.set_attribute("podlake.error_class", outcome.error_class)
        span.set_status(Status(StatusCode.ERROR, outcome.message))
