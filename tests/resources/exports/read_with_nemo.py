"""Reads exports with lhotse and NeMo, in their own environment, and prints what they find: `read_with_nemo.py FOLDER`."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import CutSet
from nemo.collections.asr.parts.utils.manifest_utils import read_manifest
from nemo.collections.common.data.lhotse.nemo_adapters import LazyNeMoIterator, LazyNeMoTarredIterator


def main(folder: Path) -> None:
    shards = len(list((folder / "nemo-tarred" / "train").glob("audio_*.tar")))
    nemo = folder / "nemo" / "train_manifest.json"
    tarred = folder / "nemo-tarred" / "train"
    found = {
        "lhotse": CutSet.from_file(folder / "lhotse" / "cuts_train.jsonl").with_recording_path_prefix(
            folder / "lhotse"
        ),
        "lhotse-shar": CutSet.from_shar(in_dir=folder / "lhotse-shar" / "train"),
        "nemo": CutSet(LazyNeMoIterator(str(nemo))),
        "nemo-tarred": CutSet(
            LazyNeMoTarredIterator(
                str(tarred / "tarred_audio_manifest.json"), str(tarred / f"audio__OP_0..{shards - 1}_CL_.tar")
            )
        ),
    }
    read = {name: [_cut(cut) for cut in cuts] for name, cuts in found.items()}
    lines = [(row["text"], row["duration"], row["lang"]) for row in read_manifest(str(nemo))]
    sys.stdout.write(json.dumps({"cuts": read, "lines": lines, "shards": shards}))


def _cut(cut: Any) -> dict[str, Any]:
    (supervision,) = cut.supervisions
    samples = np.round(cut.load_audio()[0] * 32768).astype("<i2")
    return {
        "id": Path(cut.id).stem,
        "text": supervision.text,
        "language": supervision.language,
        "duration": cut.duration,
        "samples": hashlib.sha256(samples.tobytes()).hexdigest(),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
