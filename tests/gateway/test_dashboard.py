"""The dashboard in a real browser, and what Prometheus reads."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.gpus import Gpu, parse
from resources.alerts.ledger import Alert, AlertLedger
from resources.lake.tables import TABLES
from tests.gateway.serving import ADMIN, VIEWER, Served, basic
from tests.landings import land
from tests.talks import BREAD, RAIN

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def worked(talks: Served) -> Served:
    """Two transcripts landed in the last hour, one failed, and an alert is raised."""
    lake, now = talks.service.lake, datetime.now(UTC)
    for key, minutes in ((RAIN, 5), (BREAD, 70)):
        row = {
            "outcome": "landed", "finished_at": now - timedelta(minutes=minutes), "audio_ms": 1_800_000, "engine_ms": 60_000,
            "engine": "whisper", "model": "tiny.en", "device": "cpu", "engine_utilization": 0.9, "decode_ms": 2_000,
        }  # fmt: skip
        land(lake, TABLES["stage_runs"], f"{key}.transcript", [row])
    failure = {"error_class": "decode", "message": "<b>no audio</b>", "retryable": False, "last_at": now}
    land(lake, TABLES["failures"], f"{BREAD}.hashes", [failure])
    AlertLedger.at(talks.service.settings.database_url).update([Alert("low_disk", "home", "0.1 GB are free.")])
    return talks


def values(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_reads_the_pipeline_and_the_latency(worked):
    with worked.client(ADMIN) as client:
        client.get("/api/v1/statistics")
        client.get("/nowhere/%F0%9F%92%A9")
        found = values(client.get("/metrics").text)
    assert found["podlake_episodes", (("state", "known"),)] == 3
    assert found["podlake_stage_episodes", (("stage", "transcript"), ("state", "landed"))] == 3
    of = (("device", "cpu"), ("engine", "whisper"), ("model", "tiny.en"), ("stage", "transcript"))
    assert found["podlake_engine_rtfx", of] == 30
    assert found["podlake_engine_utilization", of] == pytest.approx(0.9)
    assert found["podlake_failures", (("class", "decode"), ("retryable", "false"), ("stage", "hashes"))] == 1
    assert found["podlake_stage_seconds_24h", (("part", "engine"), ("stage", "transcript"))] == 120
    assert found["podlake_alerts", (("alert", "low_disk"),)] == 1
    assert found["podlake_disk_free_bytes", (("folder", worked.service.settings.home),)] > 0
    routes = {dict(labels)["route"] for name, labels in found if name == "podlake_http_request_seconds_count"}
    assert "/api/v1/statistics" in routes
    assert not any("%" in route or "nowhere" in route for route in routes)


def test_the_panels_of_grafana_use_metrics_that_there_are(worked):
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "podlake.json").read_text())
    used = set(re.findall(r"podlake_\w+", json.dumps([panel["targets"] for panel in dashboard["panels"]])))
    with worked.client(ADMIN) as client:
        text = client.get("/metrics").text
    declared = set(re.findall(r"(?m)^# TYPE (podlake_\w+)", text))
    assert {name.removesuffix("_bucket") for name in used} <= declared
    assert len(dashboard["panels"]) > 10


def test_a_key_for_prometheus_reads_nothing_else(worked):
    key = worked.service.accounts.add_key("prometheus", "viewer", ["metrics"])
    with worked.client(key=key) as client, worked.client() as nobody:
        assert client.get("/metrics").status_code == 200
        assert client.get("/api/v1/dashboard").status_code == 403
        assert nobody.get("/metrics").status_code == 401
        assert nobody.get("/api/v1/dashboard").status_code == 401


def test_the_numbers_of_the_dashboard(worked):
    with worked.client(VIEWER) as client:
        seen = client.get("/api/v1/dashboard").json()
    assert sum(hour["audio_hours"] for hour in seen["hours"]) == 1
    assert max(hour["episodes"] for hour in seen["hours"]) <= 3
    assert [alert["name"] for alert in seen["alerts"]] == ["low_disk"]
    assert seen["failures"][0]["message"] == "<b>no audio</b>"
    assert seen["runs"] == {"queued": 0, "starting": 0, "started": 0}


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (390, 844)])
def test_the_page_shows_them_without_violations(worked, browser, violations, width, height):
    errors: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": height}, extra_http_headers={"Authorization": basic(VIEWER)}
    )
    page = context.new_page()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(worked.url)
    page.wait_for_selector("#engines td")
    assert page.locator("#failures td.text").inner_text() == "<b>no audio</b>"
    assert page.locator("#alerts li").inner_text().startswith("low_disk home")
    assert page.locator("#hours rect").count() == 24
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for table in ("#stages", "#engines") if width > 1000 else ("#stages",):
        assert page.eval_on_selector(table, "one => one.scrollWidth <= one.clientWidth")
    assert violations(page) == []
    assert errors == []
    if folder := os.environ.get("PODLAKE_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/dashboard-{width}.png", full_page=True)
    context.close()


def test_a_landing_appears_while_the_page_is_open(worked, browser):
    context = browser.new_context(extra_http_headers={"Authorization": basic(VIEWER)})
    page = context.new_page()
    page.goto(worked.url)
    page.wait_for_selector("#engines td")
    page.wait_for_timeout(1000)
    row = {"outcome": "landed", "finished_at": datetime.now(UTC)}
    land(worked.service.lake, TABLES["stage_runs"], f"{RAIN}.diarization", [row])
    page.wait_for_selector("#events li:has-text('diarization')", timeout=30_000)
    assert RAIN in page.locator("#events li").first.inner_text()
    context.close()


@pytest.mark.parametrize("path", ["/corpus", "/dagster"])
def test_mounted_applications_are_found_without_the_slash(talks, path):
    with talks.client(VIEWER) as client:
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (307, f"{path}/")


def test_what_nvidia_smi_says():
    text = "0, NVIDIA H100 80GB HBM3, 512, 81559, 37\n1, NVIDIA GH200, [N/A], [N/A], [N/A]\n"
    text += "Unable to determine the device handle for GPU 0000:41:00.0: Unknown Error\n"
    assert parse(text) == (
        Gpu(0, "NVIDIA H100 80GB HBM3", 512 << 20, 81559 << 20, 0.37),
        Gpu(1, "NVIDIA GH200", None, None, None),
    )
