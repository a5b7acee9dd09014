"""Shared code of the two NeMo engines: import without output, find, identify and load a `.nemo` archive.

A model is a local `.nemo` file or a hub name (`nvidia/parakeet-tdt-0.6b-v3`). Describing an
engine needs neither NeMo nor torch, so that it is fast and a wrong file is refused before the imports.
A model that cannot load raises `EngineUnavailable`.
"""

from __future__ import annotations

import hashlib
import logging
import re
import tarfile
import threading
import warnings
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from speech.engines.hub_cache import cached_commit, hub_cache
from speech.errors import EngineUnavailable

ABSENT = "absent"
"""The revision of a missing model: describing an engine does not need its weights."""

_ENDS_BYTES = 1 << 20
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_LOADING = threading.Lock()
"""NeMo changes the process's working directory while it unpacks an archive."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A `.nemo` file: what its own configuration says."""

    model_class: str
    """Name of the NeMo class, `SortformerEncLabelModel`; empty where the configuration names none."""
    revision: str
    """16 hex digits that change with the configuration and with any weight."""


def model_revision(model: str) -> str:
    """The revision of a model, without loading or downloading it.

    A local archive: a hash (see `_read_archive`). A hub name: the commit of the snapshot in the local
    hub cache, or `hub` before the first download. `absent` if a local file is missing or unreadable.
    """
    if is_hub_name(model):
        return f"{model}@{cached_commit(model) or 'hub'}"
    try:
        return open_archive(model).revision
    except EngineUnavailable:
        return ABSENT


def is_hub_name(model: str) -> bool:
    """Whether `model` is `organisation/name` and not a path."""
    return bool(_HUB_NAME.fullmatch(model)) and not model.endswith(".nemo") and not Path(model).exists()


def open_archive(path: str) -> Archive:
    """Class and revision of a local `.nemo`. Raises `EngineUnavailable` if it does not exist."""
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise EngineUnavailable(
            f"The model {path!r} {what}. Give the path of a .nemo file, or a hub name such as nvidia/parakeet-tdt-0.6b-v3."
        )
    state = file.stat()
    return _read_archive(file, state.st_size, state.st_mtime_ns)


def load_model(model: str, model_class: str, device: str) -> Any:
    """The model, on its device, ready for inference: no dropout, no gradients, no dither.

    `device` is `cpu` or `cuda:N`. Raises `EngineUnavailable`: NeMo is not installed, the weights are
    missing and cannot be downloaded, the archive holds another class, the device is not there.
    """
    if not is_hub_name(model):
        _require_class(model, open_archive(model), model_class)
    models = nemo_models()
    _require_device(device)
    path = _downloaded(model) if is_hub_name(model) else Path(model).expanduser().resolve()
    _require_class(model, open_archive(str(path)), model_class)
    try:
        with _LOADING, warnings.catch_warnings():  # map_location: else NeMo takes cuda:0, whichever device was leased
            warnings.simplefilter("ignore")
            loaded = getattr(models, model_class).restore_from(str(path), map_location="cpu")
    except Exception as error:
        raise EngineUnavailable(
            f"The model {model!r} could not be loaded: {_first_line(error)}. "
            "The file is damaged or was made by a NeMo that differs too much from the installed one: fetch it again."
        ) from error
    return prepared(loaded, device)


def prepared(model: Any, device: str) -> Any:
    """A model made ready for inference on a device: the same audio always gives the same features."""
    model = model.to(device).eval()
    model.freeze()
    model.preprocessor.featurizer.dither = 0.0
    model.preprocessor.featurizer.pad_to = 0
    return model


@cache
def nemo_models() -> ModuleType:
    """NeMo's speech models, imported without output on stderr. Takes about 8 s the first time.

    Raises `EngineUnavailable` where NeMo is not installed.
    """
    logging.getLogger("nv_one_logger").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():  # NeMo replaces warnings.showwarning for the whole process: put back on exit
            warnings.simplefilter("ignore")
            from nemo.collections.asr import models
    except ImportError as missing:
        raise EngineUnavailable(
            f"The engine `nemo` needs NeMo, which is not installed ({_first_line(missing)}): pip install 'podlake[nemo]'"
        ) from missing
    _hush()
    return models


def _hush() -> None:
    """Let NeMo log errors only, and remove two log handlers that keep every record in memory."""
    from nemo.utils import logging as nemo_logging

    nemo_logging.setLevel(logging.ERROR)
    logger = logging.getLogger("nemo_logger")
    for name in ("memory_err", "memory_all"):
        handler = nemo_logging._handlers.pop(name, None)
        if handler is not None:
            logger.removeHandler(handler)


@lru_cache(maxsize=16)
def _read_archive(file: Path, size: int, mtime_ns: int) -> Archive:  # noqa: ARG001 – a changed file is read again
    """Class and revision of an archive; only a part of the weights is read.

    The revision hashes the file's size, the names and sizes of the archive's members, the whole of
    `model_config.yaml`, and the first and last MB of the weights. torch saves weights as a zip archive. Its
    directory is at its end and has a CRC-32 of every tensor, so any other weight gives another revision.
    """
    digest = hashlib.sha256(f"{size}\n".encode())
    model_class = ""
    try:
        with tarfile.open(file, "r:*") as archive:
            members = [member for member in archive if member.isfile()]
            digest.update("".join(f"{member.name} {member.size}\n" for member in members).encode())
            for member in members:
                content = archive.extractfile(member)
                assert content is not None
                if member.name.endswith("model_config.yaml"):
                    config = content.read()
                    digest.update(config)
                    found = re.search(rb"^target: .*?(\w+)\s*$", config, re.MULTILINE)
                    model_class = found[1].decode() if found else ""
                elif member.name.endswith(".ckpt"):
                    digest.update(content.read(_ENDS_BYTES))
                    content.seek(max(0, member.size - _ENDS_BYTES))
                    digest.update(content.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise EngineUnavailable(
            f"The model {str(file)!r} is no .nemo archive ({_first_line(error)}): it is damaged, "
            "a partial download, or another kind of file. Fetch it again."
        ) from error
    return Archive(model_class, digest.hexdigest()[:16])


def _require_class(model: str, archive: Archive, model_class: str) -> None:
    if archive.model_class != model_class:
        raise EngineUnavailable(
            f"The model {model!r} is a {archive.model_class or 'model of no known class'}; this engine needs a "
            f"{model_class}. A diarizer and a transcriber are different models: see PODLAKE_DIARIZER and PODLAKE_TRANSCRIBER."
        )


def _require_device(device: str) -> None:
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        raise EngineUnavailable(
            f"The engine is to run on {device}, but torch {torch.__version__} sees no GPU: "
            "install torch for your CUDA driver, or run on the CPU."
        )


def _downloaded(name: str) -> Path:
    """The archive of a hub name: from the local cache, else from the hub."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    file = f"{name.partition('/')[2]}.nemo"
    cached = try_to_load_from_cache(name, file)
    if isinstance(cached, str):
        return Path(cached)
    try:
        return Path(hf_hub_download(name, file))
    except Exception as error:
        raise EngineUnavailable(
            f"The model {name!r} is not in the local cache ({hub_cache()}) and cannot be fetched from the hub: "
            f"{_first_line(error)}. Check the name and the network, or fetch {file} on a machine that has one "
            f"and give its path instead: nemo:/path/to/{file}"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
