"""Runs an engine in a process of its own: the worker's side.

    python -m speech.engines.subprocess_worker SLOT '[NAME, MODEL, OPTIONS]' DEVICE

The messages are pickled. It sends `{"ready": spec}` or `{"unavailable": why}`. After `begin` it runs the engine on a stream of recordings: it
sends `{"next": number}` when the engine asks for a recording, and receives one or the end of the stream; it sends
`{"done": number, "result": …, "use": …}` for each result, and `{"over": true}` at the end. An unexpected error ends
the process, as a crash does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from speech.engines import registry
from speech.engines.protocols import EngineChoice
from speech.errors import EngineUnavailable, PodlakeError
from speech.processes import Owner
from speech.types import Recording

LOADERS = {
    "diarizer": registry.load_diarizer,
    "transcriber": registry.load_transcriber,
}


def main(slot: str, choice: str, device: str) -> None:
    owner = Owner()
    try:
        engine: Any = LOADERS[slot](EngineChoice(*json.loads(choice)), device)
        owner.tell({"ready": engine.spec})
        work = engine.diarize if slot == "diarizer" else engine.transcribe
        while owner.receive() is not None:
            for number, result in _numbered(work, owner):
                owner.tell({"done": number, "result": result, "use": engine.device_use()})
            owner.tell({"over": True})
    except EngineUnavailable as unavailable:
        owner.tell({"unavailable": str(unavailable)})


Work = Callable[[Iterable[Recording]], Iterator[tuple[Recording, Any | PodlakeError]]]


def _numbered(work: Work, owner: Owner) -> Iterator[tuple[int, Any]]:
    """The engine's results, each with the number of its recording."""
    held: dict[int, tuple[int, Recording]] = {}

    def asked_for() -> Iterator[Recording]:
        number = 0
        while True:
            owner.tell({"next": number})
            answer = owner.receive()
            if answer is None or answer["recording"] is None:
                return
            fields = answer["recording"]
            recording = Recording(**{**fields, "waveform_path": Path(fields["waveform_path"])})
            held[id(recording)] = number, recording  # an engine returns the same object that it was given
            yield recording
            number += 1

    for recording, result in work(asked_for()):
        number, _ = held.pop(id(recording))
        yield number, result


if __name__ == "__main__":
    main(*sys.argv[1:])
