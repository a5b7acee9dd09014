"""Objects in S3 while the server refuses, breaks connections, loses responses and damages bytes on the way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from resources import object_store
from resources.fetch.audio_store import AudioStore
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import WORDS
from resources.lake.warehouse import ask, connect
from speech.errors import StorageError
from tests.faulty_proxy import Fault, Faults, faulty_proxy
from tests.landings import land

FAULTS: tuple[Fault, ...] = ("slow_down", "truncated", "lost_response", "reset")
LARGE = os.urandom(object_store.PART_BYTES + 1)
KEY = "show-20260101-00000001"


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def home(
    s3_environment: dict[str, str], faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Home]:
    """A home in a bucket behind a proxy that injects faults."""
    with faulty_proxy(s3_environment["AWS_ENDPOINT_URL"], faults) as url:
        for name, value in {**s3_environment, "AWS_ENDPOINT_URL": url, "HOME": str(tmp_path)}.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="podcasts")
        yield Home.at(f"s3://podcasts/{tmp_path.name}")


def write(home: Home, content: bytes) -> None:
    with home.writing("notes", "one") as stream:
        stream.write(content)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_small_object_is_written_and_read_through_faults(home: Home, faults: Faults, fault: Fault) -> None:
    faults.times(2, fault, "PUT", "notes/one")
    write(home, b"short")  # a 503's body is longer than the object
    faults.times(2, fault, "GET", "notes/one")
    assert home.read("notes", "one") == b"short"
    assert faults.injected[fault] >= 3


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("method", "part"), [("POST", "?uploads"), ("PUT", "partNumber=2"), ("POST", "uploadId="), ("GET", "notes/one")]
)
def test_a_large_object_is_written_and_read_through_faults(
    home: Home, faults: Faults, fault: Fault, method: str, part: str
) -> None:
    faults.times(1, fault, method, part)
    write(home, LARGE)
    assert hashlib.sha256(home.read("notes", "one")).digest() == hashlib.sha256(LARGE).digest()
    assert faults.injected[fault] == 1


def test_a_completed_upload_whose_response_was_lost_counts(home: Home, faults: Faults) -> None:
    answers: list[Fault] = ["lost_response", "no_such_upload"]
    faults.choose = lambda method, path: (
        answers.pop(0) if method == "POST" and "uploadId=" in path and answers else None
    )
    write(home, LARGE)
    assert home.read("notes", "one") == LARGE
    assert faults.injected == {"lost_response": 1, "no_such_upload": 1}


def test_an_upload_that_is_gone_is_an_error_where_another_object_lies(home: Home, faults: Faults) -> None:
    write(home, b"older")
    faults.times(1, "no_such_upload", "POST", "uploadId=")
    with pytest.raises(StorageError, match="NoSuchUpload"):
        write(home, LARGE)
    assert home.read("notes", "one") == b"older"


@pytest.mark.parametrize("content", [b"short", LARGE], ids=["one request", "parts"])
def test_bytes_that_were_damaged_on_the_way_are_sent_again(home: Home, faults: Faults, content: bytes) -> None:
    faults.times(2, "garbled", "PUT", "notes/one")
    write(home, content)
    assert home.read("notes", "one") == content
    assert faults.injected == {"garbled": 2}


def test_the_parts_of_an_upload_that_failed_are_removed(home: Home, faults: Faults) -> None:
    faults.times(99, "no_such_upload", "PUT", "partNumber=1")  # not an error that can pass
    with pytest.raises(StorageError):
        write(home, LARGE)
    assert not home.exists("notes", "one")
    uploads = boto3.client("s3").list_multipart_uploads(Bucket="podcasts").get("Uploads", [])
    assert not [one for one in uploads if home.path("notes", "one").endswith(one["Key"])]


def test_a_server_that_refuses_for_long_is_a_storage_error(
    home: Home, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "ATTEMPTS", 2)
    object_store._client.cache_clear()
    faults.times(99, "slow_down", "PUT")
    with pytest.raises(StorageError, match="SlowDown"):
        write(home, b"short")


def test_a_small_object_takes_one_request_and_a_removal_another(home: Home, faults: Faults) -> None:
    write(home, b"short")
    home.remove("notes", "one")
    home.remove("notes", "one")
    assert [method for method, _ in faults.requests[-3:]] == ["PUT", "DELETE", "DELETE"]
    assert home.names("notes") == []


def test_a_stream_reads_ahead(home: Home, faults: Faults) -> None:
    write(home, LARGE)
    faults.requests.clear()
    with home.filesystem.open_input_stream(home.path("notes", "one")) as stream:
        assert b"".join(iter(lambda: stream.read(1 << 20), b"")) == LARGE
    assert len([path for method, path in faults.requests if method == "GET"]) <= 4


def test_a_landing_and_a_query_outlast_a_server_that_fails_often(
    home: Home, faults: Faults, s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every fifth request fails, each time in another way; DuckDB reads a few bytes at a time."""
    with monkeypatch.context() as direct:  # a new home takes 2 000 requests
        direct.setenv("AWS_ENDPOINT_URL", s3_environment["AWS_ENDPOINT_URL"])
        connect(Home.at(home.uri)).close()
    lake = Lake(home)
    with connect(home) as connection:
        seen: list[str] = []

        def choose(method: str, path: str) -> Fault | None:
            seen.append(path)
            return FAULTS[len(seen) // 5 % len(FAULTS)] if len(seen) % 5 == 0 else None

        faults.choose = choose
        land(lake, WORDS, KEY, [{"word": "hear", "word_idx": 0}])
        assert ask(connection, "select word from words") == [("hear",)]
        extensions = "select count(*) from duckdb_extensions() where loaded and extension_name in ('httpfs', 'aws')"
        assert ask(connection, extensions) == [(0,)]
    assert faults.injected.total() > 5


def test_audio_is_kept_and_copied_back_through_faults(home: Home, faults: Faults, tmp_path: Path) -> None:
    store = AudioStore(home, tmp_path / "cache", 1 << 30)
    fetched = tmp_path / "fetched"
    fetched.write_bytes(LARGE)
    sha256 = hashlib.sha256(LARGE).hexdigest()
    faults.times(2, "reset", "PUT", "audio/")
    uri = store.keep(fetched, sha256, "https://a.test/one.mp3", None)
    faults.times(2, "truncated", "GET", "audio/")
    assert store.local(uri).read_bytes() == LARGE
    assert not fetched.exists()
    assert faults.injected == {"reset": 2, "truncated": 2}
