"""Move days of raw rows from the table into Parquet files, and change or drop such files.

A file is announced, written under another name, put in place, compared with what it was made of (rows and a checksum
of all columns), and only then does a row of `cold_days` say that it counts; for that moment nothing is stored. Killed
anywhere, the day is what that row says, and what was left behind is known by its announcement and removed later.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import structlog

from keytrail.errors import StoreError
from keytrail.store.client import Engine
from keytrail.store.cold import PART, STRUCTURE, Cold
from keytrail.store.kept import Partition
from keytrail.store.raw_rows import (
    COLUMNS,
    ORDER,
    Bound,
    ColdDay,
    cold_days,
    next_day,
    next_generation,
    note_days,
    rows_of_days,
    superseded,
)
from keytrail.store.tables import RAW
from keytrail.store.writer import Writer

log = structlog.get_logger("keytrail.store")

ROW_GROUP: Final = 100_000
"""Rows that a file keeps apart from others: fewer cost room, more cost memory, here about 100 MB."""

# One thread, and a sort that spills to the disk: memory does not grow with the day.
_WRITING: Final = (
    f"output_format_parquet_compression_method = 'zstd', output_format_parquet_row_group_size = {ROW_GROUP}, "
    "output_format_parquet_parallel_encoding = 0, engine_file_truncate_on_insert = 1, max_threads = 1, "
    "max_bytes_before_external_sort = 200000000"
)
_AS_LONG_AS_IT_TAKES: Final = {"max_execution_time": 0}
_CONTENT: Final = f"count(), sum(cityHash64({COLUMNS}))"
_OF_DAY: Final = (
    "time >= toDateTime64({day:Date}, 3, 'UTC') AND time < toDateTime64({day:Date}, 3, 'UTC') + INTERVAL 1 DAY"
)
_WHICH: Final = f"SELECT count(), groupBitXor(cityHash64(batch_id, seq)) FROM {RAW} WHERE {_OF_DAY}"


class _NotTheDay(StoreError):
    """A file that was written is not what it was made of."""


@dataclass(frozen=True, slots=True)
class _Moved:
    """A day that was written.

    Attributes:
        cold: The day and its file; None where its file has everything already.
        generation: The generation of the file.
        which: What tells whether the rows in the table are still those that were there before.
    """

    day: date
    cold: ColdDay | None
    generation: int
    which: tuple[Any, ...]


class Cooling:
    """Moves days.

    Args:
        engine: The store's engine, which knows where cold days go.
        writer: The way into it, which waits while a day changes its place.
    """

    def __init__(self, engine: Engine, writer: Writer) -> None:
        self._engine = engine
        self._writer = writer

    @property
    def _cold(self) -> Cold:
        if self._engine.cold is None:
            raise LookupError("the store has no place for cold days")
        return self._engine.cold

    def move(self, part: Partition) -> bool:
        """Write the days of a partition of the raw table into files, and drop it.

        Returns:
            Whether it was done; not if records came for these days meanwhile.

        Raises:
            StoreError: A file could not be written, or is not what it should be; the day stays where it is.
        """
        found = self._engine.query(
            f"SELECT DISTINCT toDate(time) AS day FROM {RAW} WHERE _partition_id = {{partition:String}} ORDER BY day",
            {"partition": part.id},
        )
        moved = [self._write_day(day) for (day,) in found.rows]
        with self._writer.paused():
            if any(self._which(one.day) != one.which for one in moved):
                log.info("records came for a day that was being moved", partition=part.id)
                return False
            note_days(self._engine, [(one.cold, one.generation) for one in moved if one.cold], placed=True)
            self._engine.command(f"{self._engine.layout.alter(RAW)} DROP PARTITION ID '{part.id}'")
        self.tidy()
        return True

    def _write_day(self, day: date) -> _Moved:
        which = self._which(day)
        rows, bound = rows_of_days(self._engine, day, next_day(day)), Bound()
        if rows.cold:
            late = rows.came_late(bound)
            if not self._engine.query(f"SELECT count() FROM {RAW} WHERE {late}", bound.values).rows[0][0]:
                return _Moved(day, None, 0, which)
            bound = Bound()
        selected = f"SELECT {COLUMNS} FROM {rows.source(bound)} WHERE {_OF_DAY}"
        try:
            cold, generation = self.write(day, selected, bound.values | {"day": day})
        except _NotTheDay:
            if self._which(day) == which:
                raise
            # Records came between two looks at it; `move` will see that, too.
            return _Moved(day, None, 0, which)
        return _Moved(day, cold, generation, which)

    def _which(self, day: date) -> tuple[Any, ...]:
        return self._engine.query(_WHICH, {"day": day}).rows[0]

    def write(self, day: date, selected: str, values: dict[str, Any]) -> tuple[ColdDay, int]:
        """Write a file, which does not count yet.

        Args:
            day: The day.
            selected: A statement that gives its rows, with the columns of the raw table.
            values: The bound values of the statement.

        Returns:
            The day and its generation; a day without rows has no file.

        Raises:
            StoreError: It could not be written, or is not what it should be.
        """
        engine, generation = self._engine, next_generation(self._engine, day)
        expected = engine.query(f"SELECT {_CONTENT} FROM ({selected})", values, _AS_LONG_AS_IT_TAKES).rows[0]
        if not expected[0]:
            return ColdDay(day, "", 0, 0, ""), generation
        name = f"{day}.{secrets.token_hex(4)}.parquet"
        note_days(engine, [(ColdDay(day, name, 0, 0, ""), generation)], placed=False)
        bound = {**values, "working": str(self._cold.working(name)), "structure": STRUCTURE}
        # It changes no table, so it must not keep what is stored waiting for the handle that does.
        engine.query(
            f"INSERT INTO FUNCTION file({{working:String}}, 'Parquet', {{structure:String}}) "
            f"{selected} ORDER BY {ORDER} SETTINGS {_WRITING}",
            bound,
            _AS_LONG_AS_IT_TAKES,
        )
        size, sha256 = self._cold.put(name)
        of_file = Bound()
        content = f"SELECT {_CONTENT} FROM {self._cold.table([name], of_file)}"
        written = engine.query(content, of_file.values, _AS_LONG_AS_IT_TAKES).rows[0]
        if written != expected:
            raise _NotTheDay(f"the cold file of {day} has {written[0]} rows that are not the {expected[0]} of the day")
        return ColdDay(day, name, int(expected[0]), size, sha256), generation

    def place(self, day: ColdDay, generation: int) -> None:
        """Let a file that was written count, or none where the day has none."""
        note_days(self._engine, [(day, generation)], placed=True)

    def drop(self, days: Sequence[date]) -> None:
        """Drop cold days, with their files."""
        gone = [(ColdDay(day, "", 0, 0, ""), next_generation(self._engine, day)) for day in days]
        note_days(self._engine, gone, placed=True)
        self.tidy()

    def tidy(self) -> None:
        """Remove the files that do not count: what was replaced, or left behind by a kill."""
        there = self._cold.sizes()
        for name in superseded(self._engine):
            for each in (name, f"{name}{PART}"):
                if each in there:
                    self._cold.remove(each)
        for one in cold_days(self._engine):
            if f"{one.file}{PART}" in there:
                self._cold.remove(f"{one.file}{PART}")
