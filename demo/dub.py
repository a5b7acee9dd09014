"""`make demo-dub`: a lesson of a minute with two speakers is dubbed from English to Spanish, offline."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import dagster as dg

from dagster_project.build_resources import build_resources
from dagster_project.instance import open_instance
from dagster_project.lessons import decide, land_decision, run_due, status
from dagster_project.settings import Settings
from demo.__main__ import log_to_console, out
from demo.make_lesson import make_lesson, read_dialogue
from resources.lake.checks import run_checks
from resources.lake.home import Home
from resources.lake.warehouse import ask, connect
from resources.studio.lessons import NewLesson

DIALOGUE = Path(__file__).parent / "dialogues" / "lesson.txt"
TITLE, COURSE = "How plants drink", "demo"
SPANISH = "es.S1=espeak?words_per_minute=170,es.S2=espeak?variant=f2&words_per_minute=170"


def main() -> None:
    """Make a video, dub it with both gates approved, publish it in a folder, and show what came out."""
    if shutil.which("apertium") is None:
        raise SystemExit("The demo translates with Apertium: sudo apt-get install apertium apertium-eng-spa")
    os.environ["PODLAKE_VOICES"] = f"{SPANISH},{Settings().voices}"
    settings = Settings()
    log_to_console()
    given = build_resources(settings)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, open_instance(settings) as instance:
        video = Path(folder) / "lesson.mp4"
        make_lesson(video, read_dialogue(DIALOGUE))
        out.print(f"a lesson of {_duration_s(video):.0f} s is made after {time.monotonic() - started:.0f} s")
        key = _dubbed(instance, given, video)
    _report(given["home"], key, time.monotonic() - started)


def _dubbed(instance: dg.DagsterInstance, given: Mapping[str, Any], video: Path) -> str:
    """What the commands `podlake lesson add`, `podlake lesson run` and `podlake review approve` do."""
    lake, ledger, files = given["lake"], given["lesson_ledger"], given["lesson_files"]
    new = NewLesson(TITLE, "en", "es", "demo", COURSE)
    key: str = ledger.new_key(new)
    ledger.add(key, new, files.add(key, "source.mp4", video))
    for gate in ("content_review", "voiceover_review"):
        run_due(instance, lake, ledger)
        found = status(instance, lake, ledger, key)
        if found.state != gate:
            raise SystemExit(f"{key} is {found.state} at {found.stage}: {found.error}")
        decide(instance, lake, ledger, key, is_approved=True, by="demo", note=None)
        land_decision(instance, key, gate)
    run_due(instance, lake, ledger)
    found = status(instance, lake, ledger, key)
    if found.state != "published":
        raise SystemExit(f"{key} is {found.state} at {found.stage}: {found.error}")
    return key


def _report(home: Home, key: str, took_s: float) -> None:
    with connect(home) as lake:
        lines = ask(lake, LINES, {"id": key})
        ((location, duration_ms, source_ms, share, speed, overflow_ms, heard),) = ask(lake, VIDEO, {"id": key})
        subtitles = ask(lake, SUBTITLES, {"id": key})
        wrong = [row for row in run_checks(lake, partitions=[key]) if row.n_wrong]
    for start_ms, voice, rate, source, target in lines:
        out.print(f"  {start_ms / 1000:5.1f} s  {voice}  ×{rate:.2f}  {source}  →  {target}", soft_wrap=True)
    out.print(
        f"\n[bold]{TITLE}[/] ({key}), {source_ms / 1000:.1f} s, dubbed {duration_ms / 1000:.1f} s, in {took_s:.0f} s"
    )
    out.print(f"  {location}", soft_wrap=True)
    with av.open(location) as file:
        for stream in file.streams:
            codec = stream.codec_context.name if stream.codec_context else "?"
            out.print(f"    {stream.type:9} {codec:9} {stream.metadata.get('language', '')}")
    out.print(
        f"  {share:.0%} of {len(lines)} lines are not stretched, the fastest is ×{speed:.2f}, {overflow_ms} ms too long at most"
    )
    out.print(f"  subtitles: {', '.join(f'{kind} ({n_cues} cues)' for kind, n_cues in subtitles)}")
    out.print(f"  transcribed again: {heard}", soft_wrap=True)
    for row in wrong:
        out.print(f"  {'failed' if row.is_error else 'warning'}: {row.check_name}: {', '.join(row.examples)}")
    if any(row.is_error for row in wrong):
        raise SystemExit("The dub breaks a rule.")


def _duration_s(path: Path) -> float:
    with av.open(str(path)) as file:
        return float(file.duration or 0) / 1_000_000


LINES = """
select placed.start_ms, said.voice, placed.speed, source.text, placed.text
from dub_times placed join dub_lines said using (lesson_id, sentence_idx)
join lesson_sentences source using (lesson_id, sentence_idx)
where lesson_id = $id order by placed.start_ms
"""
VIDEO = """
select published.location, video.duration_ms, video.source_ms, audio.unstretched_share, audio.highest_speed,
    audio.longest_overflow_ms,
    coalesce(format('{:.0f} % of the words differ', 100 * hearing.word_error_rate), hearing.absent_reason)
from published_videos published join dubbed_videos video using (lesson_id) join dub_audio audio using (lesson_id)
join dub_hearings hearing using (lesson_id)
where lesson_id = $id
"""
SUBTITLES = "select kind, n_cues from lesson_subtitles where lesson_id = $id and format = 'srt' order by kind"

if __name__ == "__main__":
    main()
