"""Writes a data set: utterances with their audio, in one of the formats, shard by shard.

The same lake and choice give the same bytes, also if the export was interrupted and continued. Memory does not grow
with the number of utterances: rows are streamed, waveforms are mapped, and a format has some clips at a time.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Collection, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from resources.engines.run_ahead import run_ahead
from resources.exports.card import card, missing_splits
from resources.exports.clips import Clips
from resources.exports.facts import Facts, measure
from resources.exports.folder import CARD, MANIFEST, SOURCES, ExportFolder, Shard, alone
from resources.exports.known import remember
from resources.exports.registry import DATASETS
from resources.exports.rows import ROWS, json_line
from resources.exports.selection import Choice, Selection, Source, select
from resources.fetch.audio_store import AudioStore
from resources.lake.lake import Lake
from resources.lake.tombstones import Tombstones
from resources.lake.warehouse import connect
from speech.clips import CODECS, cut, encode
from speech.errors import PodlakeError
from speech.types import mapped_samples
from speech.waveforms import WaveformCache

VERSION = 1
"""Of what the files contain: raised when the same rows give other bytes."""
CLIPS_AT_ONCE = 64
ENCODERS = 2
AHEAD = 16
"""Pieces of up to `CLIPS_AT_ONCE` utterances whose audio is decoded before it is needed: more than an episode."""


@dataclass(frozen=True)
class Result:
    """A data set that is complete, or a selection of nothing."""

    out: str
    selection: Selection
    facts: Facts
    plan: str
    """Fingerprint of everything that the bytes depend on."""
    missing_splits: tuple[str, ...]
    was_complete: bool
    """The folder had all of it already."""
    continued_shards: int
    """Shards that an interrupted export had written."""
    has_older: bool = False
    """Nothing is selected, and the folder still has an earlier data set, of episodes that are left out now."""


def export_dataset(
    lake: Lake,
    store: AudioStore,
    waveforms: WaveformCache,
    form: str,
    choice: Choice,
    out: str,
    *,
    codec: str = "flac",
    command: str = "",
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Result:
    """Write the data set into the folder `out`, a path or the address of an object store.

    Nothing is written if nothing is selected. `command` is what the user is told to repeat after an episode was
    forgotten. Raises PodlakeError.
    """
    if codec not in CODECS:
        raise PodlakeError(f"There is no audio format {codec}. Choose among: {', '.join(CODECS)}.")
    with tempfile.TemporaryDirectory(prefix="podlake-export-") as temporary, connect(lake.home) as connection:
        selection = select(connection, lake, choice, Path(temporary) / "rows.parquet")
        facts = measure(connection, selection)
        plan = _plan(form, codec, choice, selection)
        missing = tuple(missing_splits(choice, facts))
        if not selection.n_utterances:
            older = ExportFolder(out).is_export()
            return Result(out, selection, facts, plan, missing, was_complete=False, continued_shards=0, has_older=older)
        with alone(out):
            folder = ExportFolder(out)
            if folder.is_complete(plan):
                progress(selection.duration_ms, selection.duration_ms)
                return Result(out, selection, facts, plan, missing, was_complete=True, continued_shards=0)
            remember(lake.home, out, form, command)
            done = folder.done() if folder.begin(plan) else set()
            sources = "".join(_source_line(one) for one in selection.sources)
            folder.write_sources(sources)
            try:
                _write_shards(lake, store, waveforms, form, codec, selection, facts, folder, done, progress)
            except (PodlakeError, OSError):
                _refuse_forgotten(lake, selection, folder)  # the error follows from the removal of the files
                raise
            _refuse_forgotten(lake, selection, folder)
            documents = {
                SOURCES: sources,
                CARD: card(
                    choice, selection, facts,
                    codec=codec, usage=DATASETS[form].USAGE, data_files=DATASETS[form].DATA_FILES,
                ),
                MANIFEST: _manifest(form, codec, choice, selection, facts, plan),
            }  # fmt: skip
            folder.finish(_shard_names(facts), documents)
            _refuse_forgotten(lake, selection, folder)
    return Result(out, selection, facts, plan, missing, was_complete=False, continued_shards=len(done))


def _plan(form: str, codec: str, choice: Choice, selection: Selection) -> str:
    libraries = [(name, version(name)) for name in ("pyarrow", "soundfile", "av", "podlake")]
    sources = [_source_line(one) for one in selection.sources]
    content = (
        VERSION,
        form,
        codec,
        choice,
        selection.fingerprint,
        selection.lake_state,
        selection.excluded,
        libraries,
        sources,
    )
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _source_line(source: Source) -> str:
    published = source.published_at.isoformat() if source.published_at else None
    content = {**asdict(source), "published_at": published}
    for name in ("blocked", "storage_uri", "n_utterances", "duration_ms"):
        del content[name]
    return json_line(content)


def _manifest(form: str, codec: str, choice: Choice, selection: Selection, facts: Facts, plan: str) -> str:
    content = {
        "made_by": f"podlake {version('podlake')}",
        "format": form,
        "plan": plan,
        "lake_state": selection.lake_state,
        "audio": {"codec": codec, "sample_rate_hz": 16_000, "channels": 1},
        "choice": asdict(choice),
        "utterances": selection.n_utterances,
        "duration_ms": selection.duration_ms,
        "feeds": facts.n_feeds,
        "episodes": facts.n_episodes,
        "speakers": facts.n_speakers,
        "groups": selection.n_groups,
        "splits": [asdict(one) for one in facts.splits],
        "languages": [asdict(one) for one in facts.languages],
        "licenses": [asdict(one) for one in facts.licenses],
        "engines": [dict(zip(("stage", "engine", "episodes"), one, strict=True)) for one in facts.engines],
        "excluded": [asdict(one) for one in selection.excluded],
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _shard_names(facts: Facts) -> list[str]:
    return [f"{one.name}-{index:05d}" for one in facts.splits for index in range(facts.n_shards[one.name])]


@dataclass(frozen=True)
class _Piece:
    """Some rows of one shard whose audio is one file."""

    split: str
    shard: int
    rows: pa.Table
    waveform: np.ndarray


def _write_shards(
    lake: Lake,
    store: AudioStore,
    waveforms: WaveformCache,
    form: str,
    codec: str,
    selection: Selection,
    facts: Facts,
    folder: ExportFolder,
    done: Collection[str],
    progress: Callable[[int, int], None],
) -> None:
    done_ms = 0

    def clips(pieces: Iterator[_Piece]) -> Iterator[Clips]:
        nonlocal done_ms
        for piece in pieces:
            yield Clips(piece.rows, tuple(pool.map(lambda samples: encode(samples, codec), _samples(piece))))
            done_ms += sum(piece.rows["duration_ms"].to_pylist())
            progress(done_ms, selection.duration_ms)

    done_ms = _duration_ms(selection.rows, done)
    pieces = _pieces(store, waveforms, selection.rows, done)
    ahead = run_ahead(pieces, name="export-decoding", most=AHEAD)
    with ThreadPoolExecutor(ENCODERS) as pool:
        try:
            for (split, index), group in groupby(ahead, key=lambda piece: (piece.split, piece.shard)):
                _refuse_forgotten(lake, selection, folder)
                shard = Shard(folder.home, split, index, facts.n_shards[split], codec)
                DATASETS[form].write(shard, clips(group))
                folder.record(shard)
        finally:
            ahead.close()


def _pieces(store: AudioStore, waveforms: WaveformCache, path: Path, done: Collection[str]) -> Generator[_Piece]:
    """The rows of the shards that are not done, with their decoded audio."""
    last: tuple[str, np.ndarray] | None = None
    for split, shard, rows in _row_runs(path):
        if f"{split}-{shard:05d}" in done:
            continue
        sha256 = rows["audio_sha256"][0].as_py()
        if last is None or last[0] != sha256:
            source = store.local(rows["storage_uri"][0].as_py())
            with waveforms.using(sha256, source) as (waveform, _):
                last = sha256, mapped_samples(waveform)
        yield _Piece(split, shard, rows.select(ROWS.names), last[1])


def _row_runs(path: Path) -> Iterator[tuple[str, int, pa.Table]]:
    """The rows, cut where split, shard or audio change."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(CLIPS_AT_ONCE):
            table = pa.Table.from_batches([batch])
            places = list(zip(*(table[name].to_pylist() for name in ("split", "shard", "audio_sha256")), strict=True))
            start = 0
            for (split, shard, _), run in groupby(places):
                length = sum(1 for _ in run)
                yield split, shard, table.slice(start, length)
                start += length


def _duration_ms(path: Path, done: Collection[str]) -> int:
    """Of the shards that are done."""
    if not done:
        return 0
    runs = _row_runs(path)
    return sum(sum(rows["duration_ms"].to_pylist()) for split, shard, rows in runs if f"{split}-{shard:05d}" in done)


def _samples(piece: _Piece) -> Iterator[np.ndarray]:
    times = zip(piece.rows["start_ms"].to_pylist(), piece.rows["end_ms"].to_pylist(), strict=True)
    return (cut(piece.waveform, start_ms, end_ms) for start_ms, end_ms in times)


def _refuse_forgotten(lake: Lake, selection: Selection, folder: ExportFolder) -> None:
    """An episode can be forgotten while the export runs: nothing of it may stay."""
    tombstones = Tombstones.read(lake.home)
    for source in selection.sources:
        if tombstones.has(source.feed_id, source):
            folder.clear()
            raise PodlakeError(
                f"{source.episode_id} was forgotten during the export, so its files are removed. Export again."
            )
