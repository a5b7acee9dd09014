"""Publishes dubbed lessons: in a folder or an object store, or on Kinescope. Doing it twice publishes once."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pyarrow import fs

from resources.lake.home import Home
from resources.studio.kinescope import Kinescope, Upload, VideoFailed
from resources.studio.lessons import LessonLedger
from speech.errors import NotFound

DEFAULT_FOLDER = "published"
_KINESCOPE = "kinescope:"


@dataclass(frozen=True)
class DubbedFile:
    """What is published."""

    lesson_id: str
    title: str
    course: str | None
    language: str
    video: Path
    sha256: str
    subtitles: tuple[tuple[str, Path], ...]
    """Language → an SRT file."""
    vtt_subtitles: tuple[tuple[str, Path], ...] = ()
    """The same as WebVTT."""


@dataclass(frozen=True)
class Published:
    """Where it is."""

    service: str
    location: str
    """A path, an `s3://` URI, or the page that plays it."""
    video_id: str | None = None


class Publisher(Protocol):
    """A place where dubbed lessons are published."""

    def publish(self, file: DubbedFile) -> Published:
        """Raises a `PodlakeError`; `PublishRefused` for good."""
        ...


@dataclass(frozen=True)
class FolderPublisher:
    """A folder of this machine or a prefix of an object store: `<course>/<lesson>.<language>.mp4`, and its subtitles."""

    uri: str
    """A path, or `s3://bucket/prefix`."""

    def publish(self, file: DubbedFile) -> Published:
        home, folder = Home.at(self.uri), _safe(file.course or "lessons")
        stem = f"{file.lesson_id}.{file.language}"
        for language, path in file.subtitles:
            home.add(path, folder, f"{file.lesson_id}.{language}{path.suffix}")
        name = f"{stem}{file.video.suffix}"
        home.add(file.video, folder, name)  # last: who sees it finds its subtitles
        root = home.root if home.is_local else home.uri
        return Published("folder" if home.is_local else "s3", f"{root}/{folder}/{name}")


@dataclass(frozen=True)
class KinescopePublisher:
    """Kinescope; the ledger knows which upload belongs to which file."""

    service: Kinescope
    ledger: LessonLedger

    def publish(self, file: DubbedFile) -> Published:
        try:
            upload = self._upload(file)
            try:
                video = self.service.wait(upload.video_id)
            except VideoFailed:
                self.ledger.forget_upload(file.lesson_id, file.sha256)
                raise
            for language, path in file.vtt_subtitles:
                self._subtitle(upload.video_id, language, path)
            return Published("kinescope", video.play_link or upload.video_id, upload.video_id)
        finally:
            self.service.close()

    def _upload(self, file: DubbedFile) -> Upload:
        """The upload of this file, complete; the one that an earlier run has begun, if the service still knows it."""
        known = self.ledger.upload(file.lesson_id, file.sha256)
        if known is not None:
            upload = Upload(*known)
            if self._is_received(upload):
                return upload
            with suppress(NotFound):
                self.service.send(upload, file.video)
                return upload
        upload = self.service.begin(file.title, file.video)
        self.ledger.note_upload(file.lesson_id, file.sha256, upload.video_id, upload.endpoint)
        self.service.send(upload, file.video)
        return upload

    def _subtitle(self, video_id: str, language: str, path: Path) -> None:
        """Upload a subtitle file unless it is there. One of ours whose upload was not noted, or an older one, is replaced.

        Ours have the language as their description, so that those that a person has added stay.
        """
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        own = [one for one in self.service.subtitles(video_id) if one.language == one.description == language]
        noted = self.ledger.uploaded_subtitle(video_id, language)
        if noted is not None and noted[1] == sha256 and [one.subtitle_id for one in own] == [noted[0]]:
            return
        for one in own:
            self.service.remove_subtitle(video_id, one.subtitle_id)
        added = self.service.add_subtitle(video_id, language, language, path)
        self.ledger.note_subtitle(video_id, language, added.subtitle_id, sha256)

    def _is_received(self, upload: Upload) -> bool:
        try:
            return self.service.video(upload.video_id).status not in ("pending", "uploading")
        except NotFound:
            return False


def published_files(place: Home, lesson_id: str) -> list[fs.FileInfo]:
    """The files of a lesson in a folder or an object store that `FolderPublisher` has published it to."""
    return [info for info in place.files_below() if info.base_name.startswith(f"{lesson_id}.")]


def publisher(
    target: str, home: Home, ledger: LessonLedger, *, kinescope_url: str, uploader_url: str, token: str
) -> Publisher:
    """`` (the folder `published` of the home), a path, `s3://bucket/prefix`, or `kinescope:<id of a folder>`."""
    if target.startswith(_KINESCOPE):
        service = Kinescope(kinescope_url, uploader_url, token, target.removeprefix(_KINESCOPE))
        return KinescopePublisher(service, ledger)
    if target:
        return FolderPublisher(target)
    return FolderPublisher(f"{home.root if home.is_local else home.uri}/{DEFAULT_FOLDER}")


def _safe(name: str) -> str:
    """As the name of a folder: no separators, and none that hides it."""
    return re.sub(r"[^\w .-]+", "-", name).strip(" .-") or "lessons"
