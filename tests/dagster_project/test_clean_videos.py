"""The job that removes what requested videos leave behind, and the command that shows it before."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
from click.testing import CliRunner

from dagster_project.build_resources import build_resources
from dagster_project.clean_videos import clean_videos_job
from dagster_project.cli import main
from dagster_project.settings import Settings
from resources.studio.lesson_files import LessonFiles
from resources.studio.lessons import LessonLedger, NewLesson
from resources.studio.video_files import VideoFiles


def test_the_job_removes_what_the_command_has_shown(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path / "home"))
    given = build_resources(settings)
    files: VideoFiles = given["video_files"]
    source = tmp_path / "me.mp4"
    source.write_bytes(b"0" * 2_000_000)
    name = files.keep_upload(source, ".mp4").name
    os.utime(tmp_path / "home" / "video_uploads" / name, (0, 0))
    shown = CliRunner().invoke(main, ["video", "clean", "--dry-run"], env={"PODLAKE_HOME": settings.home}).output
    assert shown.splitlines() == [f"upload        2.0 MB  1970-01-01  {name}", "1 files, 2.0 MB would be removed."]
    assert files.has_upload(name)
    needed = {key: given[key] for key in ("lake", "video_ledger", "head_devices", "video_files")}
    with dg.instance_for_test() as instance:
        assert clean_videos_job(settings).execute_in_process(instance=instance, resources=needed).success
    assert not files.has_upload(name)


def test_temporary_files_of_lessons_are_removed_unless_they_are_worked_on(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path / "home"))
    given = build_resources(settings)
    ledger: LessonLedger = given["lesson_ledger"]
    new = NewLesson("Mitosis", "en", "es", "ann")
    waiting, cancelled = (ledger.new_key(new), "lesson-20260101-00000001")
    for key in (waiting, cancelled):
        ledger.add(key, new, "lessons/a.mp4")
    ledger.cancel(cancelled)
    files: LessonFiles = given["lesson_files"]
    made = [files.work(key, "lines/1.wav") for key in (waiting, cancelled)] + [files.work("uploads", "a.mp4")]
    for path in made:
        path.write_bytes(b"0" * 1_000_000)
    for path in (*made, *files.cache.rglob("*")):
        os.utime(path, (0, 0))
    young = files.work("uploads", "b.mp4")
    young.touch()
    shown = CliRunner().invoke(main, ["video", "clean"], env={"PODLAKE_HOME": settings.home}).output
    assert [line.split()[-1] for line in shown.splitlines()[:-1]] == [str(files.cache / cancelled), str(made[2])]
    assert [path.exists() for path in (*made, young)] == [True, False, False, True]
