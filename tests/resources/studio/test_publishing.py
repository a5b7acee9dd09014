"""Dubs are published once: in a folder, and on a server that answers as Kinescope, faults included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.lake.home import Home
from resources.studio import kinescope
from resources.studio.kinescope import Kinescope as Client
from resources.studio.kinescope import VideoFailed
from resources.studio.lesson_files import LessonFiles
from resources.studio.lessons import LessonLedger
from resources.studio.publishing import DubbedFile, FolderPublisher, KinescopePublisher, publisher
from speech.errors import HttpRefused, HttpServerError, NetworkError, PublishRefused, RateLimited, policy_of
from tests.resources.studio.kinescope_server import Kinescope, kinescope_server

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kinescope]:
    monkeypatch.setattr(kinescope, "PART_BYTES", 3_000)
    with kinescope_server() as running:
        yield running


@pytest.fixture
def ledger(tmp_path: Path) -> LessonLedger:
    return LessonLedger(f"sqlite:///{tmp_path}/service.db")


@pytest.fixture
def file(tmp_path: Path) -> DubbedFile:
    video, srt = tmp_path / "dubbed.es.mp4", tmp_path / "subtitles.target.srt"
    video.write_bytes(CONTENT)
    srt.write_text("1\n")
    vtt = {"es": tmp_path / "subtitles.target.vtt", "en": tmp_path / "subtitles.source.vtt"}
    for language, path in vtt.items():
        path.write_text(f"WEBVTT\n\n00:00.000 --> 00:01.000\n{language}\n")
    return DubbedFile(
        "lesson-20261127-00000001", "Фотосинтез", "../biology", "es", video, "ab" * 32, (("es", srt),), tuple(vtt.items())
    )  # fmt: skip


def on(service: Kinescope, ledger: LessonLedger, token: str = "secret") -> KinescopePublisher:
    return KinescopePublisher(Client(service.url, service.url, token, "folder1", sleep=lambda _: None), ledger)


def test_a_folder_gets_the_video_and_its_subtitles(tmp_path: Path, file: DubbedFile) -> None:
    given = publisher(
        "", Home.at(str(tmp_path / "home")), LessonLedger("sqlite://"), kinescope_url="", uploader_url="", token=""
    )
    assert isinstance(given, FolderPublisher)
    first, again = given.publish(file), given.publish(file)
    folder = tmp_path / "home" / "published" / "biology"
    assert first == again
    assert (first.service, first.location) == ("folder", f"{folder}/{file.lesson_id}.es.mp4")
    assert Path(first.location).read_bytes() == CONTENT
    assert sorted(one.name for one in folder.iterdir()) == [f"{file.lesson_id}.es.mp4", f"{file.lesson_id}.es.srt"]


def test_an_object_store_gets_the_same_and_lessons_lie_in_it(s3_home: Home, tmp_path: Path, file: DubbedFile) -> None:
    found = FolderPublisher(f"{s3_home.uri}/out").publish(file)
    name = f"{file.lesson_id}.es"
    assert (found.service, found.location) == ("s3", f"{s3_home.uri}/out/biology/{name}.mp4")
    assert s3_home.read("out", "biology", f"{name}.mp4") == CONTENT
    assert s3_home.names("out", "biology") == [f"{name}.mp4", f"{name}.srt"]
    files = LessonFiles(s3_home, tmp_path / "cache")
    uri = files.add(file.lesson_id, "source.mp4", file.video)
    assert uri == f"lessons/2026/11/{file.lesson_id}/source.mp4"
    assert files.local(uri).read_bytes() == CONTENT
    copy = files.local(files.write(file.lesson_id, "a.srt", b"1"))
    assert copy.read_bytes() == b"1"
    files.forget_work(file.lesson_id)
    assert not copy.exists()


def test_a_video_is_uploaded_in_parts_and_waited_for(
    service: Kinescope, ledger: LessonLedger, file: DubbedFile
) -> None:
    found = on(service, ledger).publish(file)
    assert (found.service, found.video_id, found.location) == ("kinescope", "v1", "https://play.test/v1")
    (video,) = service.videos.values()
    assert (video["title"], video["filename"], video["parent_id"]) == ("Фотосинтез", "dubbed.es.mp4", "folder1")
    assert video["received"] == CONTENT
    assert service.n_parts == 4


def test_publishing_again_makes_no_second_video(service: Kinescope, ledger: LessonLedger, file: DubbedFile) -> None:
    assert on(service, ledger).publish(file) == on(service, ledger).publish(file)
    assert list(service.videos) == ["v1"]
    assert service.n_parts == 4


def test_broken_connections_and_conflicts_are_taken_up_where_the_server_stands(
    service: Kinescope, ledger: LessonLedger, file: DubbedFile
) -> None:
    service.part_faults = ["drop", "conflict", "lost answer", ""]
    on(service, ledger).publish(file)
    assert service.videos["v1"]["received"] == CONTENT


def test_an_interrupted_run_goes_on_with_its_upload(service: Kinescope, ledger: LessonLedger, file: DubbedFile) -> None:
    service.part_faults = ["", *["conflict"] * kinescope.FAILED_PARTS]
    with pytest.raises(NetworkError, match="stands at 3000 of 10240 bytes"):
        on(service, ledger).publish(file)
    on(service, ledger).publish(file)
    assert list(service.videos) == ["v1"]
    assert service.videos["v1"]["received"] == CONTENT


def test_an_upload_that_the_server_forgot_is_begun_again(
    service: Kinescope, ledger: LessonLedger, file: DubbedFile
) -> None:
    service.part_faults = ["conflict"] * kinescope.FAILED_PARTS
    with pytest.raises(NetworkError):
        on(service, ledger).publish(file)
    service.videos["v1"]["known"] = False
    assert on(service, ledger).publish(file).video_id == "v2"


def test_no_money_and_aborted_are_permanent(service: Kinescope, ledger: LessonLedger, file: DubbedFile) -> None:
    service.init_faults = ["no money"]
    with pytest.raises(PublishRefused, match="no money on its account: not enough money") as refused:
        on(service, ledger).publish(file)
    assert not policy_of(refused.value.error_class).retryable
    service.ends = ["aborted"]
    with pytest.raises(PublishRefused, match="aborted the video v1"):
        on(service, ledger).publish(file)


def test_a_video_that_could_not_be_processed_is_uploaded_again(
    service: Kinescope, ledger: LessonLedger, file: DubbedFile
) -> None:
    service.ends = ["error", "done"]
    with pytest.raises(VideoFailed) as failed:
        on(service, ledger).publish(file)
    assert policy_of(failed.value.error_class).retryable
    assert on(service, ledger).publish(file).video_id == "v2"


@pytest.mark.parametrize(("fault", "error"), [("429", RateLimited), ("500", HttpServerError)])
def test_passing_errors_are_tried_again(
    service: Kinescope, ledger: LessonLedger, file: DubbedFile, fault: str, error: type[Exception]
) -> None:
    service.init_faults = [fault]
    with pytest.raises(error) as raised:
        on(service, ledger).publish(file)
    assert getattr(raised.value, "retry_after_s", None) == (3.0 if fault == "429" else None)


def subtitles(service: Kinescope, video_id: str = "v1") -> list[tuple[str, str]]:
    """Description and last line of each."""
    return [(one["description"], one["file"].split()[-1]) for one in service.videos[video_id]["subtitles"]]


def test_subtitles_are_uploaded_when_the_video_is_ready_and_once(
    service: Kinescope, ledger: LessonLedger, file: DubbedFile
) -> None:
    on(service, ledger).publish(file)
    on(service, ledger).publish(file)
    assert subtitles(service) == [("es", "es"), ("en", "en")]
    assert service.n_subtitle_uploads == 2


def test_changed_subtitles_replace_the_old_ones_and_those_of_people_stay(
    service: Kinescope, ledger: LessonLedger, file: DubbedFile
) -> None:
    on(service, ledger).publish(file)
    service.videos["v1"]["subtitles"].append(
        {"id": "x", "language": "es", "description": "For the deaf", "file": "sound"}
    )
    (_, path), _ = file.vtt_subtitles
    path.write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nbetter\n")
    on(service, ledger).publish(file)
    assert sorted(subtitles(service)) == [("For the deaf", "sound"), ("en", "en"), ("es", "better")]
    assert service.n_subtitle_uploads == 3


@pytest.mark.parametrize(
    ("fault", "error"),
    [("429", RateLimited), ("500", HttpServerError), ("lost answer", NetworkError), ("402402", HttpRefused)],
)
def test_the_next_run_goes_on_with_the_subtitles_that_are_missing(
    service: Kinescope, ledger: LessonLedger, file: DubbedFile, fault: str, error: type[Exception]
) -> None:
    service.subtitle_faults = ["", fault]
    with pytest.raises(error):
        on(service, ledger).publish(file)
    assert on(service, ledger).publish(file).video_id == "v1"
    assert subtitles(service) == [("es", "es"), ("en", "en")]
    assert (list(service.videos), service.n_parts, service.n_subtitle_uploads) == (["v1"], 4, 3)


def test_a_subtitle_that_was_removed_there_is_uploaded_again(
    service: Kinescope, ledger: LessonLedger, file: DubbedFile
) -> None:
    on(service, ledger).publish(file)
    service.videos["v1"]["subtitles"].pop()
    on(service, ledger).publish(file)
    assert subtitles(service) == [("es", "es"), ("en", "en")]


def test_a_wrong_token_is_refused(service: Kinescope, ledger: LessonLedger, file: DubbedFile) -> None:
    with pytest.raises(HttpRefused, match="401: unauthorized"):
        on(service, ledger, token="wrong").publish(file)
