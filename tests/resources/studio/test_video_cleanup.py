"""What requested videos leave behind is removed when it is old, and nothing that an open request needs."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from resources.lake.home import Home
from resources.studio.device_leases import DeviceLeases
from resources.studio.head_devices import HeadDevices
from resources.studio.video_cleanup import leftovers, remove
from resources.studio.video_files import VideoFiles
from resources.studio.video_ledger import AskedVideo, VideoLedger, VideoLimits, VideoRequest
from speech.errors import BadReference, VideoCancelled
from speech.talking_head.device import HeadDevice

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
WEEK, OLD = timedelta(days=7), NOW - timedelta(days=10)


class Studio:
    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder / 'service.db'}"
        device = HeadDevice("gpu0", "http://a:1", "http://a:2", folder / "voice", folder / "face")
        self.folder, self.device = folder, device
        self.files = VideoFiles(Home.at(str(folder / "home")), folder / "cache")
        self.leases = DeviceLeases(url, clock=OLD.timestamp)
        self.heads = HeadDevices((device,), self.leases)
        self.ledger = VideoLedger(url)

    def upload(self, content: bytes, *, at: datetime = OLD) -> str:
        source = self.folder / "source"
        source.write_bytes(content)
        kept = self.files.keep_upload(source, ".mp4")
        os.utime(self.folder / "home" / "video_uploads" / kept.name, (at.timestamp(),) * 2)
        return kept.name

    def request(self, video: str, *, at: datetime = OLD) -> VideoRequest:
        asked = AskedVideo("ana", "Good morning.", video_upload=video)
        answer = self.ledger.admit(asked, VideoLimits(9, 9), lambda _: [], has_devices=True, now=at)
        request = self.ledger.request(answer.video_id or "")
        assert request is not None
        return request

    def old(self, path: Path, *, at: datetime = OLD) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
        os.utime(path, (at.timestamp(),) * 2)
        os.utime(path.parent, (at.timestamp(),) * 2)
        return path

    def left(self, unfinished: set[str] = frozenset()) -> list[tuple[str, str]]:  # type: ignore[assignment]
        found = leftovers(self.files, self.heads, self.ledger.requests(most=None), unfinished, WEEK, NOW)
        return [(one.place, one.path) for one in found]


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def test_old_uploads_are_removed_unless_an_open_or_recent_request_needs_them(studio: Studio) -> None:
    wanted, unused = studio.upload(b"wanted"), studio.upload(b"unused")
    recent, fresh = studio.upload(b"recent"), studio.upload(b"fresh", at=NOW)
    open_one = studio.request(wanted)
    studio.request(recent, at=NOW - timedelta(days=1))
    assert studio.left({open_one.video_id}) == [("upload", unused)]
    assert studio.left() == [("upload", name) for name in sorted([wanted, unused])]
    chosen = leftovers(studio.files, studio.heads, studio.ledger.requests(), {open_one.video_id}, WEEK, NOW)
    remove(studio.files, chosen)
    assert sorted(one.name for one in studio.files.uploads()) == sorted([wanted, recent, fresh])


def test_only_own_files_on_devices_are_removed(studio: Studio) -> None:
    request = studio.request(studio.upload(b"me", at=NOW))
    ended, running = (studio.leases.give(request.video_id, "gpu0", "f" * 64) for _ in range(2))
    studio.leases.end(ended.code)
    temp, voice = studio.device.video_folder / "temp", studio.device.speech_folder
    own = [
        studio.old(temp / f"podlake-{ended.code}.wav"), studio.old(temp / f"podlake-{ended.code}.mp4"),
        studio.old(temp / f"{ended.code}-r.mp4"), studio.old(voice / f"podlake-{request.video_id}.wav"),
    ]  # fmt: skip
    others = [
        studio.old(temp / f"podlake-{running.code}.wav"), studio.old(temp / "somebodys-r.mp4"), studio.old(voice / "x.wav"),
        studio.old(temp / f"{ended.code}-t.mp4", at=NOW),
    ]  # fmt: skip
    assert studio.left() == [("device", str(path)) for path in sorted(own)]
    assert studio.left({request.video_id}) == []
    remove(studio.files, leftovers(studio.files, studio.heads, studio.ledger.requests(), set(), WEEK, NOW))
    assert [path.exists() for path in (*own, *others)] == [False] * 4 + [True] * 4


def test_old_local_files_are_removed_but_not_those_of_an_open_request(studio: Studio) -> None:
    for name in (
        "receiving/a.part",
        "copies/b.mp4",
        "video-20261117-aaaaaaaa/speech.wav",
        "video-20261117-bbbbbbbb/speech.wav",
    ):
        studio.old(studio.files.cache / "videos" / name)
    open_one = "video-20261117-bbbbbbbb"
    names = [Path(path).name for _, path in studio.left({open_one})]
    assert names == ["b.mp4", "a.part", "video-20261117-aaaaaaaa"]


def test_names_of_uploads_lead_nowhere_else(studio: Studio) -> None:
    for name in ("../secret.mp4", "a.mp4", "0" * 64 + ".mp4", "0" * 64 + ".mp4/../x"):
        assert not studio.files.has_upload(name)
        with pytest.raises(BadReference, match="is not there any more"):
            studio.files.upload(name)
    with pytest.raises(BadReference, match=r"Files named \.html are not taken"):
        studio.files.keep_upload(studio.old(studio.folder / "page"), ".html")


def test_an_attempt_is_claimed_once_and_a_claim_without_a_run_expires(studio: Studio) -> None:
    request = studio.request(studio.upload(b"me"))
    assert studio.ledger.claim(request.video_id, 1, NOW)
    assert not studio.ledger.claim(request.video_id, 1, NOW + timedelta(minutes=1))
    assert studio.ledger.claim(request.video_id, 2, NOW)
    assert studio.ledger.claim(request.video_id, 1, NOW + timedelta(minutes=3))


def test_a_cancelled_request_is_not_wanted_and_its_first_time_stays(studio: Studio) -> None:
    request = studio.request(studio.upload(b"me"))
    studio.ledger.check_wanted(request.video_id)
    assert studio.ledger.cancel(request.video_id, OLD)
    assert studio.ledger.cancel(request.video_id, NOW)
    assert not studio.ledger.cancel("video-20260101-00000000")
    found = studio.ledger.request(request.video_id)
    assert found is not None
    assert found.cancelled_at == OLD
    with pytest.raises(VideoCancelled):
        studio.ledger.check_wanted(request.video_id)
