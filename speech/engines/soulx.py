"""SoulX-Podcast behind its HTTP API: voices of reference recordings, in Mandarin and English.

`soulx:http://127.0.0.1:8000?reference=/voices/alice.wav&transcript=/voices/alice.txt`; `&api=generate-async` for a
server behind a proxy that ends long requests. Each turn is a request of its own, as [S1] with its speaker's reference:
that gives a file for each turn, and a voice does not drift over a long dialogue.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speech.engines.line_synthesizer import Sound
from speech.engines.protocols import EngineChoice, EngineSpec
from speech.engines.speech_server import SpeechServer, sound_of
from speech.errors import EngineUnavailable, HttpServerError, NetworkError, NotFound
from speech.types import Line

SEED = 1988
"""The seed of the project's own examples, where a script names none."""
LONGEST_TURN_S = 120
LONGEST_TURN_CHARACTERS = LONGEST_TURN_S * 12
"""Slow speech: twelve characters a second."""
REFERENCE_S = (1.0, 60.0)
LARGEST_UPLOAD_BYTES = 100 << 20
TURN_TIMEOUT_S = 1_200.0
"""As long as the server itself works on a request at most."""
POLL_S = 1.0
_BRACKETS = str.maketrans("[]", "()")
"""The server drops what follows a line break or a bracket."""
_SAMPLING = {"temperature": "0.6", "top_k": "100", "top_p": "0.9", "repetition_penalty": "1.25"}


def describe(choice: EngineChoice) -> EngineSpec:
    reference, transcript = (choice.options.get(name, "") for name in ("reference", "transcript"))
    digest = hashlib.sha256()
    for name in (reference, transcript):
        path = Path(name).expanduser()
        digest.update(path.read_bytes() if name and path.is_file() else b"absent")
    return EngineSpec(
        "soulx", choice.options.get("model", "SoulX-Podcast-1.7B"), digest.hexdigest()[:12], _SAMPLING,
        frozenset({"en", "zh"}), longest_turn_characters=LONGEST_TURN_CHARACTERS,
    )  # fmt: skip


def load(choice: EngineChoice, device: str) -> SoulXVoice:  # noqa: ARG001 - the server has the device
    timeout_s = float(choice.options.get("timeout_s", TURN_TIMEOUT_S))
    server = SpeechServer.at(choice.model, engine="soulx", timeout_s=timeout_s)
    api = choice.options.get("api", "generate")
    if api not in ("generate", "generate-async"):
        raise EngineUnavailable(f"soulx has no api={api}: use generate or generate-async.")
    return SoulXVoice(describe(choice), server, *_reference(choice), is_async=api == "generate-async")


@dataclass(frozen=True)
class SoulXVoice:
    spec: EngineSpec
    server: SpeechServer
    reference: Path
    transcript: str
    is_async: bool

    def say(self, line: Line) -> Sound:
        with self.server.leased():
            content = self._from_task(line) if self.is_async else self._ask("/generate", self.transcript, line).content
        return sound_of(content, self.server.url)

    def close(self) -> None:
        self.server.close()

    def _ask(self, path: str, prompt_texts: str, line: Line) -> Any:
        form = {
            **_SAMPLING,
            "prompt_texts": prompt_texts,
            "dialogue_text": f"[S1]{' '.join(line.text.split()).translate(_BRACKETS)}",
            "seed": str(line.seed or SEED),
        }
        files = {"prompt_audio": (self.reference.name, self.reference.read_bytes())}
        return self.server.request("POST", path, data=form, files=files)

    def _from_task(self, line: Line) -> bytes:
        """`/generate-async` takes the transcripts as a JSON array, and gives a task to ask for."""
        task = self._ask("/generate-async", json.dumps([self.transcript]), line).json()["task_id"]
        deadline = time.monotonic() + self.server.timeout_s
        while time.monotonic() < deadline:
            try:
                answer = self.server.request("GET", f"/task/{task}").json()
            except NotFound as error:  # it forgets tasks when it restarts, and after 30 minutes
                raise NetworkError(f"The speech server {self.server.url} has lost the task: {error}") from error
            if answer["status"] == "failed":
                raise HttpServerError(
                    f"The speech server {self.server.url} failed: {answer.get('error') or 'no reason'}"
                )
            if answer["status"] == "completed":
                return bytes(self.server.request("GET", answer["result_url"]).content)
            line.report(line.duration_ms * int(answer.get("progress") or 0) // 100)
            time.sleep(POLL_S)
        raise NetworkError(f"The speech server {self.server.url} did not finish within {self.server.timeout_s:.0f} s.")


def _reference(choice: EngineChoice) -> tuple[Path, str]:
    """The recording of a speaker and what is said in it. Raises `EngineUnavailable`: the server would not say what is wrong."""
    audio, text = (Path(choice.options.get(name, "")).expanduser() for name in ("reference", "transcript"))
    for name, path in (("reference", audio), ("transcript", text)):
        if not choice.options.get(name) or not path.is_file():
            raise EngineUnavailable(
                f"soulx needs a recording of the voice and the exact text that is said in it; {name}={path} is no file. "
                "PODLAKE_VOICES=S1=soulx:http://127.0.0.1:8000?reference=/voices/a.wav&transcript=/voices/a.txt"
            )
    transcript = " ".join(text.read_text(encoding="utf-8").split())
    if not transcript:
        raise EngineUnavailable(f"{text} is empty. Write what is said in {audio}.")
    if audio.stat().st_size > LARGEST_UPLOAD_BYTES:
        raise EngineUnavailable(f"{audio} has more than 100 MB; a reference of about 15 s is best.")
    sound = sound_of(audio.read_bytes(), str(audio))
    duration_s = len(sound.samples) / sound.sample_rate_hz
    if not REFERENCE_S[0] <= duration_s <= REFERENCE_S[1]:
        raise EngineUnavailable(f"{audio} has {duration_s:.1f} s; a reference has 1 to 60 s, and 15 s is best.")
    return audio, transcript
