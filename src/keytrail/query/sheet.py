"""The rows of an answer as CSV, NDJSON or Parquet."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from keytrail.query.export import Form, neutral


def sheet(rows: Sequence[dict[str, Any]], columns: Iterable[str], form: Form) -> bytes:
    """Rows in one of the forms of an export.

    In CSV and Parquet a mapping is a column for each of its names, `earlier.hits`; in CSV a list is JSON, and a text
    that a spreadsheet would run as a formula has an apostrophe in front.

    Args:
        rows: Rows as they are for JSON.
        columns: Columns that are there even without rows, in order.
        form: What the bytes are to be.
    """
    if form is Form.NDJSON:
        return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    flat = [dict(_flat(row, "")) for row in rows]
    names = dict.fromkeys([*columns, *(name for row in flat for name in row)])
    table = pa.table({name: _column([row.get(name) for row in flat], form) for name in names})
    out = io.BytesIO()
    if form is Form.PARQUET:
        pq.write_table(table, out, compression="zstd")
    else:
        safe = pa.table({name: neutral(table.column(name)) for name in table.column_names})
        pyarrow.csv.write_csv(safe, out)
    return out.getvalue()


def _flat(row: dict[str, Any], before: str) -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _column(values: list[Any], form: Form) -> Any:
    if form is Form.CSV:
        values = [msgspec.json.encode(one).decode() if isinstance(one, list) else one for one in values]
    return pa.array(values)
