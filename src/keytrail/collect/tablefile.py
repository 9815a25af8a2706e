"""Files of tables as the lines that an import takes: their rows as JSON records, numbered as the file has them."""

import csv
import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Any, Final, cast

import pyarrow as pa

from keytrail.collect import flat
from keytrail.collect.lines import LONGEST_LINE, Format
from keytrail.collect.textfile import Lines, Readable
from keytrail.errors import FileError

AUTO: Final = "auto"
CSV: Final = "csv"
PARQUET: Final = "parquet"

_PARQUET: Final = b"PAR1"
_AT_ONCE: Final = 256
"""Rows that are made ready at once."""


def open_lines(file: Any, name: str, size: int | None, form: str) -> tuple[Lines, str]:
    """The lines of a file, and the form of the lines.

    Args:
        file: The file as bytes.
        name: Its name, for messages.
        size: Its length in bytes; None if that can't be known.
        form: What it holds: a `Format`'s value, `csv` or `parquet`; `auto` looks at its first bytes.

    Raises:
        FileError: It is not what it is said to be, or plainly something else.
    """
    if form == PARQUET or (form == AUTO and _starts_with(file, _PARQUET)):
        return ParquetLines(file, name, size), Format.NDJSON.value
    if form not in {CSV, AUTO}:
        return Lines(file, name, size), form
    lines = CsvLines(file, name, size, sure=form == CSV)
    return lines, Format.NDJSON.value if lines.is_table else form


def _starts_with(file: Any, magic: bytes) -> bool:
    """Whether a file begins with some bytes; of what comes through a pipe that can't be seen and left there."""
    if not file.seekable():
        return False
    start = file.read(len(magic))
    file.seek(0)
    return bool(start == magic)


class CsvLines(Lines):
    """The rows of a CSV file with a header line, plain or compressed, as JSON records.

    Args:
        file: The file as bytes.
        name: Its name, for messages.
        size: Its length in bytes; None if that can't be known.
        sure: It is CSV; else it is only where its first line names columns of records, and plain lines where not.

    Attributes:
        is_table: Whether it is CSV.
    """

    def __init__(self, file: Readable, name: str, size: int | None = None, *, sure: bool) -> None:
        super().__init__(file, name, size)
        self._ended = False
        self.is_table = sure or flat.is_table(self._header())
        self._rows = flat.csv_rows(self._texts(), name)

    def _header(self) -> list[str]:
        start = self._source.peek(1)
        first, end, _ = start.partition(b"\n")
        try:
            return next(csv.reader([first.decode("utf-8", "replace")]), []) if end else []
        except csv.Error:
            # Longer than any column's name: a record.
            return []

    def _texts(self) -> Iterator[str]:
        while line := self._source.readline(LONGEST_LINE):
            self._ended = line.endswith(b"\n")
            yield line.decode("utf-8", "replace")

    def _read_on(self) -> bool:
        if not self.is_table:
            return super()._read_on()
        while len(self._ready) < _AT_ONCE:
            try:
                found = next(self._rows, None)
            except csv.Error:
                self.broken = "a cell is too long, or it is no CSV from here on"
                break
            self.broken = self.broken or self._file.broken
            if found is None:
                break
            number, line = found
            if self.broken and not self._ended:
                self.rest = line
                break
            self.number = number
            if not self._ended:
                self._unended = [found]
                break
            self._ready.append(found)
        return bool(self._ready)


class ParquetLines(Lines):
    """The rows of a Parquet file as JSON records.

    Args:
        file: The file as bytes.
        name: Its name, for messages.
        size: Its length in bytes; None if that can't be known.

    Raises:
        FileError: It is no Parquet file, or none of records.
    """

    def __init__(self, file: Any, name: str, size: int | None = None) -> None:
        self._kept = ExitStack()
        super().__init__(io.BytesIO(), name, size)
        self._rows = flat.parquet_rows(self._whole(file), name)

    def _whole(self, file: Any) -> IO[bytes]:
        """The file itself, or a copy of what comes through a pipe: its index stands at its end."""
        if file.seekable():
            return cast(IO[bytes], file)
        copy = self._kept.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - closed at the end of the rows
        shutil.copyfileobj(file, copy)
        copy.seek(0)
        return copy

    def _read_on(self) -> bool:
        while len(self._ready) < _AT_ONCE:
            try:
                line = next(self._rows, b"")
            except (pa.ArrowException, OSError, FileError):
                self.broken = "the file is damaged"
                line = b""
            if not line:
                self._kept.close()
                break
            self.number += 1
            self._ready.append((self.number, line))
        return bool(self._ready)
