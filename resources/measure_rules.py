"""A rule about a measure, a column of a table: at least, at most, or equal. Profiles and tiers consist of such rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from resources.lake.tables.table import Table


@dataclass(frozen=True)
class MeasureRule:
    """What a measure must be. Raises ValueError for one that the table does not have, and for a bound that is no number."""

    table: ClassVar[Table]
    measure: str
    reason: str
    """What is wrong with a row for which it does not hold."""
    min: float | None = None
    max: float | None = None
    equals: bool | None = None
    missing: Literal["keep", "drop"] = "keep"
    """What happens to a row without the measure."""

    def __post_init__(self) -> None:
        if self.measure not in self.table.schema.names:
            raise ValueError(f"The table {self.table.name} has no measure {self.measure}.")
        if any(bound is not None and not math.isfinite(bound) for bound in (self.min, self.max)):
            raise ValueError(f"A bound of {self.measure} is no number.")
