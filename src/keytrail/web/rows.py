"""Rows of the compatible API: exactly the keys of the Dashboard's rows, in their order, numbers written as Go does.

Graded rules live here and in `compatible_*.py` as named constants; `COMPATIBILITY.md` lists them.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import Any, Final

from keytrail.query.zones import Label, to_moment

Row = dict[str, Any]

NO_HIT: Final = "0001-01-01T00:00:00Z"
"""`last_hit` where there was no hit: Go's zero time."""

METRICS: Final = (
    "hits",
    "success",
    "error",
    "last_hit",
    "request_time",
    "latency",
    "upstream_latency",
    "max_upstream_latency",
    "min_upstream_latency",
    "max_latency",
    "min_latency",
)
"""The numbers of a row, in its order; each is a metric of the catalogue."""

_MEANS: Final = frozenset({"request_time", "latency", "upstream_latency"})

_EMPTY_ID: Final[Mapping[str, Any]] = {
    "day": 0,
    "month": 0,
    "year": 0,
    "hour": 0,
    "code": 0,
    "path": "",
    "key": "",
    "alias": "",
    "url": "",
    "iso_country": "",
    "api_id": "",
    "api_name": "",
}


def rows_schema(extra: Iterable[str] = ()) -> dict[str, Any]:
    """The rows in their envelope as a JSON schema.

    Args:
        extra: Parts of `id` beside the usual ones; each is a text.
    """
    parts = {**_EMPTY_ID, **dict.fromkeys(extra, "")}
    types = {name: {"type": "string" if value == "" else "integer"} for name, value in parts.items()}
    return {
        "type": "object",
        "required": ["data", "pages"],
        "properties": {
            "data": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["id", *METRICS],
                    "properties": {
                        "id": {"type": "object", "required": list(parts), "properties": types},
                        **{name: {"type": "number" if name in _MEANS else "integer"} for name in METRICS},
                        "last_hit": {"type": "string", "format": "date-time"},
                    },
                },
            },
            "pages": {"type": "integer", "minimum": 0},
        },
    }


def shape(numbers: Mapping[str, Any], where: tzinfo, step: Label | None = None, **parts: Any) -> Row:
    """A row.

    Args:
        numbers: Values of `METRICS`; `last_hit` in ms since the epoch. Empty for a step without a hit.
        where: The reporting zone.
        step: The step that the row stands for.
        parts: Parts of `id` that are used.
    """
    date_parts = {"day": step.day, "month": step.month, "year": step.year, "hour": step.hour} if step else {}
    row: Row = {"id": {**_EMPTY_ID, **date_parts, **parts}}
    for name in METRICS:
        value = numbers.get(name, 0)
        if name == "last_hit":
            row[name] = rfc3339(value, where) if numbers else NO_HIT
        elif name in _MEANS:
            row[name] = number(value)
        else:
            row[name] = int(value)
    return row


def number(value: float) -> int | float:
    """A number as Go writes a float64: an integral one without a fraction."""
    return int(value) if float(value).is_integer() else value


def rfc3339(instant: int, where: tzinfo) -> str:
    """An instant in ms as RFC 3339 in a zone, with the shortest sub-second part; an offset of zero is `Z`."""
    moment = to_moment(instant, where)
    text = moment.isoformat(timespec="milliseconds")
    # The offset begins after the milliseconds, which are always three digits here.
    head, offset = text[:23], text[23:]
    head = head[:-4] if head.endswith(".000") else head.rstrip("0")
    return head + ("Z" if offset in {"+00:00", "-00:00"} else offset)


CSV_COLUMNS: Final = (*_EMPTY_ID, *METRICS)
"""Columns of `type=csv`: the parts of `id`, then the numbers, by their names in the JSON rows."""

_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def to_csv(rows: Iterable[Row], extra: Iterable[str] = ()) -> str:
    """Rows as CSV with a header line.

    Args:
        rows: The rows.
        extra: Parts of `id` beside the usual ones, as columns after the others.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    columns = (*CSV_COLUMNS, *extra)
    writer.writerow(columns)
    for row in rows:
        flat = {**row["id"], **row}
        writer.writerow([neutral_cell(flat[name]) for name in columns])
    return out.getvalue()


def neutral_cell(value: Any) -> Any:
    """A cell that no spreadsheet runs as a formula: a text that would be one gets an apostrophe in front."""
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return "'" + value
    return value
