from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.hostile.downloads import quick_downloads, slow_downloads
from bench.hostile.feeds import quick_feeds, slow_feeds
from bench.hostile.server import Case
from bench.hostile.trial import run_trial

Cases = Callable[[], dict[str, Case]]
FEEDS = {
    "301 to a private server", "redirect to a name of this machine", "redirect with a password", "length too long",
    "gzip that is none", "ETag in another script", "401", "429 for a superscript", "entity bomb", "external entities",
    "page that quotes a feed", "a next page on a private server", "path in a guid", "enclosure with a password",
    "password in the texts", "passwords in the details", "passwords in the head",
}  # fmt: skip
DOWNLOADS = {
    "redirect to metadata", "redirect to itself", "redirect with a password", "404", "429 for 10^30 seconds",
    "a range from elsewhere", "a page", "a playlist of HLS", "a list for FFmpeg", "MP4 that names a file", "zeros",
}  # fmt: skip

OUTCOMES = (
    ("audio", "address_refused", 1), ("audio", "http_429", 1), ("audio", "http_4xx", 1), ("audio", "http_not_found", 1),
    ("audio", "network", 1), ("diarization", "not_audio", 6), ("episodes", "address_refused", 2),
    ("episodes", "http_429", 1), ("episodes", "http_4xx", 1), ("episodes", "network", 2), ("episodes", "not_a_feed", 1),
    ("hashes", "not_audio", 6), ("transcript", "not_audio", 6),
)  # fmt: skip


def test_hostile_feeds_and_downloads_cost_themselves_only(tmp_path: Path) -> None:
    feeds, downloads = _only(FEEDS, quick_feeds()), _only(DOWNLOADS, quick_downloads())
    report = run_trial(tmp_path, feeds, downloads)
    assert (report.not_asked, report.bugs, report.forbidden, report.leaks) == ((), (), (), ())
    assert report.outcomes == OUTCOMES


@pytest.mark.parametrize(
    ("cases", "n_cases"), [((quick_feeds, slow_feeds), 72), ((quick_downloads, slow_downloads), 85)]
)
def test_there_are_enough(cases: tuple[Cases, Cases], n_cases: int) -> None:
    quick, slow = (part() for part in cases)
    assert len(quick) + len(slow) >= n_cases
    assert not quick.keys() & slow.keys()


def _only(names: set[str], cases: dict[str, Case]) -> dict[str, Case]:
    assert names <= cases.keys()
    return {name: case for name, case in cases.items() if name in names}
