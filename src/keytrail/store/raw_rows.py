"""Where the raw rows of some stretches of time are: in the table, in Parquet files of cold days, or in both.

A day is cold from the moment that a row of `cold_days` says so; nobody else decides. What stands in the table of a cold
day counts only if it is not in the file: records that came later, but not those whose partition was not dropped yet
when the process was killed. So nothing is missing and nothing counts twice, whenever one looks.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pyarrow as pa

from keytrail.instants import midnight
from keytrail.record import Kind
from keytrail.store.client import Engine
from keytrail.store.cold import Bind, Cold, Nowhere
from keytrail.store.kept import Partition, partitions
from keytrail.store.tables import COLD_DAYS, RAW, column_types

COLUMNS: Final = ", ".join(column_types())
ORDER: Final = "org_id, toStartOfHour(time), api_key, time, batch_id, seq"
"""The order of the table, and of files; the identity last, so that rows with the same key and time have one, too."""

ALL_TIME: Final = (0, 2**53)
"""All instants, ms since the epoch."""
_DAY_MS: Final = 86_400_000

_CURRENT: Final = f"""
SELECT day, last.1, last.2, last.3, last.4 FROM (
    SELECT day, argMax((file, rows, size, sha256), generation) AS last FROM {COLD_DAYS} WHERE placed GROUP BY day
) WHERE last.1 != '' ORDER BY day
"""


@dataclass(frozen=True, slots=True)
class ColdDay:
    """A day of raw rows in a file.

    Attributes:
        day: The day, UTC.
        file: The file's name.
        rows: Its rows.
        size: Its bytes.
        sha256: Its SHA-256, hex.
    """

    day: date
    file: str
    rows: int = field(compare=False)
    size: int = field(compare=False)
    sha256: str = field(compare=False)

    @property
    def start(self) -> int:
        """Its first instant, ms since the epoch."""
        return midnight(self.day)


def cold_days(engine: Engine) -> list[ColdDay]:
    """The cold days of a store, the oldest first."""
    return [ColdDay(day, file, rows, size, sha256) for day, file, rows, size, sha256 in engine.query(_CURRENT).rows]


def cold_partitions(engine: Engine) -> list[Partition]:
    """The cold days of a store as if each were a partition of a table, the oldest first."""
    if engine.cold is None:
        return []
    return [
        Partition(COLD_DAYS, f"{one.day:%Y%m%d}", one.day, next_day(one.day), one.rows, one.size)
        for one in cold_days(engine)
    ]


def find_cold(engine: Engine) -> None:
    """Let questions about cold days be refused where the settings do not say where these are."""
    if engine.cold is None and cold_days(engine):
        engine.cold = Nowhere()


class Bound:
    """The bound values of a statement that is no question of somebody."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __call__(self, value: Any, kind: str) -> str:
        """Bind a value and give its placeholder."""
        name = f"cold_{len(self.values)}"
        self.values[name] = value
        return f"{{{name}:{kind}}}"


@dataclass(frozen=True, slots=True)
class RawRows:
    """Where raw rows are.

    Attributes:
        cold: The cold days among those that are asked for.
        files: Where their files are; None where no day is cold.
        late: The table has rows of these days.
        whole: All that is asked for is of cold days.
    """

    cold: tuple[ColdDay, ...] = ()
    files: Cold | None = field(default=None, compare=False)
    late: bool = field(default=False, compare=False)
    whole: bool = field(default=False, compare=False)

    def source(self, bind: Bind) -> str:
        """What follows FROM: a table or a subquery with all columns of the raw table."""
        if not self.cold:
            return RAW
        files = self.files_of(self.cold, bind)
        if self.whole and not self.late:
            return files
        parts = [f"SELECT {COLUMNS} FROM {files}"]
        if not self.whole:
            parts.append(f"SELECT {COLUMNS} FROM {RAW} WHERE {self.hot(bind)}")
        if self.late:
            parts.append(f"SELECT {COLUMNS} FROM {RAW} WHERE {self.came_late(bind)}")
        return f"({' UNION ALL '.join(parts)})"

    def within(self, stretches: Sequence[tuple[int, int]]) -> "RawRows":
        """The same for some stretches of those that were asked for."""
        cold = tuple(one for one in self.cold if _touched(one, stretches))
        if not cold:
            return RawRows()
        return RawRows(cold, self.files, self.late, all(_whole(*stretch, cold) for stretch in stretches))

    def files_of(self, days: Sequence[ColdDay], bind: Bind) -> str:
        """What follows FROM to read the files of some days."""
        if self.files is None:
            raise LookupError("no day is cold")
        return self.files.table([one.file for one in days], bind)

    def hot(self, bind: Bind) -> str:
        """The condition of the table's rows of days that are not cold."""
        return f"NOT ({self._of_cold_days(bind)})" if self.cold else "1"

    def came_late(self, bind: Bind) -> str:
        """The condition of the table's rows of cold days that are not in their files."""
        files = self.files_of(self.cold, bind)
        return f"{self._of_cold_days(bind)} AND (batch_id, seq) NOT IN (SELECT batch_id, seq FROM {files})"

    def of_table(self, bind: Bind) -> str:
        """The condition of the table's rows that count: not those that a day's file has, too."""
        return f"({self.hot(bind)} OR {self.came_late(bind)})" if self.late else "1"

    def _of_cold_days(self, bind: Bind) -> str:
        return f"toDate(time) IN {bind([one.day for one in self.cold], 'Array(Date)')}"


def raw_rows(engine: Engine, stretches: Sequence[tuple[int, int]]) -> RawRows:
    """Where the raw rows of some stretches are.

    Args:
        engine: The engine.
        stretches: Each from an instant until before another, ms since the epoch.
    """
    if engine.cold is None or not stretches:
        return RawRows()
    cold = tuple(one for one in cold_days(engine) if _touched(one, stretches))
    if not cold:
        return RawRows()
    # A partition has several days in stores that were made before raw rows stood in days.
    late = any(part.start <= one.day < part.end for part in partitions(engine, RAW) for one in cold)
    return RawRows(cold, engine.cold, late).within(stretches)


def rows_of_days(engine: Engine, start: date, end: date) -> RawRows:
    """Where the raw rows of the days from one until before another are."""
    return raw_rows(engine, [(midnight(start), midnight(end))])


def _touched(day: ColdDay, stretches: Sequence[tuple[int, int]]) -> bool:
    return any(start < day.start + _DAY_MS and end > day.start for start, end in stretches)


def _whole(start: int, end: int, cold: Sequence[ColdDay]) -> bool:
    """Whether a stretch lies within cold days."""
    reached = start
    for one in cold:
        if one.start <= reached < one.start + _DAY_MS:
            reached = one.start + _DAY_MS
    return reached >= end


def note_days(engine: Engine, days: Sequence[tuple[ColdDay, int]], *, placed: bool) -> None:
    """Note the files of days: that they are going to be written, or that they count from now on.

    Args:
        engine: The engine.
        days: The days and the generation of each; a day without a file is no longer cold.
        placed: They count.
    """
    if not days:
        return
    rows = pa.table(
        {
            "day": pa.array([one.day for one, _ in days], pa.date32()),
            "generation": pa.array([generation for _, generation in days], pa.uint32()),
            "placed": pa.array([placed for _ in days], pa.bool_()),
            "file": [one.file for one, _ in days],
            "rows": pa.array([one.rows for one, _ in days], pa.uint64()),
            "size": pa.array([one.size for one, _ in days], pa.uint64()),
            "sha256": [one.sha256 for one, _ in days],
            "noted_at": pa.array([datetime.now(UTC)] * len(days), Kind.INSTANT.arrow),
        }
    )
    engine.insert(COLD_DAYS, rows, uuid.uuid4().hex)


def next_generation(engine: Engine, day: date) -> int:
    """A number for what is noted next of a day."""
    found = engine.query(f"SELECT max(generation) FROM {COLD_DAYS} WHERE day = {{day:Date}}", {"day": day})
    return int(found.rows[0][0]) + 1


def superseded(engine: Engine) -> set[str]:
    """The names of all files that were ever begun and do not count, or no more."""
    found = engine.query(f"SELECT DISTINCT file FROM {COLD_DAYS} WHERE file != ''")
    return {str(file) for (file,) in found.rows} - {one.file for one in cold_days(engine)}


def next_day(day: date) -> date:
    """The day after."""
    return day + timedelta(days=1)
