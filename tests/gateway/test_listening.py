"""Live listening over real WebSockets: what is sent, how fast, who may listen, and what a bad listener costs."""

from __future__ import annotations

import io
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import sqlalchemy as sa
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gateway.listening.messages import Control, control_of
from gateway.listening.metrics import ListeningMetrics
from gateway.listening.pace import Pace
from gateway.listening.recordings import PART_CLUSTERS, LandedRecording
from gateway.listening.session import Session
from gateway.sockets import OPTIONS
from resources.lake.tables import TABLES
from resources.listening_tokens import ListeningTokens
from resources.studio.ledger import Asked, Limits
from speech.engines.line_synthesizer import Sound, write_wav
from speech.mastering import assemble
from speech.opus_stream import PART_MS
from speech.podcast_files import encode_podcast, webm_clusters
from speech.webm import CLUSTER_MS, Cluster, read_clusters, webm_cluster, webm_header
from tests.gateway.serving import ADMIN, OPERATOR, VIEWER, Served, basic, served
from tests.landings import land
from tests.talks import BREAD, RAIN, land_talks

TEXTS = ("Hello from the roof.", "Good morning, what grows here?", "Beans.")
SCRIPT = f"[S1] {TEXTS[0]} [S2] {TEXTS[1]} [S1] {TEXTS[2]}"
USER = VIEWER[0]


class Listener:
    """A client that sorts what it gets."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.said: list[dict[str, Any]] = []
        self.header = b""
        self.clusters: list[Cluster] = []

    def next(self, timeout_s: float = 60) -> dict[str, Any] | Cluster | bytes:
        message = self.socket.recv(timeout_s)
        if isinstance(message, str):
            self.said.append(json.loads(message))
            return self.said[-1]
        if not self.header:
            self.header = message
            return message
        (cluster,) = read_clusters(message)  # one cluster in each message
        self.clusters.append(cluster)
        return cluster

    def until(self, kind: str) -> dict[str, Any]:
        """Receive up to a message of this kind."""
        while True:
            message = self.next()
            if isinstance(message, dict) and message["type"] == kind:
                return message

    def audio(self, count: int) -> None:
        """Receive up to so many clusters."""
        while len(self.clusters) < count:
            self.next()

    def closed(self) -> int:
        """The code with which the server closes."""
        try:
            while True:
                self.next()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    def ask(self, kind: str, **more: object) -> None:
        self.socket.send(json.dumps({"type": kind, **more}))

    def samples(self) -> np.ndarray:
        content = self.header + b"".join(one.content for one in self.clusters)
        with av.open(io.BytesIO(content)) as file:
            return np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])


@contextmanager
def listening(
    served: Served, path: str, from_ms: int = 0, user: tuple[str, str] = VIEWER, **headers: str
) -> Iterator[Listener]:
    address = f"ws://127.0.0.1:{served.port}{path}?from={from_ms}"
    own = {"Authorization": basic(user), **headers}
    with connect(address, additional_headers=own, proxy=None, open_timeout=60, close_timeout=1) as socket:
        yield Listener(socket)


def granted(served: Served, key: str, user: tuple[str, str] = VIEWER, kind: str = "episodes") -> str:
    with served.client(user) as client:
        answer = client.post(f"/api/v1/{kind}/{key}/stream")
    assert answer.status_code == 201, answer.text
    return str(answer.json()["path"])


def metric(served: Served, name: str) -> float:
    with served.client(ADMIN) as client:
        lines = client.get("/metrics").text.splitlines()
    return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")))


def nobody_listens(served: Served) -> None:
    """Wait until the service has noticed that the listeners of other tests have left."""
    until_s = time.monotonic() + 60
    while metric(served, "podlake_listeners"):
        assert time.monotonic() < until_s
        time.sleep(0.05)


def voice(seconds: float, pitch_hz: int) -> Sound:
    at = np.arange(round(seconds * 22_050))
    harmonics = sum(np.cos(2 * np.pi * pitch_hz * n * at / 22_050) / n for n in range(1, 12))
    return Sound((np.asarray(harmonics) * (0.5 + 0.5 * np.sin(8 * np.pi * at / 22_050)) * 4_000).astype("<i2"), 22_050)


LINES = (voice(1.6, 120), voice(2.1, 200), voice(0.9, 120))


@pytest.fixture
def requested(talks: Served) -> str:
    """A podcast that is requested; nothing of it is made."""
    answer = talks.service.studio.ledger.admit(
        Asked(USER, SCRIPT, "The roof"), Limits(at_once=99, per_day=99), lambda _: []
    )
    assert answer.podcast_id is not None
    return answer.podcast_id


def say(served: Served, podcast: str, index: int) -> None:
    """The line of a turn appears, as its voice writes it."""
    write_wav(served.service.studio.files.line(podcast, index, "voice", TEXTS[index]), LINES[index])


# --- what is sent


def test_an_episode_is_heard_from_any_time_to_its_end(talks: Served) -> None:
    with listening(talks, granted(talks, RAIN), 39_700) as listener:
        end = listener.until("stream_end")
        assert listener.closed() == 1000
    first, *others = listener.said
    assert {name: first[name] for name in ("type", "codec", "container", "sampleRate", "channels")} == {
        "type": "stream_metadata", "codec": "opus", "container": "webm", "sampleRate": 48_000, "channels": 1,
    }  # fmt: skip
    assert (first["from_ms"], first["is_live"], first["key"]) == (39_500, False, RAIN)
    assert listener.header == webm_header()
    assert [one.start_ms for one in listener.clusters] == list(range(39_500, 43_500, CLUSTER_MS))
    assert [one["type"] for one in others] == ["stream_end"]
    assert end["end_ms"] == 43_500
    assert len(listener.samples()) == pytest.approx(48 * 4_000, abs=48 * 30)


def test_the_words_come_before_their_audio(talks: Served) -> None:
    with listening(talks, granted(talks, RAIN)) as listener:
        listener.audio(9)
    passages = [one for one in listener.said if one["type"] == "passage"]
    assert passages[0]["words"][:2] == [["Listen", 0, 300], ["to", 400, 700]]
    assert [one["speaker"] for one in passages] == ["S1", "S2"]
    assert passages[1]["start_ms"] == 7 * 400
    with listening(talks, granted(talks, RAIN), 3_000) as listener:
        listener.audio(1)
    assert [one["turn_idx"] for one in listener.said if one["type"] == "passage"] == [1]


def test_an_end_behind_the_end_is_an_end(talks: Served) -> None:
    with listening(talks, granted(talks, RAIN), 900_000) as listener:
        assert listener.until("stream_end")["end_ms"] == 0
    assert listener.clusters == []


def test_the_parts_are_kept(talks: Served) -> None:
    with listening(talks, granted(talks, RAIN), 43_000) as listener:
        listener.until("stream_end")
    cache = talks.service.settings.cache_folder / "listening"
    assert [path.name for path in cache.rglob(f"{'ab' * 32}.4.webm")] == [f"{'ab' * 32}.4.webm"]


# --- podcasts


def test_turn_1_plays_while_turn_2_is_being_made(talks: Served, requested: str) -> None:
    with listening(talks, granted(talks, requested, kind="podcasts")) as listener:
        assert listener.next()["is_live"] is True  # there is no audio yet
        say(talks, requested, 0)
        listener.audio(3)
        say(talks, requested, 1)
        listener.audio(8)
        say(talks, requested, 2)
        end = listener.until("stream_end")
        assert listener.closed() == 1000
    made = assemble([("S1", LINES[0]), ("S2", LINES[1]), ("S1", LINES[2])])
    passages = [one for one in listener.said if one["type"] == "passage"]
    assert [(one["start_ms"], one["end_ms"]) for one in passages] == [(one.start_ms, one.end_ms) for one in made.turns]
    assert [" ".join(word[0] for word in one["words"]) for one in passages] == list(TEXTS)
    heard = listener.samples()
    assert 0 <= end["end_ms"] - len(made.samples) / 48 < CLUSTER_MS
    # As loud, and at the same times, as the podcast before it is mastered.
    at = made.turns[2].start_ms * 48
    shift = np.argmax(np.correlate(made.samples[at - 480 : at + 24_480], heard[at : at + 24_000], "valid")) - 480
    assert abs(shift) <= 1


def test_a_late_listener_shares_what_is_encoded(talks: Served, requested: str) -> None:
    say(talks, requested, 0)
    say(talks, requested, 1)
    with listening(talks, granted(talks, requested, kind="podcasts")) as one:
        one.audio(7)
        with listening(talks, granted(talks, requested, user=ADMIN, kind="podcasts"), 2_000, ADMIN) as other:
            other.audio(3)
    assert [cluster.start_ms for cluster in other.clusters] == [2_000, 2_500, 3_000]
    assert other.clusters[0] == one.clusters[4]


def test_lines_that_only_the_home_has_are_found_there(talks: Served, requested: str) -> None:
    files = talks.service.studio.files
    rows = []
    for index in range(len(LINES)):
        say(talks, requested, index)
        path = files.newest_line(requested, index)
        assert path is not None
        rows.append({"turn_idx": index, "path": files.publish(requested, f"{index}.wav", path.read_bytes())})
    files.forget_lines(requested)
    land(talks.service.lake, TABLES["speech_lines"], requested, rows)
    with listening(talks, granted(talks, requested, kind="podcasts")) as listener:
        listener.until("stream_end")
    assert len(listener.clusters) == 12


def test_a_cancelled_podcast_is_one_error(talks: Served, requested: str) -> None:
    path = granted(talks, requested, kind="podcasts")
    with listening(talks, path) as listener:
        assert listener.next()["type"] == "stream_metadata"
        talks.service.studio.ledger.cancel(requested)
        failed = listener.until("error")
        assert (failed["code"], failed["retryable"]) == ("podcast_cancelled", False)
        assert listener.closed() == 1000
    assert [one["type"] for one in listener.said] == ["stream_metadata", "error"]
    with listening(talks, path) as listener:  # also one who connects afterwards
        assert listener.until("error")["code"] == "podcast_cancelled"
    with talks.client(VIEWER) as client:
        answer = client.post(f"/api/v1/podcasts/{requested}/stream")
    assert (answer.status_code, answer.json()["code"]) == (409, "podcast_cancelled")


def test_a_finished_podcast_is_sent_as_it_was_packed(talks: Served, requested: str) -> None:
    lake, files = talks.service.lake, talks.service.studio.files
    made = assemble([("S1", LINES[0]), ("S2", LINES[1]), ("S1", LINES[2])])
    clusters = webm_clusters(encode_podcast(made.samples, {"title": "The roof"}, []).opus)
    offsets = list(itertools.accumulate((len(one.content) for one in clusters), initial=len(webm_header())))
    content = webm_header() + b"".join(one.content for one in clusters)
    turns = [
        {"turn_idx": index, "speaker": "S1", "start_ms": span.start_ms, "end_ms": span.end_ms, "text": text}
        for index, (span, text) in enumerate(zip(made.turns, TEXTS, strict=True))
    ]
    land(lake, TABLES["scripts"], requested, [{"title": "The roof", "language": "en"}])
    land(lake, TABLES["podcast_audio"], requested, [{"duration_ms": 5_950}])
    land(lake, TABLES["podcast_turns"], requested, turns)
    land(lake, TABLES["stream_packages"], requested, [{"path": files.publish(requested, "roof.webm", content)}])
    rows = [{"cluster_idx": -1, "offset_bytes": 0, "size_bytes": len(webm_header())}]
    rows += [
        {"cluster_idx": index, "offset_bytes": offset, "size_bytes": len(one.content), "start_ms": one.start_ms}
        for index, (one, offset) in enumerate(zip(clusters, offsets, strict=False))
    ]
    land(lake, TABLES["stream_clusters"], requested, rows)
    with listening(talks, granted(talks, requested, kind="podcasts"), 2_600) as listener:
        listener.until("stream_end")
    assert (listener.said[0]["duration_ms"], listener.said[0]["is_live"]) == (5_950, False)
    assert listener.clusters == clusters[5:]
    assert [one["turn_idx"] for one in listener.said if one["type"] == "passage"] == [1, 2]


# --- who may listen


def test_a_token_is_hashed_and_expires(talks: Served) -> None:
    token = granted(talks, RAIN).rpartition("/")[2]
    assert len(token) >= 43
    with talks.service.database.connect() as connection:
        rows = connection.execute(sa.text("select * from podlake_listening_tokens")).fetchall()
    assert rows
    assert token not in str(rows)
    tokens = ListeningTokens(talks.service.database)
    grant = tokens.grant(token)
    assert grant is not None
    assert (grant.kind, grant.key, grant.user_id) == ("episode", RAIN, USER)
    assert tokens.grant(token, datetime.now(UTC) + timedelta(hours=6.1)) is None
    assert tokens.grant(token, datetime.now(UTC) + timedelta(hours=5.9)) == grant


@pytest.mark.parametrize(
    ("user", "token"),
    [(VIEWER, "nothing"), (OPERATOR, None), (("vic", "wrong"), None)],
    ids=["no", "other", "password"],
)
def test_others_cannot_use_a_token(talks: Served, user: tuple[str, str], token: str | None) -> None:
    path = granted(talks, RAIN) if token is None else f"/api/v1/listen/{token}"
    with pytest.raises(InvalidStatus) as refused, listening(talks, path, user=user):
        pass
    assert refused.value.response.status_code == (401 if user[1] == "wrong" else 404)


def test_pages_of_other_sites_cannot_listen(talks: Served) -> None:
    path = granted(talks, RAIN)
    with pytest.raises(InvalidStatus) as refused, listening(talks, path, Origin="https://evil.example"):
        pass
    assert refused.value.response.status_code == 403
    with listening(talks, path, Origin=talks.url) as listener:
        assert listener.next()["type"] == "stream_metadata"


@pytest.mark.parametrize(
    ("kind", "key", "status"),
    [("episodes", "no-such-episode", 404), ("episodes", BREAD, 409), ("podcasts", "studio-20260101-00000000", 404)],
)
def test_what_cannot_be_heard_gets_no_token(talks: Served, kind: str, key: str, status: int) -> None:
    with talks.client(VIEWER) as client:
        assert client.post(f"/api/v1/{kind}/{key}/stream").status_code == status


def test_podcasts_of_others_are_not_there(talks: Served, requested: str) -> None:
    with talks.client(OPERATOR) as client, talks.client() as nobody:
        assert client.post(f"/api/v1/podcasts/{requested}/stream").status_code == 404
        assert nobody.post(f"/api/v1/podcasts/{requested}/stream").status_code == 401


@pytest.mark.parametrize("start", ["-1", "x", "1e3", "99999999999"])
def test_a_bad_start_is_refused(talks: Served, start: str) -> None:
    path = granted(talks, RAIN)
    address = f"ws://127.0.0.1:{talks.port}{path}?from={start}"
    with pytest.raises(InvalidStatus) as refused, connect(address, additional_headers={"Authorization": basic(VIEWER)}):
        pass
    assert refused.value.response.status_code in (403, 422)


def test_a_second_connection_replaces_the_first(talks: Served) -> None:
    path = granted(talks, RAIN)
    with listening(talks, path) as first:
        first.audio(2)
        with listening(talks, path, 20_000) as second:
            assert first.until("error")["code"] == "replaced"
            assert first.closed() == 4001
            second.audio(3)
    assert second.clusters[0].start_ms == 20_000


def test_there_are_not_more_listeners_than_the_settings_say(tmp_path: Path) -> None:
    land_talks(tmp_path)
    with served(tmp_path, listeners=1) as small:
        paths = [granted(small, RAIN) for _ in range(2)]
        with listening(small, paths[0]) as listener:
            listener.next()
            with pytest.raises(InvalidStatus) as refused, listening(small, paths[1]):
                pass
            assert refused.value.response.status_code == 503


# --- how fast


def test_a_burst_of_five_seconds_then_at_most_fifteen_ahead() -> None:
    pace, now, sent_at = Pace(), 100.0, list[float]()
    for _ in range(120):
        now += pace.wait_s(500, now)
        pace.sent(500, now)
        sent_at.append(now - 100)
    assert sent_at[:10] == [0.0] * 10
    assert sent_at[10] > 0
    ahead = [(index + 1) * 0.5 - at for index, at in enumerate(sent_at)]
    assert max(ahead) == pytest.approx(15)
    assert ahead[-1] == pytest.approx(15)
    assert all(later - earlier >= 0.25 - 1e-9 for earlier, later in itertools.pairwise(sent_at[10:]))


def test_a_player_that_ran_out_gets_another_burst_and_a_paused_one_nothing_more() -> None:
    pace = Pace()
    for _ in range(10):
        pace.sent(500, 0.0)
    assert pace.wait_s(500, 0.0) == 0.25
    pace.hold(1.0)
    assert pace.wait_s(10_000 + 1_500, 600.0) == pytest.approx(0.5)  # it still has 4 s
    pace.resume(600.0)
    assert pace.wait_s(5_000, 630.0) == 0.0
    for _ in range(10):
        pace.sent(500, 630.0)
    assert pace.wait_s(500, 630.0) == 0.25


def test_pause_and_resume(talks: Served) -> None:
    with listening(talks, granted(talks, RAIN)) as listener:
        listener.audio(10)
        listener.ask("pause_request")
        listener.until("paused")
        with pytest.raises(TimeoutError):
            listener.next(0.6)
        before = len(listener.clusters)
        listener.ask("resume_request")
        listener.until("resumed")
        listener.audio(before + 2)
    assert [one.start_ms for one in listener.clusters] == [500 * n for n in range(len(listener.clusters))]


# --- bad listeners

MALFORMED = (
    "", "{", "[]", "null", "1", '"pause_request"', "{}", '{"type": 1}', '{"type": "pause"}', '{"type": ["x"]}',
    '{"type": "player_report"}', '{"type": "player_report", "event": "pause"}', "[" * 2_000,
    '{"type": "player_report", "event": "started", "after_ms": -1}', '{"type": "stream_end"}', "\u0000\ud7ff", "\x00",
    '{"type": "player_report", "event": "started", "after_ms": "1"}', '{"type": "player_report", "event": ["started"]}',
    '{"type": "player_report", "event": "started", "after_ms": 1e999}', b"\x1f\x43\xb6\x75", b"", b"\xff" * 100,
)  # fmt: skip


def test_which_messages_are_ours() -> None:
    assert [control_of(text) for text in MALFORMED if isinstance(text, str)] == [None] * 20
    assert control_of('{"type": "pause_request"}') == Control("pause")
    assert control_of('{"type": "player_report", "event": "started", "after_ms": 812}') == Control("started", 812)


def test_a_thousand_malformed_messages_do_no_harm(talks: Served) -> None:
    before = metric(talks, "podlake_listening_malformed_messages_total")
    with listening(talks, granted(talks, RAIN), 34_000) as listener:
        listener.ask("pause_request")
        listener.until("paused")
        for message in itertools.islice(itertools.cycle(MALFORMED), 1_000):
            listener.socket.send(message)
        listener.ask("resume_request")
        listener.until("stream_end")
        assert listener.closed() == 1000
    assert len(listener.clusters) == 19
    assert metric(talks, "podlake_listening_malformed_messages_total") == before + 1_000


def test_large_and_too_many_messages_end_the_connection(talks: Served) -> None:
    with listening(talks, granted(talks, RAIN)) as listener:
        listener.ask("pause_request", more="x" * 5_000)
        assert listener.closed() == 1009
    with listening(talks, granted(talks, RAIN)) as listener:
        with suppress(ConnectionClosed):
            for _ in range(10_000):
                listener.socket.send("{}")
        assert listener.closed() == 1008


@pytest.fixture
def endless() -> Iterator[tuple[int, ListeningMetrics]]:
    """The port of a server that sends audio as fast as it is taken."""
    metrics = ListeningMetrics(CollectorRegistry())
    packets = [bytes([252]) + bytes(79)] * 25

    async def part(index: int, *, is_urgent: bool) -> list[Cluster]:
        return [webm_cluster(index * PART_MS + 500 * n, packets) for n in range(PART_CLUSTERS)]

    async def listen(socket: Any) -> None:
        await socket.accept()
        recording = LandedRecording("endless", "Endless", None, None, (), part)
        await Session(socket, recording, 0, metrics, Pace(burst_ms=1e12, ahead_ms=1e12), send_s=0.3).run()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = Starlette(routes=[WebSocketRoute("/", listen)])
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, **OPTIONS))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield listener.getsockname()[1], metrics
        server.should_exit = True
        thread.join(30)


def test_a_slow_listener_costs_bounded_memory_and_is_dropped_with_1013(
    endless: tuple[int, ListeningMetrics],
) -> None:
    port, metrics = endless
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        client.connect(("127.0.0.1", port))
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        slow = metrics.connections.labels("slow")
        until_s = time.monotonic() + 60
        while slow._value.get() == 0 and time.monotonic() < until_s:  # it takes nothing
            time.sleep(0.02)
        assert slow._value.get() == 1
        assert metrics.listeners._value.get() == 0
        received = b""
        while not received.endswith(closing := b"\x88\x02" + (1013).to_bytes(2)):
            content = client.recv(1 << 16)
            assert content
            received += content
    assert received.endswith(closing)
    assert len(received) < 1 << 20
    assert metrics.audio_seconds._value.get() * 4_300 < 1 << 20


# --- metrics


def test_both_ends_are_measured(talks: Served) -> None:
    names = ("podlake_player_start_seconds_count", "podlake_player_rebuffers_total",
             "podlake_listening_first_audio_seconds_count", "podlake_listening_audio_seconds_total")  # fmt: skip
    nobody_listens(talks)
    before = [metric(talks, name) for name in names]
    with listening(talks, granted(talks, RAIN), 34_000) as listener:
        listener.ask("pause_request")
        listener.ask("player_report", event="started", after_ms=700)
        listener.ask("player_report", event="rebuffered")
        listener.ask("player_report", event="rebuffered")
        listener.ask("resume_request")
        listener.until("stream_end")
    assert [metric(talks, name) - was for name, was in zip(names, before, strict=True)] == [1, 2, 1, 9.5]
    assert metric(talks, "podlake_listeners") >= 0
