"""All export formats by name: transcripts, of which each episode has a file, and data sets, a line for each module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Protocol, cast

from resources.exports.clips import Clips
from resources.exports.folder import Shard
from speech.formats.registry import FORMATS as TRANSCRIPTS

__all__ = ["DATASETS", "TRANSCRIPTS", "DatasetFormat", "descriptions"]

_DATASETS = {
    "parquet": "resources.exports.formats.parquet",
    "huggingface": "resources.exports.formats.huggingface",
    "webdataset": "resources.exports.formats.webdataset",
    "nemo": "resources.exports.formats.nemo",
    "nemo-tarred": "resources.exports.formats.nemo_tarred",
    "lhotse": "resources.exports.formats.lhotse",
    "lhotse-shar": "resources.exports.formats.lhotse_shar",
    "jsonl": "resources.exports.formats.jsonl",
}


class DatasetFormat(Protocol):
    """A module of a format of data sets."""

    DATA_FILES: str | None
    """The data files of a `{split}`, if Hugging Face `datasets` can read them."""
    USAGE: str
    """How the data set is read, in Markdown: part of its card."""
    __doc__: str

    def write(self, shard: Shard, clips: Iterable[Clips]) -> None:
        """Write the files of a shard, which depend on the clips alone. Must not keep more than some clips in memory."""


DATASETS: Mapping[str, DatasetFormat] = {
    name: cast("DatasetFormat", import_module(module)) for name, module in _DATASETS.items()
}


def descriptions() -> dict[str, str]:
    """Format → what it is."""
    return {name: (module.__doc__ or "").splitlines()[0] for name, module in {**TRANSCRIPTS, **DATASETS}.items()}
