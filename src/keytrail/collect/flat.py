"""Rows of tables (CSV, Parquet) as lines of JSON records, so that they are imported as lines are.

A column is known by its name in the store (as in our exports), in the pump's JSON (`latency.total`) or in the gateway's
records (`Latency.Total`); others are left out. The same row gives the same line in every version: a file is found
again by its lines.
"""

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from keytrail.collect.lines import LONGEST_LINE
from keytrail.errors import FileError
from keytrail.record import FIELDS, Field, Kind, Shape

_BY_NAME: Final = {name: field for field in reversed(FIELDS) for name in (field.go, field.json, field.column) if name}
_ROWS: Final = 10_000
"""Rows of a Parquet file that are Python objects at one time."""
_NEUTRALISED: Final = re.compile(r"'+[=+\-@\t\r\n]")
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False, "": False}


def fields_of(header: Sequence[str]) -> list[Field | None]:
    """The field of each column; None where it is none of ours."""
    return [_BY_NAME.get(name.strip().removeprefix("\ufeff")) for name in header]


def is_table(header: Sequence[str]) -> bool:
    """Whether a first row names columns of records: their time, and something else."""
    columns = {field.column for field in fields_of(header) if field}
    return "time" in columns and len(columns) > 1


def line_of(values: Mapping[Field, Any]) -> bytes:
    """A row as a JSON record; what has no value is left out."""
    record: dict[str, Any] = {}
    for field, value in values.items():
        if not value:
            # The zero value is what a field has that is not there.
            continue
        *above, name = field.json.split(".")
        branch = record
        for part in above:
            branch = branch.setdefault(part, {})
        branch[name] = _shaped(field, value)
    return msgspec.json.encode(record)


def _shaped(field: Field, value: Any) -> Any:
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat()
    if field.shape is Shape.CITY and isinstance(value, str):
        return {"en": value}
    if field.shape is Shape.ERRORS and isinstance(value, list):
        return [{"message": item} for item in value]
    if field.shape is Shape.TYPES and isinstance(value, list):
        types: dict[str, list[str]] = {}
        for item in value:
            name, _, part = str(item).partition(".")
            types.setdefault(name, []).append(part)
        return types
    return value


def of_text(field: Field, text: str) -> Any:
    """A cell of CSV as a value of a JSON record. What can't be one stays a text, and its record is rejected."""
    read = _OF_TEXT.get(field.kind)
    try:
        return read(text) if read else _unmarked(text)
    except (ValueError, KeyError):
        return text


def _unmarked(text: str) -> str:
    """Without the apostrophe that an export puts before what a spreadsheet would run."""
    return text[1:] if _NEUTRALISED.match(text) else text


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def _list(text: str) -> Any:
    return json.loads(text) if text.startswith("[") else [item for item in _unmarked(text).split(",") if item]


_OF_TEXT: Final[dict[Kind, Callable[[str], Any]]] = {
    Kind.INT: lambda text: int(text or "0"),
    Kind.CODE: lambda text: int(text or "0"),
    Kind.FLOAT: lambda text: _finite(text or "0"),
    Kind.FLAG: lambda text: _FLAGS[text.lower()],
    Kind.NAMES: _list,
}


def csv_rows(lines: Iterator[str], name: str) -> Iterator[tuple[int, bytes]]:
    """The records of CSV with a header line, each with the number of the line in which it ends.

    Args:
        lines: The lines with their ends.
        name: Name of the file, for messages.

    Raises:
        FileError: There is no header with a time.
    """
    csv.field_size_limit(LONGEST_LINE)
    reader = csv.reader(lines, strict=False)
    header = next(reader, [])
    fields = fields_of(header)
    if header and not is_table(header):
        raise FileError(f"{name}: the first line names no column time (or timestamp, TimeStamp) of records")
    for row in reader:
        if row:
            cells = zip(fields, row, strict=False)
            yield reader.line_num, line_of({field: of_text(field, cell) for field, cell in cells if field})


def parquet_rows(file: IO[bytes], name: str) -> Iterator[bytes]:
    """The records of a Parquet file.

    Args:
        file: The file; one can go to any place in it.
        name: Its name, for messages.

    Raises:
        FileError: It is none, or it has no time.
        pa.ArrowException: It is damaged further on.
    """
    try:
        opened = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise FileError(f"{name}: damaged or no Parquet file") from error
    names = opened.schema_arrow.names
    if not is_table(names):
        raise FileError(f"{name}: there is no column time (or timestamp, TimeStamp) of records")
    known = [(column, field) for column in names if (field := _BY_NAME.get(column))]
    return _parquet_lines(opened, known)


def _parquet_lines(opened: Any, known: list[tuple[str, Field]]) -> Iterator[bytes]:
    for batch in opened.iter_batches(batch_size=_ROWS, columns=[column for column, _ in known]):
        columns = [_readable(batch.column(column)).to_pylist() for column, _ in known]
        fields = [field for _, field in known]
        for row in zip(*columns, strict=True):
            yield line_of(dict(zip(fields, row, strict=True)))


def _readable(column: Any) -> Any:
    # Python's datetimes hold no nanoseconds, and the store no more than milliseconds.
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("ms", column.type.tz), safe=False)
    return column
