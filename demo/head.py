"""`make demo-head`: an audiogram of a minute of the demo's audio, and talking heads on local servers with their faults.

Six requests on three devices; the process that works on the first one is killed in the middle. The servers stand for
fish-speech and HeyGem (`demo.head_servers`), so the finished videos show a test picture.
"""

from __future__ import annotations

import getpass
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from dagster_project.build_resources import build_resources
from dagster_project.instance import open_instance
from dagster_project.settings import Settings
from dagster_project.videos import statuses
from demo.__main__ import out
from demo.head_servers import Pair, devices_setting, head_servers, talking_picture
from resources.lake.tables import TALKING_HEAD_VIDEOS
from resources.studio.video_files import FOLDER
from resources.studio.video_ledger import AskedVideo, VideoLimits
from speech.audiogram.card import PALETTE, SIZES, Card, ShownTurn, ShownWord, layout_of
from speech.audiogram.video import frame_at, write_audiogram
from speech.spoken_turns import SpokenTurn, passage
from speech.stretches import stretch

FOLDER_OF_DEMO = Path(__file__).parent
EPISODE = "a-garden-on-the-roof"
MINUTE_MS = 60_000
VIDEOS = 6
TEXT = "Good morning. The area of a circle is $\\pi r^2$. Today it is -3 degrees, and the train leaves at 10:30."


def main() -> None:
    home = Path(Settings().home).absolute()
    made = home / "demo-head"
    made.mkdir(parents=True, exist_ok=True)
    _audiograms(made)
    with head_servers(made / "devices", 3, work_s=2.0) as pairs:
        _talking_heads(home, made, pairs)


def _audiograms(folder: Path) -> None:
    """The first minute of an episode in each shape, and a frame of each."""
    reference = json.loads((FOLDER_OF_DEMO / "reference" / f"{EPISODE}.json").read_text())
    samples = stretch(FOLDER_OF_DEMO / reference["file"], 0, MINUTE_MS)
    names = sorted({turn["speaker"] for turn in reference["turns"]})
    turns = tuple(_shown(turn, PALETTE[names.index(turn["speaker"])]) for turn in reference["turns"])
    card = Card(reference["title"], "The corner table", MINUTE_MS, tuple(turn for turn in turns if turn.words))
    out.print("\n[bold]Audiograms[/] of a minute")
    for shape in SIZES:
        path, started = folder / f"{shape}.mp4", time.monotonic()
        video = write_audiogram(path, card, layout_of(shape), samples)
        took_s = time.monotonic() - started
        frame_at(card, layout_of(shape), samples, 2_000).save(path.with_suffix(".png"))
        out.print(f"  {took_s:5.1f} s  {video.codec}  {path.stat().st_size / 1e6:.1f} MB  {path}", soft_wrap=True)


def _shown(turn: dict[str, Any], colour: str) -> ShownTurn:
    said = passage(SpokenTurn(turn["speaker"], turn["start_ms"], turn["end_ms"], turn["text"]))
    words = (ShownWord(word.text, word.start_ms, word.end_ms) for word in said.words if word.start_ms < MINUTE_MS)
    return ShownTurn(turn["speaker"], colour, tuple(words))


def _talking_heads(home: Path, folder: Path, pairs: list[Pair]) -> None:
    os.environ["PODLAKE_HEAD_DEVICES"], os.environ["PODLAKE_HEAD_POLL_S"] = devices_setting(pairs), "0.1"
    settings = Settings()
    given = build_resources(settings)
    person = folder / "person.mp4"
    person.write_bytes(talking_picture((FOLDER_OF_DEMO / "audio" / f"{EPISODE}.opus").read_bytes()))
    upload = given["video_files"].keep_upload(person, ".mp4").name
    pairs[0].speech.cold = 2
    pairs[0].video.faults = ["lost_end", "ok", "query_error"]
    pairs[1].video.faults = ["locked", "dropped", "fails"]
    pairs[1].speech.faults = ["tiny"]
    ledger, lake, heads = given["video_ledger"], given["lake"], given["head_devices"]
    started, limits = time.monotonic(), VideoLimits(at_once=1_000, per_day=1_000)
    with open_instance(settings) as instance:
        asked = AskedVideo(getpass.getuser(), TEXT, video_upload=upload, wanted="talking_head")
        answers = [ledger.admit(asked, limits, lambda _: [], has_devices=True) for _ in range(VIDEOS)]
        wanted = [answer.video_id for answer in answers if answer.video_id]
        _work(pairs)
        found = statuses(instance, lake, [one for one in map(ledger.request, wanted) if one])
    rows = [row for video_id in wanted for row in lake.rows(TALKING_HEAD_VIDEOS, video_id)]
    out.print(f"\n[bold]Talking heads[/] on local servers: {VIDEOS} requests, 3 devices, the first process killed")
    out.print(f"  {dict(Counter(one.state for one in found))} after {time.monotonic() - started:.0f} s")
    for row in rows:
        more = ", resumed after the kill" if row.is_resumed else ""
        out.print(f"  {row.device}  {row.duration_ms / 1000:.1f} s  {home / FOLDER / row.path}{more}", soft_wrap=True)
    leased = [state.device for state in heads.states() if state.video_id is not None]
    out.print(f"  devices that are still leased: {', '.join(leased) or 'none'}")
    out.print(
        f"  tasks that the servers took: {sum(len(pair.video.submitted) for pair in pairs)}; one of them fails by design"
    )
    if len(rows) != VIDEOS or leased:
        raise SystemExit("Not every request has ended once: podlake video list says why.")


def _work(pairs: list[Pair]) -> None:
    """Kill the first process when a device has its first task; three others go on."""
    command = [sys.executable, "-m", "demo.head_worker"]
    killed = subprocess.Popen(command)
    while killed.poll() is None and not any(pair.video.submitted for pair in pairs):
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    workers = [subprocess.Popen(command) for _ in range(3)]
    for worker in workers:
        worker.wait()


if __name__ == "__main__":
    main()
