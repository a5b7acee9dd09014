"""`cloned_speech`: the text with the voice of the reference. An audiogram has the voice of a synthesizer."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pyarrow as pa

from assets.studio.reference_audio import requested
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.engines.voices import FIRST_SPEAKER, Voices
from resources.lake.lake import Lake
from resources.lake.tables.videos import (
    CLONED_SPEECH,
    REFERENCE_AUDIO,
    SPEECH_TEXTS,
    ClonedSpeechRow,
    SpeechTextRow,
)
from resources.studio.filming import PREFIX
from resources.studio.head_devices import HeadDevices, Held
from resources.studio.video_files import VideoFiles
from resources.studio.video_ledger import VideoLedger
from speech.engines.line_synthesizer import Sound, read_wav, write_wav
from speech.errors import BadReference, PodlakeError
from speech.talking_head.fish_speech import joined, pieces, prepare, say
from speech.types import Line

ENGINE = "fish-speech"


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["cloned_speech"].to_pylist()
    shown = {"speech": row["path"], "engine": row["engine"], "speech_s": row["duration_ms"] / 1000}
    return shown if row["device"] is None else {**shown, "device": row["device"]}


@Stage(
    tables=(CLONED_SPEECH,), ui_metadata=_ui_metadata, group="studio", batch_size=1, version="1",
    inputs=("reference_audio", "speech_text"), partition_kind="video", kinds=frozenset({"wav", "parquet"}),
)  # fmt: skip
def cloned_speech(
    batch: Batch, lake: Lake, voices: Voices, head_devices: HeadDevices, video_ledger: VideoLedger, video_files: VideoFiles
) -> Iterator[Outcome]:  # fmt: skip
    """Says the text on a device that the request then keeps for its film. Lengths are checked."""
    studio = _Studio(lake, voices, head_devices, video_ledger, video_files)
    return each(batch.keys, lambda key: studio.speech(key, batch))


class _Studio:
    """What speaks: the devices, and the synthesizers of this machine."""

    def __init__(self, lake: Lake, voices: Voices, heads: HeadDevices, ledger: VideoLedger, files: VideoFiles) -> None:
        self._lake, self._voices, self._heads, self._ledger, self._files = lake, voices, heads, ledger, files

    def speech(self, key: str, batch: Batch) -> Landing:
        self._ledger.check_wanted(key)
        (text,) = batch.rows(self._lake, SPEECH_TEXTS, key)
        (reference,) = batch.rows(self._lake, REFERENCE_AUDIO, key)
        if requested(key, self._ledger).kind == "audiogram":
            return self._synthesized(key, text)
        if reference.path is None:
            raise BadReference(f"{key} has no reference. Materialize `reference_audio` of it again.")
        with self._heads.leased(key, lambda: self._ledger.check_wanted(key), keeps=True) as held:
            return self._cloned(key, text, reference.path, held)

    def _cloned(self, key: str, text: SpeechTextRow, reference_path: str, held: Held) -> Landing:
        started = time.monotonic()

        def goes_on() -> None:
            held.check()
            self._ledger.check_wanted(key)

        device, name = held.device, f"{PREFIX}{key}.wav"
        device.speech_folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._files.local(reference_path), device.speech_folder / name)
        reference = prepare(device, name, text.language, self._heads.patience, goes_on)
        sound = say(device, text.spoken_text, reference, goes_on)
        engine_ms = round(1000 * (time.monotonic() - started))
        return self._landing(
            key, sound, Cost(engine=ENGINE, device=device.name, engine_ms=engine_ms), is_cloned=True,
            reference_text=reference.text, waited_ms=round(1000 * held.waited_s),
        )  # fmt: skip

    def _synthesized(self, key: str, text: SpeechTextRow) -> Landing:
        choice = self._voices.choice_for(FIRST_SPEAKER, text.language)
        parts = pieces(text.spoken_text)
        lines = [
            (choice, Line(key, number, part, self._files.scratch(key, f"{_digest(part)}.wav"), text.language))
            for number, part in enumerate(parts)
        ]
        sounds, engine_ms, spec = [], 0, None
        with closing(self._voices.say(lines)) as coming:
            for said in coming:
                if isinstance(said.result, PodlakeError):
                    raise said.result
                sounds.append(read_wav(said.line.path))
                engine_ms, spec = engine_ms + said.result.engine_ms, said.spec
        assert spec is not None
        cost = Cost(
            engine_fingerprint=spec.fingerprint, engine=spec.name, model=spec.model, device="cpu", engine_ms=engine_ms
        )
        return self._landing(key, joined(sounds), cost, is_cloned=False)

    def _landing(
        self, key: str, sound: Sound, cost: Cost, *, is_cloned: bool, reference_text: str | None = None,
        waited_ms: int = 0,
    ) -> Landing:  # fmt: skip
        local = self._files.scratch(key, "speech.wav")
        write_wav(local, sound)
        row = ClonedSpeechRow(
            is_cloned=is_cloned, engine=cost.engine or "", device=cost.device if is_cloned else None,
            reference_text=reference_text, path=self._files.publish(key, "speech.wav", local),
            sha256=hashlib.sha256(local.read_bytes()).hexdigest(),
            duration_ms=round(1000 * len(sound.samples) / sound.sample_rate_hz), sample_rate_hz=sound.sample_rate_hz,
            waited_ms=waited_ms, engine_ms=cost.engine_ms or 0,
        )  # fmt: skip
        return Landing(key, {"cloned_speech": [row]}, cost)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
