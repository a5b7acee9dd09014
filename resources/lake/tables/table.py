"""A table of the lake: a dataclass of its rows defines the Arrow schema, the documentation and the typed readers.

A field is a column: `start_ms: Annotated[Int32, "Start."]`. `Annotated[Float32 | None, "…"] = None` may be NULL; only such
columns may be added to a released table. Times on the audio are milliseconds (INT32), moments are UTC.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from datetime import datetime
from functools import cached_property
from operator import attrgetter
from types import NoneType
from typing import Annotated, Any, Generic, TypeVar, cast, get_args, get_origin, get_type_hints

import pyarrow as pa

Row_co = TypeVar("Row_co", covariant=True)

Int16 = Annotated[int, pa.int16()]
Int32 = Annotated[int, pa.int32()]
Int64 = Annotated[int, pa.int64()]
Float32 = Annotated[float, pa.float32()]
_ARROW_TYPES = {
    str: pa.string(), bool: pa.bool_(), float: pa.float64(), bytes: pa.binary(), datetime: pa.timestamp("us", tz="UTC"),
}  # fmt: skip

FILLED: Any = None
"""Default of a column that the batch contract fills when it lands the row."""

EpisodeId = Annotated[str, "The episode, which is its Dagster partition key."]
FeedId = Annotated[str, "The feed."]
AudioSha256 = Annotated[str, "The acquisition (SHA-256 of the bytes) that the row was made from."]
RunId = Annotated[str, "The Dagster run that landed the row."]
LandedAt = Annotated[datetime, "When the row was landed."]


@dataclass(frozen=True)
class Table(Generic[Row_co]):
    """One table of the lake."""

    name: str
    asset: str
    """The only asset that writes it; the batch contract where it says so."""
    key: tuple[str, ...]
    """Primary key."""
    row: type[Row_co]
    """The dataclass of its rows. Its docstring describes the table."""
    landing: tuple[str, ...] = ("episode_id",)
    """The columns that name one landing, and so its file; none: the table is one landing."""

    @property
    def description(self) -> str:
        return inspect.cleandoc(self.row.__doc__ or "")

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema(
            pa.field(name, column.type, nullable=column.nullable, metadata={"description": column.description})
            for name, column in self._columns.items()
        )

    @cached_property
    def filled(self) -> frozenset[str]:
        """The columns that the batch contract may fill: those that a row need not give."""
        row: Any = self.row
        return frozenset(field.name for field in fields(row) if field.default is not MISSING)

    @cached_property
    def _columns(self) -> dict[str, _Column]:
        return _columns(self.row)

    @property
    def is_sealable(self) -> bool:
        """Whether stages commit its landings, so that compaction seals them."""
        return self.name == "stage_runs" or len(self.landing) == 1

    def landing_key(self, *values: str) -> str:
        """The name of a landing: `my-show-20260102-1a2b3c4d`, `my-show-20260102-1a2b3c4d.audio`, `all`."""
        if len(values) != len(self.landing):
            raise ValueError(f"A landing of {self.name} is named by {self.landing}, not by {values}.")
        return ".".join(values) or "all"

    def of(self, rows: Iterable[object], **constants: object) -> pa.Table:
        """Rows as an Arrow table of this schema.

        Each column comes from `constants`, else from the row's attribute (or key) of that name.
        """
        rows = list(rows)
        columns = [
            pa.array([constants[name]] * len(rows) if name in constants else _values(rows, name, column), column.type)
            for name, column in self._columns.items()
        ]
        return pa.Table.from_arrays(columns, schema=self.schema)

    def rows_of(self, rows: pa.Table) -> list[Row_co]:
        """The rows of an Arrow table of this schema, typed."""
        values = [column.loaded(rows[name].to_pylist()) for name, column in self._columns.items()]
        return [self.row(**dict(zip(self._columns, row, strict=True))) for row in zip(*values, strict=True)]

    def conform(self, rows: pa.Table, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows that another version of podlake wrote, in this schema: columns by name, NULL for one that is missing.

        Of `columns` alone, if they are given.
        """
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        if rows.schema.equals(schema):  # as nearly always
            return pa.Table.from_arrays(rows.columns, schema=schema)
        present = frozenset(rows.column_names)
        arrays = [
            rows[field.name].cast(field.type) if field.name in present else pa.nulls(rows.num_rows, field.type)
            for field in schema
        ]
        return pa.Table.from_arrays(arrays, schema=schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedRow:
    """A row that a stage derives from an episode's audio."""

    episode_id: EpisodeId = FILLED
    audio_sha256: AudioSha256 = FILLED
    engine_fingerprint: Annotated[str, "Hash of engine, model revision and settings. Other rows are outdated."] = FILLED
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED


@dataclass(frozen=True)
class _Column:
    """What a field's annotation says."""

    type: pa.DataType
    nullable: bool
    description: str
    load: Callable[[Any], Any] | None
    """Converts a value that Arrow gives to the field's value; None: they are equal."""

    @cached_property
    def is_nested(self) -> bool:
        return pa.types.is_nested(self.type)

    @classmethod
    def of(cls, hint: Any) -> _Column:
        notes: list[object] = []
        nullable = False
        while get_origin(hint) is Annotated or NoneType in get_args(hint):
            if get_origin(hint) is Annotated:
                hint, *more = get_args(hint)
                notes += more
            else:
                (hint,) = (part for part in get_args(hint) if part is not NoneType)
                nullable = True
        kind, load = _type_of(hint)
        kind = next((note for note in notes if isinstance(note, pa.DataType)), kind)
        return cls(kind, nullable, next((note for note in notes if isinstance(note, str)), ""), load)

    def loaded(self, values: list[Any]) -> Iterable[Any]:
        load = self.load
        return [None if value is None else load(value) for value in values] if load else values


def _columns(row: type) -> dict[str, _Column]:
    """Name → column of each field, in order."""
    hints = get_type_hints(row, include_extras=True)
    return {field.name: _Column.of(hints[field.name]) for field in fields(row)}


def _type_of(hint: Any) -> tuple[pa.DataType | None, Callable[[Any], Any] | None]:
    if get_origin(hint) is tuple:
        item = _Column.of(get_args(hint)[0])
        return pa.list_(item.type), lambda items: tuple(item.loaded(items))
    if is_dataclass(hint):
        row: Any = hint
        members = [pa.field(name, column.type) for name, column in _columns(row).items()]
        return pa.struct(members), lambda values: row(**values)
    return _ARROW_TYPES.get(hint), None


def _values(rows: Sequence[object], name: str, column: _Column) -> list[object]:
    """The values of a column, of rows that are all mappings or none. A mapping may lack a column that may be NULL."""
    values: list[Any]
    if rows and isinstance(rows[0], Mapping):
        mappings = cast("Sequence[Mapping[str, object]]", rows)
        values = [row.get(name) if column.nullable else row[name] for row in mappings]
    else:
        values = list(map(attrgetter(name), rows))
    return [None if value is None else _plain(value) for value in values] if column.is_nested else values


def _plain(value: object) -> object:
    """A value as Arrow takes it: a mapping instead of a dataclass."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
