"""`podlake site`: serves the corpus site, or writes it as files."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pages.episode import EpisodePage
from pages.static_site import write_site
from resources.fetch.audio_store import AudioStore
from resources.lake.warehouse import connect
from resources.search import SearchIndex
from speech.opus_copy import opus_copy

if TYPE_CHECKING:
    from uvicorn import Server


def export_site(store: AudioStore, out: Path, *, audio: str) -> int:
    """Write the site into a folder, with a progress bar. Returns how many episodes it has."""
    from rich.progress import track

    def source(page: EpisodePage) -> str:
        if audio == "copy" and page.audio_uri and store.has(page.audio_uri):
            target = out / "audio" / f"{page.episode_id}.ogg"
            target.parent.mkdir(exist_ok=True)
            if not target.exists():
                fresh = target.with_suffix(".part")
                fresh.write_bytes(opus_copy(store.local(page.audio_uri)))
                fresh.replace(target)
            return f"../audio/{target.name}"
        return "" if audio == "none" else page.audio_url

    with connect(store.home) as connection:
        episodes = write_site(connection, out, audio_src=source)
        return sum(1 for _ in track(episodes.pages, "Episodes", total=episodes.total))


def serve_site(store: AudioStore, index: SearchIndex, *, port: int, ui_url: str, parent: int | None = None) -> None:
    """Serve the site on this machine only, until Ctrl-C; or until the process `parent`, which started it, exits."""
    import uvicorn

    from pages.site import corpus_site

    server = uvicorn.Server(
        uvicorn.Config(corpus_site(store, index, ui_url=ui_url), host="127.0.0.1", port=port, log_level="warning")
    )
    if parent is not None:
        threading.Thread(target=_stop_after, args=(server, parent), daemon=True).start()
    print(f"The corpus site is at http://127.0.0.1:{port}/", flush=True)  # noqa: T201
    server.run()


def _stop_after(server: Server, parent: int) -> None:
    """A process whose parent exits gets another parent."""
    while os.getppid() == parent:
        time.sleep(1)
    server.should_exit = True
