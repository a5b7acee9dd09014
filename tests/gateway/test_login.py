"""Logging in by password, session and key; roles; and what the service refuses to start with."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from gateway.authentication import RefusedToStart, check_address, is_open
from gateway.settings import ServeSettings
from resources.accounts import AccountRefused, Accounts, is_password_hash, password_hash, password_matches
from tests.gateway.serving import ADMIN, OPERATOR, VIEWER, Served, served


def test_every_page_is_the_login_form_until_somebody_logs_in(empty: Served) -> None:
    with empty.client(headers={"Accept": "text/html"}) as browser:
        form = browser.get("/corpus/index.html?a=1")
        assert form.status_code == 401
        assert "www-authenticate" not in form.headers
        assert '<input type="hidden" name="next" value="/corpus/index.html?a=1">' in form.text
        own = {"Origin": empty.url}
        wrong = browser.post("/login", data={"username": VIEWER[0], "password": "no", "next": "/"}, headers=own)
        assert wrong.status_code == 401
        assert "The name or the password is wrong." in wrong.text
        data = {"username": VIEWER[0], "password": VIEWER[1], "next": "/corpus/index.html?a=1"}
        right = browser.post("/login", data=data, headers=own)
        assert (right.status_code, right.headers["location"]) == (303, "/corpus/index.html?a=1")
        assert "HttpOnly" in right.headers["set-cookie"]
        assert "SameSite=strict" in right.headers["set-cookie"]
        assert browser.get("/corpus/index.html").status_code == 200
        assert browser.post("/logout").status_code == 403  # it does not say which page it comes from
        assert browser.post("/logout", headers=own).status_code == 303
        assert browser.get("/corpus/index.html").status_code == 401


def test_a_login_leads_only_to_own_pages(empty: Served) -> None:
    for path in ("https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"):
        with empty.client() as browser:
            data = {"username": VIEWER[0], "password": VIEWER[1], "next": path}
            assert browser.post("/login", data=data).headers["location"] == "/"


@pytest.mark.parametrize("user", [ADMIN, OPERATOR, VIEWER])
def test_users_log_in_with_basic(empty: Served, user: tuple[str, str]) -> None:
    with empty.client(user) as client:
        assert client.get("/corpus/index.html").status_code == 200
    with empty.client((user[0], user[1] + "x")) as client:
        refused = client.get("/corpus/index.html")
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["www-authenticate"].startswith("Basic")


def test_keys_are_scoped_and_revoked_and_show_their_last_use(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setattr("gateway.authentication.CACHED_S", 0.0)
    with served(tmp_path / "home") as found:
        accounts = found.service.accounts
        key, metrics = accounts.add_key("reader", "viewer"), accounts.add_key("metrics", "viewer", ["metrics"])
        with found.client(key=key) as client, found.client(key=metrics) as scoped:
            assert client.get("/corpus/index.html").status_code == 200
            assert scoped.get("/corpus/index.html").status_code == 403
            used = {one.name: one.last_used_at for one in accounts.all_keys()}
            assert used["reader"] is not None
            accounts.revoke_key("reader")
            assert client.get("/corpus/index.html").status_code == 401
        stored = (tmp_path / "home" / "service.db").read_bytes()
        assert key.encode() not in stored
        assert VIEWER[1].encode() not in stored


def test_a_session_ends_after_its_time(tmp_path, monkeypatch) -> None:
    accounts = Accounts.at(f"sqlite:///{tmp_path}/service.db")
    assert accounts.session_user(accounts.begin_session("ana", 1.0)) == "ana"
    assert accounts.session_user(accounts.begin_session("ana", -0.001)) is None


def test_a_new_password_ends_sessions(tmp_path) -> None:
    accounts = Accounts.at(f"sqlite:///{tmp_path}/service.db")
    accounts.set_user("ben", "viewer", "one")
    token = accounts.begin_session("ben", 1.0)
    accounts.set_user("ben", "viewer", "two")
    assert accounts.session_user(token) is None


def test_password_hashes() -> None:
    stored = password_hash("geheim")
    assert is_password_hash(stored)
    assert password_matches("geheim", stored)
    assert not password_matches("Geheim", stored)
    with pytest.raises(AccountRefused, match="empty"):
        password_hash(" ")


@pytest.mark.parametrize(
    ("name", "password", "words"),
    [("ana", "", "empty"), ("ana", "  ", "empty"), ("", "secret", "empty"), ("ana", None, "both"), (None, "x", "both")],
)
def test_it_refuses_to_start_with_half_an_account(tmp_path, name, password, words) -> None:
    secret = None if password is None else SecretStr(password)
    serve = ServeSettings(_env_file=None, ADMIN_USERNAME=name, ADMIN_PASSWORD=secret)
    with pytest.raises(RefusedToStart, match=words):
        is_open(serve, Accounts.at(f"sqlite:///{tmp_path}/service.db"))


@pytest.mark.parametrize(
    ("host", "is_refused"),
    [("0.0.0.0", True), ("::", True), ("192.168.1.7", True), ("example.org", True), ("", True),
     ("127.0.0.1", False), ("127.1.2.3", False), ("::1", False), ("localhost", False)],
)  # fmt: skip
def test_it_refuses_public_addresses_without_authentication(host, is_refused) -> None:
    serve = ServeSettings(_env_file=None)
    check_address(host, serve, is_open=False)
    if is_refused:
        with pytest.raises(RefusedToStart, match="ADMIN_PASSWORD"):
            check_address(host, serve, is_open=True)
    else:
        check_address(host, serve, is_open=True)


@pytest.mark.parametrize("proxied", [{"names": "localhost,podlake.example.org"}, {"trusted_proxies": "127.0.0.1"}])
def test_it_refuses_to_be_open_behind_a_proxy(proxied: dict[str, str]) -> None:
    serve = ServeSettings(_env_file=None, **proxied)
    check_address("127.0.0.1", serve, is_open=False)
    with pytest.raises(RefusedToStart, match="others reach the service"):
        check_address("127.0.0.1", serve, is_open=True)
    check_address("127.0.0.1", ServeSettings(_env_file=None, names="localhost"), is_open=True)


def test_without_users_everybody_on_this_machine_is_administrator(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    with served(tmp_path / "home", has_users=False) as found, found.client() as client:
        assert client.get("/corpus/index.html").status_code == 200
        assert client.get("/corpus/index.html", headers={"Host": "evil.example"}).status_code == 400
        assert client.get("/corpus/index.html", headers={"Host": "10.0.0.1"}).status_code == 200
