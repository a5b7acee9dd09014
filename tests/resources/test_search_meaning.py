"""Search by meaning: with an ONNX model that is made here, and with an OpenAI-compatible server."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import podlake
from dagster_project.cli import main
from resources.embeddings import EmbeddingsUnavailable, EndpointEmbedder, OnnxEmbedder, load_embedder
from resources.lake.compaction import remove
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES, SPEAKER_LINKS
from resources.lake.warehouse import connect
from resources.search import SearchQuery
from resources.search_meaning import MeaningIndex
from tests.landings import NOON, land
from tests.talks import land_talk

ONE, TWO = "show-1", "show-2"
MEANINGS = {"train": 0, "railway": 0, "bread": 1, "baker": 1, "rain": 2, "storm": 2}
"""Word → the axis of its vector. Others mean nothing."""
WORDS = ["[PAD]", "[UNK]", *MEANINGS]
VECTORS = np.array([[0, 0, 0], [0, 0, 0], *(np.eye(3)[axis] for axis in MEANINGS.values())], np.float32)


def _field(number: int, value: bytes | int) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


def _value(name: str, kind: int, *dimensions: str) -> bytes:
    shape = b"".join(_field(1, _field(2, one.encode())) for one in dimensions)
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, kind) + _field(2, shape)))


def make_model(folder: Path) -> Path:
    """An ONNX model that looks a vector up for each token, and its tokenizer."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = _field(1, len(WORDS)) + _field(1, 3) + _field(2, 1) + _field(8, b"table")
    table += _field(9, struct.pack(f"<{VECTORS.size}f", *VECTORS.ravel()))
    node = _field(1, b"table") + _field(1, b"input_ids") + _field(2, b"hidden") + _field(4, b"Gather")
    graph = _field(1, node) + _field(2, b"g") + _field(5, table)
    graph += _field(11, _value("input_ids", 7, "b", "t")) + _field(12, _value("hidden", 1, "b", "t", "d"))
    model = _field(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 13))
    (folder / "model.onnx").write_bytes(model)
    return folder


@pytest.fixture
def model(tmp_path) -> Path:
    return make_model(tmp_path / "model")


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake(Home.at(str(tmp_path / "home")))
    rows = [{"episode_id": one, "title": one, "language": "en", "published_at": NOON} for one in (ONE, TWO)]
    land(lake, EPISODES, "show", rows)
    land_talk(lake, ONE, [("S1", "The railway line"), ("S2", "A storm came with rain"), ("S1", "Nothing else")], "a1")
    land_talk(lake, TWO, [("S1", "Our baker")], "a2")
    return lake


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """The call `POST /v1/embeddings`, which answers in reverse order and only to the right key."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            ok = (self.path, self.headers["Authorization"], asked["model"]) == ("/v1/embeddings", "Bearer k", "toy")
            rows = []
            for index, text in enumerate(asked["input"]):
                vector = sum((VECTORS[WORDS.index(word)] for word in text.lower().split() if word in WORDS), VECTORS[0])
                rows.append({"index": index, "embedding": [float(one) for one in vector]})
            body = json.dumps({"data": rows[::-1]}).encode()
            self.send_response(200 if ok else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def found(lake: Lake, index: MeaningIndex, text: str, **filters: object) -> list[tuple[str, int]]:
    """The turns that mean something of it, best first."""
    with connect(lake.home) as connection:
        index.update(connection)
        hits = index.search(connection, SearchQuery(text, **filters), limit=10).hits
    return [(hit.episode_id, hit.turn_idx) for hit in hits if hit.score > 0.1]


def test_turns_are_found_without_their_words(lake, model, tmp_path) -> None:
    index = MeaningIndex(tmp_path / "index", OnnxEmbedder(model))
    assert found(lake, index, "the train") == [(ONE, 0)]
    assert found(lake, index, "bread") == [(TWO, 0)]
    with connect(lake.home) as connection:
        (first, *_) = index.search(connection, SearchQuery("rain"), limit=2).hits
    assert (first.snippet, first.start_ms, first.score) == ("A storm came with rain", 1_200, pytest.approx(1.0))


def test_filters_apply_to_meaning_too(lake, model, tmp_path) -> None:
    index = MeaningIndex(tmp_path / "index", OnnxEmbedder(model))
    link = {"episode_id": ONE, "audio_sha256": "a1", "speaker": "S2", "voice_id": "v", "name": "Ada"}
    land(lake, SPEAKER_LINKS, "show", [link])
    assert found(lake, index, "rain train", speaker="ada") == [(ONE, 1)]
    assert found(lake, index, "rain", speaker="S1") == []
    assert found(lake, index, "rain", feed="show", language="en", since=NOON.date(), until=NOON.date()) == [(ONE, 1)]
    assert found(lake, index, "rain", language="de") == []


def test_vectors_follow_landings_and_removals(lake, model, tmp_path) -> None:
    index = MeaningIndex(tmp_path / "index", OnnxEmbedder(model))
    assert found(lake, index, "bread") == [(TWO, 0)]
    with connect(lake.home) as connection:
        assert index.update(connection) == 0
    land_talk(lake, TWO, [("S1", "A storm")], "a2")
    assert found(lake, index, "bread") == []
    assert found(lake, index, "rain") == [(ONE, 1), (TWO, 0)]
    remove(lake, [ONE, TWO])
    assert found(lake, index, "rain") == []
    assert list((tmp_path / "index").rglob("*.parquet")) == [], "nothing of a forgotten episode stays"


def test_an_endpoint_embeds(lake, server, tmp_path) -> None:
    url = f"http://127.0.0.1:{server.server_port}/v1"
    index = MeaningIndex(tmp_path / "index", load_embedder(f"{url}#toy", "k"))
    assert found(lake, index, "train") == [(ONE, 0)]
    with pytest.raises(EmbeddingsUnavailable, match=r"gave no embeddings of toy: .*401"):
        EndpointEmbedder(url, "toy", "wrong").embed(["train"])


@pytest.mark.parametrize(
    ("choice", "problem"),
    [("", "set PODLAKE_EMBEDDINGS"), ("http://a.test/v1", "names no model"), ("/nowhere", "no model.onnx in /nowhere")],
)
def test_what_is_missing_is_named(choice: str, problem: str) -> None:
    with pytest.raises(EmbeddingsUnavailable, match=problem):
        load_embedder(choice)


def test_the_same_command_and_sql_search_by_meaning(lake, model, monkeypatch) -> None:
    monkeypatch.setenv("PODLAKE_HOME", lake.home.root)
    refused = CliRunner().invoke(main, ["search", "--meaning", "bread"])
    assert (refused.exit_code, "set PODLAKE_EMBEDDINGS" in refused.output) == (1, True)
    monkeypatch.setenv("PODLAKE_EMBEDDINGS", str(model))
    answer = CliRunner().invoke(main, ["search", "--meaning", "bread", "--limit", "1", "--json"])
    assert [hit["episode_id"] for hit in json.loads(answer.output)["hits"]] == [TWO]
    hits = podlake.search("bread", meaning=True, limit=1)  # noqa: F841 - SQL reads it by its name
    with podlake.lake() as connection:
        rows = connection.sql("select title, snippet from hits join episodes using (episode_id, title)").fetchall()
    assert rows == [(TWO, "Our baker")]
    words = podlake.search('"railway line"', speaker="s1")
    assert words.select(["episode_id", "start_ms", "snippet"]).to_pylist() == [
        {"episode_id": ONE, "start_ms": 400, "snippet": "The railway line"}
    ]
