"""Rows of tables (CSV, Parquet) as lines of JSON records, so that they are imported as lines are.

A column is known by its name in the store (as in our exports), in the pump's JSON (`latency.total`), in the gateway's
records (`Latency.Total`), in the pump's CSV (`GeoData.Country.ISOCode`) or in its SQL tables (`responsecode`): case,
dots and underscores do not matter. Others are left out. The same row gives the same line in every version: a file is
found again by its lines.
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
from keytrail.collect.texts import pc
from keytrail.errors import FileError
from keytrail.instants import to_instant
from keytrail.record import FIELDS, Field, Kind, Shape

_NO_LETTER: Final = re.compile(r"[\s._\ufeff]")


def _letters(name: str) -> str:
    return _NO_LETTER.sub("", name).lower()


_PUMP: Final = {"Geo": "GeoData", "Network": "NetworkStats"}
"""Groups of fields that the pump's CSV calls by their types."""
_BY_NAME: Final = {
    _letters(name): field
    for field in reversed(FIELDS)
    for group, _, part in [field.go.partition(".")]
    for name in (field.go, field.json, field.column, f"{_PUMP.get(group, group)}.{part}")
}
_CALENDAR: Final = tuple(to_instant(end.replace(tzinfo=UTC)) for end in (datetime.min, datetime.max))
"""First and last instant that a datetime holds, ms since the epoch."""
_ROWS: Final = 10_000
"""Rows of a Parquet file that are Python objects at one time."""
_NEUTRALISED: Final = re.compile(r"'+[=+\-@\t\r\n]")
_FLAGS: Final = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False, "": False}
"""Ours, the pump's and PostgreSQL's."""
_GO_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(\.\d+)? ([+-]\d\d)(\d\d) ")
"""A time as Go prints one, before the zone's name."""
_NO_VALUE: Final = re.compile(r"<[\w.]+ Value>")
"""What older pumps write of a group or flag: its type, and nothing of what it held."""
_CITY: Final = re.compile(r"([A-Za-z]{2,3}(?:-[A-Za-z]+)?):([^;]*)(?:;|$)")
"""One of a city's names in the pump's CSV: `de:Wien;en:Vienna`."""


def fields_of(header: Sequence[str]) -> list[Field | None]:
    """The field of each column; None where it is none of ours."""
    return [_BY_NAME.get(_letters(name)) for name in header]


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
    try:
        return msgspec.json.encode(record)
    except UnicodeEncodeError:
        # Half a character, as JSON can escape it: it is replaced where the record is read.
        return json.dumps(record).encode()


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
    if _NO_VALUE.fullmatch(text):
        return None
    read = _city if field.shape is Shape.CITY else _OF_TEXT.get(field.kind, _unmarked)
    try:
        return read(text)
    except (ValueError, KeyError, OverflowError, RecursionError):
        return text


def _unmarked(text: str) -> str:
    """Without the apostrophe that an export puts before what a spreadsheet would run."""
    return text[1:] if _NEUTRALISED.match(text) else text


def _whole(text: str) -> int:
    """A whole number; the pump's CSV has all unsigned, so -1 as 2⁶⁴ - 1."""
    number = int(text or "0")
    return number - 2**64 if 2**63 <= number < 2**64 else number


def _finite(text: str) -> float:
    number = _whole(text) if text.isdigit() else float(text or "0")
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _list(text: str) -> Any:
    if text.startswith("["):
        return json.loads(text)
    # The pump's CSV has semicolons, and a tag may hold a comma.
    return [item for item in _unmarked(text).split(";" if ";" in text else ",") if item]


def _city(text: str) -> Any:
    names = dict(_CITY.findall(text))
    return names if names and _CITY.sub("", text) == "" else _unmarked(text)


def _time(text: str) -> str:
    """RFC 3339 of a time as Go prints one (`2020-10-13 13:22:49.667 +0530 IST`); another as it is."""
    if not (found := _GO_TIME.match(text)):
        return text
    day, clock, fraction, hours, minutes = found.groups(default="")
    return f"{day}T{clock}{fraction}{hours}:{minutes}"


_OF_TEXT: Final[dict[Kind, Callable[[str], Any]]] = {
    Kind.INT: _whole,
    Kind.CODE: _whole,
    Kind.FLOAT: _finite,
    Kind.INSTANT: _time,
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
    known = [(column, field) for column in names if (field := _BY_NAME.get(_letters(column)))]
    return _parquet_lines(opened, known)


def _parquet_lines(opened: Any, known: list[tuple[str, Field]]) -> Iterator[bytes]:
    for batch in opened.iter_batches(batch_size=_ROWS, columns=[column for column, _ in known]):
        columns = [_readable(batch.column(column)).to_pylist() for column, _ in known]
        fields = [field for _, field in known]
        for row in zip(*columns, strict=True):
            yield line_of(dict(zip(fields, row, strict=True)))


def _readable(column: Any) -> Any:
    if not pa.types.is_timestamp(column.type):
        return column
    # Python's datetimes hold no nanoseconds, and the store no more than milliseconds.
    instants = column.cast(pa.timestamp("ms", "UTC" if column.type.tz else None), safe=False)
    # What no calendar of theirs has is none.
    numbers, (first, last) = instants.cast(pa.int64()), _CALENDAR
    return pc.if_else(pc.and_(pc.greater_equal(numbers, first), pc.less_equal(numbers, last)), instants, None)
