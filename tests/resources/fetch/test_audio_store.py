from __future__ import annotations

import errno
import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resources.fetch import audio_store
from resources.fetch.audio_store import AudioStore
from resources.lake.home import Home
from speech.errors import StorageError

READERS = 3


def kept(store: AudioStore, content: bytes) -> str:
    part = store.part("episode")
    part.write_bytes(content)
    return store.keep(part, hashlib.sha256(content).hexdigest(), "https://x.test/a.mp3", None)


def test_keeps_audio_under_its_hash_and_reads_it_through_the_cache(s3_home: Home, tmp_path: Path) -> None:
    store = AudioStore(s3_home, tmp_path / "cache", limit_bytes=10**9)
    uri = kept(store, b"sound")
    assert (store.has(uri), store.part("episode").exists()) == (True, False)
    assert store.local(uri).read_bytes() == b"sound"
    assert store.local(uri) == tmp_path / "cache" / uri


def test_moves_audio_into_a_local_home_without_a_copy(tmp_path: Path) -> None:
    store = AudioStore(Home.at(str(tmp_path / "home")), tmp_path / "cache", limit_bytes=10**9)
    part = store.part("episode")
    part.write_bytes(b"sound")
    inode = part.stat().st_ino
    uri = store.keep(part, hashlib.sha256(b"sound").hexdigest(), "https://x.test/a.mp3", None)
    assert (store.local(uri).read_bytes(), store.local(uri).stat().st_ino, part.exists()) == (b"sound", inode, False)
    assert kept(store, b"sound") == uri  # fetched again: nothing is left of it
    assert not part.exists()


def test_copies_audio_from_another_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, target: Path) -> Path:
        if self.name == "episode":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(self, target)

    replace = Path.replace
    monkeypatch.setattr(Path, "replace", refused)
    store = AudioStore(Home.at(str(tmp_path / "home")), tmp_path / "cache", limit_bytes=10**9)
    uri = kept(store, b"sound")
    assert (store.local(uri).read_bytes(), store.part("episode").exists()) == (b"sound", False)


def test_concurrent_readers_of_one_object_get_its_bytes(s3_home: Home, tmp_path: Path) -> None:
    content = os.urandom(20_000_000)
    uri = kept(AudioStore(s3_home, tmp_path / "one", limit_bytes=10**9), content)
    barrier = threading.Barrier(READERS)

    def read(store: AudioStore) -> bytes:
        barrier.wait()
        return store.local(uri).read_bytes()

    for turn in range(3):
        stores = [AudioStore(s3_home, tmp_path / str(turn), limit_bytes=10**9) for _ in range(READERS)]
        with ThreadPoolExecutor(READERS) as pool:
            assert all(found == content for found in pool.map(read, stores))
        assert [path.name for path in (tmp_path / str(turn) / uri).parent.iterdir()] == [uri.rpartition("/")[2]]


def test_refuses_an_object_whose_bytes_are_not_those_of_its_name(s3_home: Home, tmp_path: Path) -> None:
    store = AudioStore(s3_home, tmp_path / "cache", limit_bytes=10**9)
    uri = kept(store, b"sound")
    with s3_home.writing(uri) as stream:
        stream.write(b"soun")
    with pytest.raises(StorageError, match="has other bytes than its name says"):
        store.local(uri)
    assert [path for path in (tmp_path / "cache" / "audio").rglob("*") if path.is_file()] == []


def test_an_object_that_is_missing_is_a_storage_error(s3_home: Home, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not be copied"):
        AudioStore(s3_home, tmp_path, limit_bytes=10**9).local("audio/ab/abcd.mp3")


def test_evicts_the_least_recently_used_copy_that_is_not_in_use(
    s3_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_store, "IN_USE", 1)
    store = AudioStore(s3_home, tmp_path / "cache", limit_bytes=2_500)
    uris = [kept(store, bytes([n]) * 1_000) for n in range(4)]
    for n in (0, 1, 0, 2):  # the copy of 1 is the least recently used when the third one exceeds the limit
        path = store.local(uris[n])
        assert path.exists()
    assert [(tmp_path / "cache" / uri).exists() for uri in uris[:3]] == [True, False, True]
    other = AudioStore(s3_home, tmp_path / "cache", limit_bytes=0)
    other.local(uris[3])
    assert [(tmp_path / "cache" / uri).exists() for uri in uris] == [False, False, True, True]
