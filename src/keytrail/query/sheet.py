"""The rows of an answer as CSV, NDJSON or Parquet."""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from keytrail.query.catalog import DIMENSIONS, HISTOGRAM, INSTANT, METRICS
from keytrail.query.export import Form, neutral_column, written


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
        safe = pa.table({name: neutral_column(table.column(name)) for name in table.column_names})
        pyarrow.csv.write_csv(safe, out)
    return out.getvalue()


def _flat(row: dict[str, Any], before: str) -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _column(values: list[Any], form: Form, kind: Any = None) -> Any:
    if form is Form.CSV:
        values = [msgspec.json.encode(one).decode() if isinstance(one, list) else one for one in values]
    return pa.array(values, kind)


_ARROW: Final = {"String": pa.string(), "Int64": pa.int64(), "Float64": pa.float64(), "Bool": pa.bool_()}
_BUCKETS: Final = pa.list_(pa.struct([(name, pa.int64()) for name in ("from", "to", "hits")]))


def sheets(pages: Iterator[list[dict[str, Any]]], columns: Sequence[str], form: Form) -> Iterator[bytes]:
    """Pages of rows without nested numbers as one file, a piece for each page.

    Args:
        pages: Rows as they are for JSON; at least one page, which may have none.
        columns: Names of the dimensions and metrics, in order.
        form: What the bytes are to be.
    """
    if form is Form.NDJSON:
        return (sheet(rows, (), form) for rows in pages)
    types = {name: _type(name, form) for name in columns}
    tables = (
        # No page may have types of its own, such as where nothing is known in it.
        pa.table({name: _column([row[name] for row in rows], form, kind) for name, kind in types.items()})
        for rows in pages
    )
    return written(tables, form)


def _type(name: str, form: Form) -> Any:
    if name in DIMENSIONS:
        return _ARROW[DIMENSIONS[name].type]
    metric = METRICS[name]
    if metric.unit == HISTOGRAM:
        return pa.string() if form is Form.CSV else _BUCKETS
    if metric.unit == INSTANT:
        return pa.string()
    return pa.int64() if metric.counts else _ARROW[metric.type]
