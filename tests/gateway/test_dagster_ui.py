"""Dagster's own web UI behind the gateway: viewers look, operators work, and a browser shows it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from tests.gateway.serving import ADMIN, OPERATOR, VIEWER, Served, basic, served
from tests.talks import land_talks

PERMISSIONS = "{ permissions { permission value } }"


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("ui")
    land_talks(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(tmp_path_factory.mktemp("dagster")))
        patch.setenv("PODLAKE_HOME", str(home))
        with served(home, dagster=True) as found:
            for user in (ADMIN, VIEWER):
                with found.client(user) as client:
                    until_s = time.monotonic() + 300
                    while client.get("/dagster/server_info").status_code != 200:
                        assert time.monotonic() < until_s
                        time.sleep(1)
            yield found


def test_queries_and_permissions(ui: Served) -> None:
    for user, may in ((VIEWER, False), (OPERATOR, True), (ADMIN, True)):
        with ui.client(user) as client:
            found = client.post("/dagster/graphql", json={"query": PERMISSIONS}).json()["data"]["permissions"]
            allowed = {one["permission"] for one in found if one["value"]}
            assert bool(allowed) is may
            assert ("launch_pipeline_execution" in allowed) is may
            by_get = client.get("/dagster/graphql", params={"query": "{ version }"})
            assert by_get.json()["data"]["version"]


def test_reports_need_an_operator(ui: Served) -> None:
    with ui.client(VIEWER) as viewer, ui.client(OPERATOR) as operator:
        path = "/dagster/report_asset_materialization/feeds"
        assert viewer.post(path, json={}).status_code == 403
        assert operator.post(path, json={}).status_code == 200


def test_a_mutation_needs_an_operator(ui: Served) -> None:
    mutation = 'mutation { setConcurrencyLimit(concurrencyKey: "attack", limit: 1) }'
    keys = "{ instance { concurrencyLimits { concurrencyKey } } }"

    def limits() -> set[str]:
        found = client.post("/dagster/graphql", json={"query": keys}).json()
        return {one["concurrencyKey"] for one in found["data"]["instance"]["concurrencyLimits"]}

    with ui.client(VIEWER) as client:
        assert client.post("/dagster/graphql", json={"query": mutation}).status_code == 403
        assert client.get("/dagster/graphql", params={"query": mutation}).status_code == 405
        assert "attack" not in limits()
    with ui.client(OPERATOR) as client:
        assert client.post("/dagster/graphql", json={"query": mutation}).status_code == 200
        assert "attack" in limits()


def test_websockets(ui: Served) -> None:
    url = f"ws://127.0.0.1:{ui.port}/dagster/graphql"
    start = {
        "id": "1",
        "type": "start",
        "payload": {"query": "subscription { locationStateChangeEvents { event { message } } }"},
    }
    attack = {
        "id": "2",
        "type": "start",
        "payload": {"query": 'mutation { setConcurrencyLimit(concurrencyKey: "ws", limit: 1) }'},
    }
    for message in (
        json.dumps(attack),
        json.dumps([attack]),
        "no json",
        json.dumps({**start, "payload": {"query": 7}}),
    ):
        headers = {"Authorization": basic(VIEWER), "Origin": ui.url}
        with connect(url, additional_headers=headers, subprotocols=["graphql-ws"]) as socket:  # type: ignore[list-item]
            socket.send(json.dumps({"type": "connection_init", "payload": {}}))
            assert json.loads(socket.recv(30))["type"] == "connection_ack"
            socket.send(json.dumps(start))
            socket.send(message)
            with pytest.raises(Exception, match="1008"):
                socket.recv(30)


def test_a_browser_logs_in_and_sees_it(ui: Served, browser) -> None:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    page.goto(f"{ui.url}/dagster/assets/turns")
    page.get_by_label("Name").fill(VIEWER[0])
    page.get_by_label("Password").fill(VIEWER[1])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("text=turns", timeout=120_000)
    page.goto(f"{ui.url}/docs")
    page.get_by_text("/transcript").first.wait_for(timeout=60_000)
    page.goto(f"{ui.url}/corpus/index.html")
    page.wait_for_selector("text=show")
    assert errors == []
    page.close()
