"""`clean_videos`: the daily removal of what requested videos and lessons leave behind, and what it would remove now."""

from datetime import UTC, datetime, timedelta
from functools import partial

import dagster as dg

from dagster_project.build_resources import lesson_files
from dagster_project.instance import database_url
from dagster_project.lessons import OPEN as AT_WORK
from dagster_project.lessons import statuses as lesson_statuses
from dagster_project.settings import Settings
from dagster_project.videos import OPEN, statuses
from resources.lake.lake import Lake
from resources.studio.head_devices import HeadDevices
from resources.studio.lessons import LessonLedger
from resources.studio.request_limits import REMEMBERED
from resources.studio.video_cleanup import Leftover, leftovers, lesson_leftovers, remove
from resources.studio.video_files import VideoFiles
from resources.studio.video_ledger import VideoLedger


def planned_removals(
    instance: dg.DagsterInstance, settings: Settings, lake: Lake, ledger: VideoLedger, heads: HeadDevices,
    files: VideoFiles, now: datetime | None = None,
) -> list[Leftover]:  # fmt: skip
    """What is removed now."""
    now = now or datetime.now(UTC)
    keep = timedelta(days=settings.videos_keep_days)
    requests = ledger.requests(since=now - max(REMEMBERED, keep), most=None)
    unfinished = {one.request.video_id for one in statuses(instance, lake, requests) if one.state in OPEN}
    lessons = LessonLedger(partial(database_url, settings))
    folder = lesson_files(settings, lake.home).cache
    cached = [found for path in folder.glob("lesson-*") if (found := lessons.lesson(path.name))]
    at_work = {one.lesson.lesson_id for one in lesson_statuses(instance, lake, lessons, cached) if one.state in AT_WORK}
    return [
        *leftovers(files, heads, requests, unfinished, keep, now),
        *lesson_leftovers(folder, at_work, now - keep),
    ]  # fmt: skip


def clean_videos_job(settings: Settings) -> dg.JobDefinition:
    @dg.op(name="remove_leftovers_of_videos")
    def remove_leftovers(
        context: dg.OpExecutionContext,
        lake: dg.ResourceParam[Lake],
        video_ledger: dg.ResourceParam[VideoLedger],
        head_devices: dg.ResourceParam[HeadDevices],
        video_files: dg.ResourceParam[VideoFiles],
    ) -> None:
        chosen = planned_removals(context.instance, settings, lake, video_ledger, head_devices, video_files)
        remove(video_files, chosen)
        context.log.info(f"Removed {len(chosen)} files, {sum(one.size_bytes for one in chosen) / 1e6:.1f} MB.")

    @dg.job(
        name="clean_videos",
        description="Removes uploads, temporary files and files on devices of videos and lessons after PODLAKE_VIDEOS_KEEP_DAYS.",
    )
    def clean_videos() -> None:
        remove_leftovers()

    return clean_videos
