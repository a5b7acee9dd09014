"""Attempts to get in, or to change something with too small a role. Every one fails."""

from __future__ import annotations

import base64
import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from gateway.app import create_app
from gateway.auth import Role
from tests.gateway.serving import ADMIN, OPERATOR, VIEWER, Served, basic, served

MUTATION = 'mutation { terminateRun(runId: "x") { __typename } }'
QUERY = "{ version }"


def raw(port: int, request: str | bytes) -> tuple[int, str]:
    """Status and text of the answer to these bytes. 0: the server closed the connection without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request.encode("latin-1") if isinstance(request, str) else request)
        answer = b""
        with suppress(TimeoutError, ConnectionResetError):
            while part := connection.recv(65_536):
                answer += part
                connection.settimeout(2)  # the server keeps a connection open for further requests
    found = re.match(rb"HTTP/1\.1 (\d{3})", answer)
    return (int(found[1]) if found else 0), answer.decode("latin-1")


def head(served: Served, line: str, *headers: str, user: tuple[str, str] | None = None) -> str:
    own = [f"Host: 127.0.0.1:{served.port}", "Connection: close"]
    own += [f"Authorization: {basic(user)}"] if user else []
    return "\r\n".join([line, *own, *headers, "", ""])


def test_without_credentials_every_route_is_401_or_404(talks: Served) -> None:
    app = create_app(talks.service)
    paths = {re.sub(r"{\w+(:\w+)?}", "x", getattr(route, "path", "")) for route in app.routes}
    paths |= {"/", "/dagster", "/dagster/graphql", "/dagster/report_asset_materialization/turns", "/metrics",
              "/corpus/index.html", "/corpus/search.json?q=rain", "/login", "/logout", "/nothing", "/.env"}  # fmt: skip
    statuses = {}
    with talks.client() as client:
        for path in paths:
            for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
                for accept in ("*/*", "text/html"):
                    answer = client.request(method, path or "/", headers={"Accept": accept})
                    statuses[method, path, accept] = answer.status_code
                    assert "podlake_session" not in answer.headers.get("set-cookie", "")
    # The login form is the only thing that takes a body: nothing of it is right here.
    form = {key for key, status in statuses.items() if status == 415}
    assert form <= {("POST", "/login", "*/*"), ("POST", "/login", "text/html")}
    assert {status for key, status in statuses.items() if key not in form} <= {401, 404}


def test_every_route_requires_a_role(talks: Served) -> None:
    def guards(dependant) -> Iterator[tuple[Role, str]]:
        for one in dependant.dependencies:
            if hasattr(one.call, "podlake_guard"):
                yield one.call.podlake_guard
            yield from guards(one)

    unguarded, changing = [], {}
    for route in _routes(create_app(talks.service).router):
        found = list(guards(route.dependant))
        if not found:
            unguarded.append(route.path)
        elif route.methods - {"GET", "HEAD"}:
            changing[route.path] = max(role for role, _ in found)
    assert unguarded == ["/login"]
    of_every_user = {path for path, role in changing.items() if role < Role.OPERATOR}
    assert of_every_user == {
        "/logout", "/api/v1/podcasts", "/api/v1/podcasts/check", "/api/v1/podcasts/{podcast_id}/cancel",
        "/api/v1/episodes/{episode_id}/stream", "/api/v1/podcasts/{podcast_id}/stream",
    }  # fmt: skip
    sockets = list(_routes(create_app(talks.service).router, APIWebSocketRoute))
    assert [route.path for route in sockets if not list(guards(route.dependant))] == []
    assert "/api/v1/notifications" in {route.path for route in sockets}


def _routes(router, kind: type = APIRoute) -> Iterator:
    for route in router.routes:
        if isinstance(route, kind):
            yield route
        elif hasattr(route, "original_router"):
            yield from _routes(route.original_router, kind)


@pytest.mark.parametrize(
    "path",
    ["/..", "/../etc/passwd", "/corpus/../dagster/graphql", "/corpus/..%2fdagster", "/corpus/%2e%2e/dagster/graphql",
     "//dagster/graphql", "/dagster//graphql", "/./dagster/graphql", "/corpus/audio/..%5c..%5cservice.db",
     "/docs/..%2f..%2fservice.db", "/docs/%252e%252e%252fservice.db", "/corpus/audio/%00.mp3", "/dagster\\graphql",
     "/corpus/audio/../../service.db", "/docs/../gateway/app.py", "/dagster/logs/..%2f..%2fdagster.yaml"],
)  # fmt: skip
def test_path_tricks(talks: Served, path: str) -> None:
    for user in (None, ADMIN):
        status, text = raw(talks.port, head(talks, f"GET {path} HTTP/1.1", user=user))
        assert status in (400, 401, 404), text
        assert "root:" not in text


@pytest.mark.parametrize(
    "line",
    [
        "GET http://127.0.0.1/dagster HTTP/1.1",
        "GET http://evil.example/ HTTP/1.1",
        "GET * HTTP/1.1",
        "CONNECT evil.example:443 HTTP/1.1",
    ],
)
def test_absolute_and_other_targets(talks: Served, line: str) -> None:
    status, _ = raw(talks.port, head(talks, line))
    assert status in (400, 401, 404)


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "CONNECT", "PROPFIND", "FOO"])
def test_methods(talks: Served, method: str) -> None:
    assert raw(talks.port, head(talks, f"{method} /corpus/index.html HTTP/1.1"))[0] in (400, 401)
    assert raw(talks.port, head(talks, f"{method} /corpus/index.html HTTP/1.1", user=ADMIN))[0] in (400, 405)


def test_a_method_cannot_be_overridden(talks: Served) -> None:
    for header in ("X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE", "X-HTTP-Method: DELETE"):
        status, _ = raw(talks.port, head(talks, "GET /api/v1/feeds HTTP/1.1", header, user=ADMIN))
        assert status == 200
    with talks.client(ADMIN) as client:
        assert {feed["feed_id"] for feed in client.get("/api/v1/feeds").json()["feeds"]} >= set()
        assert len(client.get("/api/v1/episodes").json()["episodes"]) == 3


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5, 6",),
        ("Content-Length: +5",),
        ("Content-Length: -1",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding : chunked",),
        ("Transfer_Encoding: chunked", "Content-Length: 5"),
        (" Transfer-Encoding: chunked", "Content-Length: 5"),
        ("X-A: b\r\n Folded: c", "Content-Length: 5"),
    ],
)
def test_smuggled_requests(talks: Served, headers: tuple[str, ...]) -> None:
    """The hidden second request is never answered: the first one is refused, or takes it as its body."""
    hidden = f"GET /api/v1/statistics HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {basic(ADMIN)}\r\n\r\n"
    first = head(talks, "POST /api/v1/retry HTTP/1.1", "Content-Type: application/json", *headers, user=VIEWER)
    status, text = raw(talks.port, first.replace("Connection: close\r\n", "") + f"0\r\n\r\n{hidden}")
    assert status in (0, 400, 403, 422), text
    assert '"queue"' not in text


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1@evil.example",
        "evil.example/127.0.0.1",
        "",
        "localhost.evil.example",
        "127.0.0.1, evil.example",
    ],
)
def test_host_headers(talks: Served, host: str) -> None:
    request = (
        f"GET /corpus/index.html HTTP/1.1\r\nHost: {host}\r\nAuthorization: {basic(ADMIN)}\r\nConnection: close\r\n\r\n"
    )
    assert raw(talks.port, request)[0] == 400


def test_two_hosts_and_forwarded_hosts(talks: Served) -> None:
    assert raw(talks.port, head(talks, "GET /corpus/index.html HTTP/1.1", "Host: evil.example", user=ADMIN))[0] == 400
    status, text = raw(talks.port, head(talks, "GET /corpus/ HTTP/1.1", "X-Forwarded-Host: evil.example", user=ADMIN))
    assert status in (200, 307)
    assert "evil.example" not in text


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-User": "root", "X-Forwarded-Groups": "podlake-admins"},
        {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"ana").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"ana:").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:x").decode()},
        {"Authorization": "Bearer plk_"},
        {"Authorization": "Bearer plk_' or 1=1 --"},
        {"Authorization": "Bearer " + "plk_" + "a" * 5000},
        {"Authorization": "Negotiate abc"},
        {"Cookie": "podlake_session=' or 1=1 --"},
        {"Cookie": "podlake_session=; podlake_session=admin"},
    ],
)
def test_forged_credentials(talks: Served, headers: dict[str, str]) -> None:
    with talks.client(headers=headers) as client:
        assert client.get("/api/v1/feeds").status_code == 401


def test_proxy_headers_count_only_from_trusted_addresses(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    with served(tmp_path / "home", oidc_proxies="127.0.0.1", oidc_operators="ops", oidc_viewers="staff") as found:
        with found.client(headers={"X-Forwarded-User": "zoe", "X-Forwarded-Groups": "staff"}) as client:
            assert client.get("/api/v1/feeds").status_code == 200
            assert client.post("/api/v1/retry", json={}, headers={"Origin": found.url}).status_code == 403
        with found.client(headers={"X-Forwarded-User": "zoe", "X-Forwarded-Groups": "ops"}) as client:
            assert client.post("/api/v1/retry", json={}, headers={"Origin": found.url}).status_code == 202
            assert client.post("/api/v1/retry", json={}).status_code == 403  # a page of another site could send it
        with found.client(headers={"X-Forwarded-User": "zoe", "X-Forwarded-Groups": "others"}) as client:
            assert client.get("/api/v1/feeds").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
     {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://127.0.0.1:1"}],
)  # fmt: skip
def test_requests_from_pages_of_others(talks: Served, headers: dict[str, str]) -> None:
    with talks.client(OPERATOR, headers=headers) as client:
        assert client.post("/api/v1/retry", json={}).status_code == 403
        assert client.post("/dagster/graphql", json={"query": MUTATION}).status_code == 403
        assert client.post("/login", data={"username": VIEWER[0], "password": VIEWER[1]}).status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "body", "kind"),
    [
        ("POST", "/dagster/graphql", {"query": MUTATION}, "application/json"),
        (
            "POST",
            "/dagster/graphql",
            {"query": f"query a {QUERY} {MUTATION}", "operationName": "a"},
            "application/json",
        ),
        ("POST", "/dagster/graphql", {"query": f"# {QUERY}\n{MUTATION}"}, "application/json"),
        ("POST", "/dagster/graphql", {"query": "\ufeff" + MUTATION}, "application/json"),
        ("POST", "/dagster/graphql", [{"query": QUERY}, {"query": MUTATION}], "application/json"),
        ("POST", "/dagster/graphql", [{"query": MUTATION}], "application/json"),
        ("POST", "/dagster/graphql", {"query": [MUTATION]}, "application/json"),
        ("POST", "/dagster/graphql", MUTATION, "application/graphql"),
        ("POST", "/dagster/graphql", {"query": MUTATION}, "text/plain"),
        ("POST", "/dagster/graphql", {"query": MUTATION}, "text/plain; application/json"),
        ("POST", f"/dagster/graphql?query={MUTATION}", "", "application/x-www-form-urlencoded"),
        ("GET", f"/dagster/graphql?query={MUTATION}", "", ""),
        ("GET", f"/dagster/graphql?query={QUERY}&query={MUTATION}", "", ""),
        ("GET", f"/dagster/graphql/?query={MUTATION}", "", ""),
        ("POST", "/dagster/graphql/", {"query": MUTATION}, "application/json"),
        ("POST", "/dagster/GraphQL", {"query": MUTATION}, "application/json"),
        ("PUT", "/dagster/graphql", {"query": MUTATION}, "application/json"),
        ("POST", "/dagster/report_asset_materialization/turns", {}, "application/json"),
        ("POST", "/dagster/report_asset_check/turns", {}, "application/json"),
        ("POST", "/dagster/report_asset_observation/turns", {}, "application/json"),
        ("DELETE", "/api/v1/episodes/show-20260101-00000001", "", ""),
    ],
)
def test_a_viewer_changes_nothing(talks: Served, method: str, path: str, body: object, kind: str) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    with talks.client(VIEWER, headers={"Content-Type": kind} if kind else {}) as client:
        answer = client.request(method, path, content=content.encode())
    assert answer.status_code in (400, 403, 405, 415), answer.text


def test_a_mutation_by_get_is_refused_to_everybody(talks: Served) -> None:
    """A link in an e-mail could contain it."""
    with talks.client(ADMIN) as client:
        assert client.get("/dagster/graphql", params={"query": MUTATION}).status_code == 405


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"Authorization": basic(VIEWER), "Origin": "https://evil.example"}, 403),
     ({"Authorization": basic(VIEWER), "Origin": "null"}, 403), ({"Authorization": basic((VIEWER[0], "no"))}, 401),
     ({"Cookie": "podlake_session=x", "Origin": "https://evil.example"}, 401)],
)  # fmt: skip
def test_websockets(talks: Served, headers: dict[str, str], status: int) -> None:
    for path in ("/dagster/graphql", "/api/v1/events", "/nothing"):
        url = f"ws://127.0.0.1:{talks.port}{path}"
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(url, additional_headers=headers, subprotocols=["graphql-ws"]),
        ):
            pass
        assert refused.value.response.status_code == status


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"null", b'"text"', b'{"stages": 7}', b'{"stages": ["' + b"a" * 100_000 + b'"]}',
     b"NaN", b'{"episodes": [{"a": 1}]}'],
)  # fmt: skip
def test_malformed_bodies(talks: Served, content: bytes) -> None:
    with talks.client(OPERATOR, headers={"Content-Type": "application/json"}) as client:
        answer = client.post("/api/v1/retry", content=content)
        assert answer.status_code in (400, 422)
        assert answer.headers["content-type"] == "application/problem+json"
        assert client.post("/dagster/graphql", content=content).status_code == 400


def test_oversized_bodies(talks: Served) -> None:
    with talks.client(OPERATOR, headers={"Content-Type": "application/json"}) as client:
        with talks.client() as anybody, suppress(httpx.WriteError):
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            assert anybody.post("/login", content=b"a=1&" * 20_000, headers=form).status_code == 413
        for path in ("/api/v1/retry", "/dagster/graphql", "/login"):
            with suppress(httpx.WriteError):  # the server has closed the connection before it had all
                assert client.post(path, content=b" " * 11_000_000).status_code == 413
        with suppress(httpx.WriteError):
            assert client.post("/api/v1/workers/claim", content=b" " * 11_000_000).status_code == 413
        chunks = (b" " * 1_000_000 for _ in range(30))
        with suppress(httpx.WriteError):
            assert client.post("/api/v1/retry", content=chunks).status_code == 413
    status, _ = raw(talks.port, head(talks, "GET /corpus/index.html HTTP/1.1", "X-Long: " + "a" * 200_000, user=ADMIN))
    assert status in (0, 400, 431)


def test_an_unknown_name_takes_as_long_as_a_wrong_password(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    with served(tmp_path / "home", logins_per_minute=1_000) as found, found.client() as client:

        def cpu_time(user: tuple[str, str]) -> float:
            started_s = time.process_time()  # the server runs in this process
            assert client.get("/api/v1/feeds", auth=user).status_code == 401
            return time.process_time() - started_s

        pairs = [(cpu_time((ADMIN[0], f"wrong {n}")), cpu_time((f"nobody{n}", f"wrong {n}"))) for n in range(20)]
    known, unknown = (min(times) for times in zip(*pairs, strict=True))
    assert 0.6 < known / unknown < 1.6  # without a hash to compare, it would be a tenth


def test_passwords_cannot_be_tried_quickly(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    with served(tmp_path / "home", logins_per_minute=5) as found, found.client() as client:
        answers = [client.get("/api/v1/feeds", auth=(ADMIN[0], f"wrong {n}")).status_code for n in range(8)]
        assert answers[:5] == [401] * 5
        assert answers[-1] == 429


def test_passwords_cannot_be_tried_all_at_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    with served(tmp_path / "home", logins_per_minute=5) as found, found.client() as client:
        with ThreadPoolExecutor(30) as pool:
            tries = [pool.submit(client.get, "/api/v1/feeds", auth=(ADMIN[0], f"wrong {n}")) for n in range(30)]
        answers = Counter(one.result().status_code for one in tries)
    assert set(answers) == {401, 429}
    assert answers[401] < 10  # five, two compared at once, and what the limit has forgotten meanwhile


def test_requests_are_limited(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    with served(tmp_path / "home", requests_per_minute=20) as found, found.client(VIEWER) as client:
        answers = [client.get("/docs/start.js").status_code for _ in range(40)]
        assert answers[:20] == [200] * 20
        assert 429 in answers[20:]


def test_every_answer_has_security_headers(talks: Served) -> None:
    with talks.client(VIEWER) as client:
        for path in ("/corpus/index.html", "/api/v1/feeds", "/docs", "/nothing", "/dagster"):
            headers = client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert "content-security-policy" in headers
            assert "server" not in headers
    with talks.client() as client:
        assert client.get("/corpus/index.html").headers["x-frame-options"] == "DENY"
