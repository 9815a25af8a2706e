"""From when on the store has raw rows, rollups, recorded requests, and rollups that came with a later version.

Noted before anything is taken away: whoever reads first and then finds that the beginning has not moved has read all.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import pyarrow as pa

from keytrail.record import Kind
from keytrail.store.client import Engine
from keytrail.store.tables import RETAINED

RAW_ROWS: Final = "raw"
ROLLUP_ROWS: Final = "rollups"
RECORDED: Final = "recorded"
CALLERS: Final = "callers"
"""Sums by caller without endpoints, and those by OAuth client of requests without one: of days whose raw rows were gone
when the store learnt of them, there are none."""
BEGINNING: Final = date(1970, 1, 1)
"""The beginning where nothing was ever taken away."""


def kept_since(engine: Engine, what: str) -> date:
    """The first day (UTC) of which the store has everything that it was given; `BEGINNING` if it has all.

    Args:
        engine: The engine.
        what: `RAW_ROWS`, `ROLLUP_ROWS`, `RECORDED` or `CALLERS`.
    """
    found = engine.query(f"SELECT toDate(max(start)) FROM {RETAINED} WHERE what = {{what:String}}", {"what": what})
    day: date = found.rows[0][0]
    return day


def shown_since(day: date) -> str | None:
    """What `kept_since` gives as JSON has it: None where nothing was ever taken away."""
    return day.isoformat() if day > BEGINNING else None


def note_kept_since(engine: Engine, what: str, day: date) -> None:
    """Note that there is only what is from a day on, before the rest is taken away.

    Args:
        engine: The engine.
        what: `RAW_ROWS`, `ROLLUP_ROWS`, `RECORDED` or `CALLERS`.
        day: The day.
    """
    rows = pa.table(
        {
            "what": [what],
            "start": pa.array([datetime(day.year, day.month, day.day, tzinfo=UTC)], Kind.INSTANT.arrow),
            "noted_at": pa.array([datetime.now(UTC)], Kind.INSTANT.arrow),
        }
    )
    # A name of its own each time: noted twice it is the same, and a name that was logged without its row would lose it.
    engine.insert(RETAINED, rows, uuid.uuid4().hex)


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of a table.

    Attributes:
        table: The table.
        id: Its name for the engine.
        start: Its first day, UTC.
        end: The day after its last.
        rows: Its rows.
        size: Its bytes on disk.
    """

    table: str
    id: str
    start: date
    end: date
    rows: int
    size: int


def partitions(engine: Engine, table: str) -> list[Partition]:
    """The partitions of a table, the oldest first.

    They are days, or months as in rollups and in stores whose raw table was made before it had days.
    """
    found = engine.query(
        f"SELECT partition_id, sum(rows), sum(bytes_on_disk) FROM {engine.layout.system('parts')} "
        "WHERE active AND rows > 0 AND database = currentDatabase() AND table = {table:String} "
        "GROUP BY partition_id ORDER BY partition_id",
        {"table": engine.layout.local(table)},
    )
    return [Partition(table, name, *days_of(name), int(rows), int(size)) for name, rows, size in found.rows]


def month_of(day: date) -> int:
    """The month of a day as YYYYMM, which is also the name of its partition for the engine."""
    return day.year * 100 + day.month


def days_of(partition: str) -> tuple[date, date]:
    """The first day of a partition, given its name for the engine, and the day after its last."""
    month = date(int(partition[:4]), int(partition[4:6]), 1)
    if len(partition) == len("YYYYMM"):
        return month, (month + timedelta(days=31)).replace(day=1)
    start = month.replace(day=int(partition[6:8]))
    return start, start + timedelta(days=1)
