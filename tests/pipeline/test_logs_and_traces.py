"""What a batch says of itself: log lines with fields, and OpenTelemetry spans at a collector on loopback."""

from __future__ import annotations

import io
import json
import logging
import multiprocessing
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import dagster as dg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from partitions.definitions import EPISODES, add_keys
from pipeline.asset_definition import as_asset
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from pipeline.traces import send_traces
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import SPEAKERS
from resources.logs import hide_credentials, log_json
from speech.errors import NotFound

GOOD, GONE = "show-20260101-00000001", "show-20260102-00000002"
ROW = {"speaker": "S1", "speech_ms": 1, "n_segments": 1, "first_ms": 0, "embedding": None, "embedding_model": None}
COST = Cost("a" * 64, "f" * 16, "parrot", "parrot-1", "cuda:0", audio_ms=60_000, decode_ms=40, engine_ms=200)


@Stage(tables=(SPEAKERS,), ui_metadata=lambda _: {}, group="toys", version="1")
def diarization(batch: Batch) -> Iterator[Outcome]:
    """One episode lands, the other is not found."""

    def one(key: str) -> Landing:
        logging.getLogger("podlake").info("works")
        if key == GONE:
            raise NotFound("404 from the server")
        return Landing(key, {SPEAKERS.name: [ROW]}, COST)

    return each(batch.keys, one, workers=2)


def run(home: Path) -> str:
    """Run a batch of both episodes. Returns the id of the run."""
    with dg.DagsterInstance.ephemeral() as instance:
        add_keys(instance, EPISODES, [GOOD, GONE])
        result = dg.materialize(
            [as_asset(diarization, batch_size=2, code_version="1")],
            instance=instance,
            resources={"lake": Lake(Home.at(str(home)))},
            tags={"dagster/asset_partition_range_start": GOOD, "dagster/asset_partition_range_end": GONE},
            raise_on_error=False,
        )
        return result.run_id


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What `log_json` writes; logging is put back afterwards."""
    root, podlake = logging.getLogger(), logging.getLogger("podlake")
    before, level = root.handlers[:], podlake.level
    root.handlers.clear()
    stream = io.StringIO()
    log_json(stream)
    yield stream
    root.handlers[:] = before
    podlake.setLevel(level)


def test_tracebacks_hide_credentials(lines: io.StringIO) -> None:
    as_text = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(as_text))
    hide_credentials()
    error = OSError("GET https://ann:hunter22@feeds.test/rss?token=s3cr3t failed")
    logging.getLogger("podlake").error("unexpected error", exc_info=error)
    record = json.loads(lines.getvalue())
    for written in (record["exception"], as_text.getvalue()):
        assert "OSError: GET https://***@feeds.test/rss?token=*** failed" in written
    assert "s3cr3t" not in lines.getvalue() + as_text.getvalue()


def test_log_lines_have_the_run_the_stage_and_the_episode(lines: io.StringIO, tmp_path: Path) -> None:
    run_id = run(tmp_path)
    records = [json.loads(line) for line in lines.getvalue().splitlines()]
    own = [one for one in records if one["logger"] == "podlake"]
    fields = {(one["run_id"], one["stage"], one["key"], one["level"]) for one in own}
    assert fields == {
        (run_id, "diarization", GOOD, "info"),
        (run_id, "diarization", GONE, "info"),
        (run_id, "diarization", GONE, "warning"),
    }
    assert sorted(one["key"] for one in own if one["message"] == "works") == [GOOD, GONE]
    assert own[0]["timestamp"].endswith("Z")


def test_a_message_after_the_batch_has_none_of_its_fields(lines: io.StringIO, tmp_path: Path) -> None:
    run(tmp_path)
    lines.truncate(0)
    try:
        int("why")
    except ValueError:
        logging.getLogger("podlake").exception("%s failed", "it", extra={"key": GOOD})
    record = json.loads(lines.getvalue().lstrip("\0"))
    assert {name: record[name] for name in ("message", "level", "key")} == {
        "message": "it failed", "level": "error", "key": GOOD
    }  # fmt: skip
    assert "ValueError: invalid literal" in record["exception"]
    assert not record.keys() & {"run_id", "stage"}


@pytest.fixture
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An address that takes OTLP over HTTP, and what it got."""
    got: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            got.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", got
        server.shutdown()


def test_a_batch_sends_a_span_with_one_per_episode_and_one_per_engine_call(
    collector: tuple[str, list[ExportTraceServiceRequest]], tmp_path: Path
) -> None:
    url, got = collector

    def in_child() -> None:  # a process has one provider of traces
        send_traces(url)
        run(tmp_path)
        os._exit(0)

    child = multiprocessing.get_context("fork").Process(target=in_child)
    child.start()
    child.join()
    assert child.exitcode == 0
    (resource,) = (one for request in got for one in request.resource_spans)
    service = {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"]
    spans = {(one.name, _value(one, "podlake.key")): one for scope in resource.scope_spans for one in scope.spans}
    batch, good, gone = spans["batch diarization", None], spans["episode", GOOD], spans["episode", GONE]
    decoding, engine = spans["decode", None], spans["engine", None]
    assert service == "podlake"
    assert len(spans) == 5
    assert len({one.trace_id for one in spans.values()}) == 1
    assert good.parent_span_id == gone.parent_span_id == batch.span_id
    assert decoding.parent_span_id == engine.parent_span_id == good.span_id
    assert (_value(batch, "podlake.stage"), _value(batch, "podlake.keys")) == ("diarization", 2)
    assert (_value(engine, "podlake.model"), _value(engine, "podlake.rtfx")) == ("parrot-1", 300.0)
    assert engine.end_time_unix_nano - engine.start_time_unix_nano == 200_000_000
    assert decoding.end_time_unix_nano == engine.start_time_unix_nano
    assert good.end_time_unix_nano >= engine.end_time_unix_nano
    assert (gone.status.code, gone.status.message) == (Status.STATUS_CODE_ERROR, "404 from the server")
    assert _value(gone, "podlake.error_class") == "http_not_found"


def _value(span: Span, name: str) -> object:
    for one in span.attributes:
        if one.key == name:
            return getattr(one.value, one.value.WhichOneof("value") or "string_value")
    return None
