"""A process of workers for `bench.workers`. It imports little, so that many start soon."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread

from resources.engines.routing import Audio, Done
from resources.workers.connection import GatewayConnection, LeaseLost, Machine
from resources.workers.jobs import Lease, Progress
from resources.workers.outcomes import outcome_json
from speech.engines.protocols import EngineSpec
from speech.types import Transcript, Word

SPEC = EngineSpec("toy", "toy", "1")
IDLE_WAIT_S = 5.0
"""As `podlake worker` waits when there is no job."""


def work(url: str, tokens: Sequence[str], engine_s: float) -> None:
    """A worker for each token, until the process is killed."""
    threads = [Thread(target=_worker, args=(url, token, engine_s), daemon=True) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _worker(url: str, token: str, engine_s: float) -> None:
    """What `podlake worker` does with a device, with a pause in place of the engine. It ends with its process."""
    stop = Event()
    connection = GatewayConnection.to(url, token, Machine("host", "1", ("cpu",)), stop)
    with tempfile.TemporaryDirectory() as folder:
        while True:
            lease = connection.claim()
            if lease is None:
                time.sleep(min(IDLE_WAIT_S, 10 * engine_s))
                continue
            path = Path(folder) / lease.job_id
            try:
                connection.fetch_audio(lease, path)
                time.sleep(engine_s * random.uniform(0.5, 1.5))
                if not connection.renew([Progress(lease.job_id, lease.lease_id, 500)]):
                    connection.send(lease, _outcome(lease))
            except LeaseLost:
                pass
            path.unlink(missing_ok=True)


def _outcome(lease: Lease) -> bytes:
    work = lease.work
    audio = Audio(work.episode_id, work.audio_sha256, Path("cached"), work.language)
    result = Transcript((Word(work.episode_id, 0, 400, 0.5),), speech_ms=400, engine_ms=20)
    return outcome_json(Done(audio, result, None, SPEC, "cpu", None, 5, 1000, 0.9), host="host", version="1")
