"""A process that makes requested videos until none is left, for `make demo-head` and the tests: several share the work.

It tries a failed video again at once, where the sensor waits a minute.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from dagster_project.build_resources import build_resources
from dagster_project.instance import open_instance
from dagster_project.settings import Settings
from dagster_project.videos import OPEN, run_due_videos, unfinished


def main() -> None:
    settings = Settings()
    given = build_resources(settings)
    lake, ledger, heads = given["lake"], given["video_ledger"], given["head_devices"]
    with open_instance(settings) as instance:
        while any(one.state in OPEN for one in unfinished(instance, lake, ledger, datetime.now(UTC))):
            run_due_videos(instance, lake, ledger, heads, retry_after=timedelta(0))
            time.sleep(0.2)


if __name__ == "__main__":
    main()
