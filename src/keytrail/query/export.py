"""Raw rows as CSV, NDJSON or Parquet: piece by piece (`pages.py`), so that memory does not grow with what is asked for.

Rows become bytes in the engine and in Arrow, never one by one in Python.
"""

import io
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet as pq

from keytrail.instants import to_instant
from keytrail.query.kept import all_kept
from keytrail.query.pages import After, Piece, Written, ahead, pages
from keytrail.query.records import Search, joined
from keytrail.record import FIELDS, Field, Kind, Shape
from keytrail.store.client import Engine

# Its stubs know only some of its functions, and those too narrowly.
pc: Any = pyarrow.compute


class Form(Enum):
    """What an export may be."""

    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"


def export(engine: Engine, search: Search, form: Form) -> Iterator[bytes]:
    """The bytes of an export, in pieces; one after the other they are the whole of it.

    Args:
        engine: Where the rows are.
        search: Which are meant.
        form: What the bytes are to be.

    Raises:
        RequestError: Rows are no longer kept; names the day.
        StoreAway: A piece took too long or too much memory.
        StoreError: The engine refused it. What was given before is the beginning of an export and no whole one.
    """
    # Once for all pieces: they are of one directory.
    search = joined(engine, search)
    with all_kept(engine, search.spans):
        if form is Form.NDJSON:
            yield from _ndjson(engine, search)
        else:
            tables = _tables(engine, search, form)
            yield from written(tables, form)


# Columns, for CSV and Parquet.

_EXTRA: Final = ("kind", "code_class", "error_origin", "cut", "batch_id", "seq")
_LISTS: Final = frozenset([field.column for field in FIELDS if field.kind is Kind.NAMES] + ["cut"])
COLUMNS: Final = (*(field.column for field in FIELDS), *_EXTRA)
"""The columns of a CSV or Parquet file: those of the raw table under their own names."""


def _column(name: str, form: Form) -> str:
    if name == "expire_at":
        # The epoch stands for none.
        return "nullIf(expire_at, toDateTime64(0, 3, 'UTC')) AS x_expire_at"
    if name in _LISTS:
        return f"toJSONString({name}) AS x_{name}" if form is Form.CSV else f"CAST({name}, 'Array(String)') AS x_{name}"
    return name


_ARROW: Final = (
    "output_format_arrow_low_cardinality_as_dictionary = 1, output_format_arrow_string_as_string = 1, "
    "output_format_arrow_compression_method = 'none'"
)
_NAMES: Final = pa.dictionary(pa.int32(), pa.string())


def _tables(engine: Engine, search: Search, form: Form) -> Iterator[pa.Table]:
    """The pieces; at least one, without rows if there are none."""

    def shape(answer: bytes) -> Piece[pa.Table]:
        with pa.ipc.open_file(pa.BufferReader(answer)) as reader:
            table = reader.read_all().rename_columns(list(COLUMNS)).unify_dictionaries()
        # The engine takes the smallest numbers for a dictionary, other ones in each piece.
        table = table.cast(pa.schema([_plain(field) for field in table.schema]))
        return Piece(table, table.num_rows, lambda: _last_of(table))

    return ahead(pages(engine, search, Written([_column(name, form) for name in COLUMNS], _ARROW, "Arrow"), shape))


def _last_of(table: pa.Table) -> After:
    last = {name: table.column(name)[-1].as_py() for name in ("org_id", "api_key", "batch_id", "seq")}
    return After(time=table.column("time")[-1].value, **last)


def _plain(field: Any) -> Any:
    return pa.field(field.name, _NAMES if pa.types.is_dictionary(field.type) else field.type, nullable=True)


def written(tables: Iterator[pa.Table], form: Form) -> Iterator[bytes]:
    """Tables of one schema, at least one, as the bytes of a CSV or Parquet file, a piece for each."""
    return _csv(tables) if form is Form.CSV else _parquet(tables)


def _parquet(tables: Iterator[pa.Table]) -> Iterator[bytes]:
    out = io.BytesIO()
    writer: Any = None
    for table in tables:
        writer = writer or pq.ParquetWriter(out, table.schema, compression="zstd")
        if table.num_rows:
            writer.write_table(table)
        yield _drained(out)
    writer.close()
    yield _drained(out)


def _csv(tables: Iterator[pa.Table]) -> Iterator[bytes]:
    header = True
    for table in tables:
        out = pa.BufferOutputStream()
        safe = pa.table({name: neutral_column(table.column(name)) for name in table.column_names})
        pyarrow.csv.write_csv(safe, out, pyarrow.csv.WriteOptions(include_header=header))
        header = False
        yield out.getvalue().to_pybytes()


def _drained(out: io.BytesIO) -> bytes:
    data = out.getvalue()
    out.seek(0)
    out.truncate()
    return data


FORMULA: Final = "^'*[=+\\-@\t\r\n]"
"""Texts that get an apostrophe in front in CSV: what a spreadsheet would run as a formula, and, so that the apostrophe
can be taken off again, what would look like such a text with one."""


def neutral_column(column: Any) -> Any:
    """A column of which no cell is run as a formula by a spreadsheet."""
    if pa.types.is_dictionary(column.type):
        # Of a dictionary only each name once.
        return pa.chunked_array(
            [
                pa.DictionaryArray.from_arrays(part.indices, _neutral_texts(part.dictionary)).cast(pa.string())
                for part in column.chunks
            ],
            pa.string(),
        )
    return _neutral_texts(column) if pa.types.is_string(column.type) else column


def _neutral_texts(texts: Any) -> Any:
    risky = pc.match_substring_regex(texts, FORMULA)
    if not pc.any(risky).as_py():
        return texts
    return pc.if_else(risky, pc.binary_join_element_wise("'", texts, ""), texts)


# JSON, as the gateway's pump writes it.

_JSON_TYPES: Final = {
    Kind.TEXT: "String",
    Kind.NAME: "String",
    Kind.NAMES: "Array(String)",
    Kind.INT: "Int64",
    Kind.CODE: "Int16",
    Kind.FLOAT: "Float64",
    Kind.FLAG: "Bool",
    Kind.INSTANT: "String",
}
_SHAPES: Final = {
    Shape.CITY: ("if(city = '', map(), map('en', toString(city)))", "Map(String, String)"),
    Shape.ERRORS: ("arrayMap(x -> tuple(toString(x)), graphql_errors)", "Array(Tuple(message String))"),
    Shape.TYPES: (
        "mapFromArrays(arrayDistinct(arrayMap(x -> splitByChar('.', toString(x))[1], graphql_types)) AS x_types, "
        "arrayMap(t -> arrayMap(x -> substring(toString(x), length(t) + 2), "
        "arrayFilter(x -> startsWith(toString(x), concat(t, '.')), graphql_types)), x_types))",
        "Map(String, Array(String))",
    ),
}


def _json_value(field: Field) -> tuple[str, str]:
    """A field's expression and the type that makes the engine write it as JSON records have it."""
    if field.kind is Kind.INSTANT:
        text = f"concat(replaceOne(toString({field.column}), ' ', 'T'), 'Z')"
        if field.column != "time":
            # What the gateway writes where there is none.
            text = f"if({field.column} = toDateTime64(0, 3, 'UTC'), '0001-01-01T00:00:00Z', {text})"
        return text, "String"
    return _SHAPES.get(field.shape) or (field.column, _JSON_TYPES[field.kind])


def _json_columns() -> list[str]:
    tree: dict[str, Any] = {}
    for field in FIELDS:
        *above, name = field.json.split(".")
        branch = tree
        for part in above:
            branch = branch.setdefault(part, {})
        branch[name] = field
    made = []
    for name, inner in tree.items():
        expression, kind = _json_object(inner) if isinstance(inner, dict) else _json_value(inner)
        made.append((name, f"CAST({expression}, '{kind}')"))
    made += [(name, f"CAST({name}, 'Array(String)')" if name in _LISTS else name) for name in _EXTRA]
    return [f"{expression} AS {name}" for name, expression in made]


def _json_object(branch: dict[str, Any]) -> tuple[str, str]:
    parts = [
        (name, *(_json_object(inner) if isinstance(inner, dict) else _json_value(inner)))
        for name, inner in branch.items()
    ]
    expressions = ", ".join(expression for _, expression, _ in parts)
    return f"tuple({expressions})", f"Tuple({', '.join(f'{name} {kind}' for name, _, kind in parts)})"


_JSON: Final = _json_columns()
_JSON_SETTINGS: Final = (
    "output_format_json_quote_64bit_integers = 0, output_format_json_escape_forward_slashes = 0, "
    "output_format_json_named_tuples_as_objects = 1, "
    # The names of JSON records are those of columns with other values.
    "prefer_column_name_to_alias = 1"
)


class _LastLine(msgspec.Struct):
    """What of a line tells where the next piece begins."""

    org_id: str
    api_key: str
    timestamp: datetime
    batch_id: str
    seq: int


_last_line: Final = msgspec.json.Decoder(_LastLine)


def _ndjson(engine: Engine, search: Search) -> Iterator[bytes]:
    def shape(lines: bytes) -> Piece[bytes]:
        return Piece(lines, lines.count(b"\n"), lambda: _last_of_lines(lines))

    return ahead(pages(engine, search, Written(_JSON, _JSON_SETTINGS, "JSONEachRow"), shape))


def _last_of_lines(lines: bytes) -> After:
    last = _last_line.decode(lines[lines.rfind(b"\n", 0, -1) + 1 :])
    return After(last.org_id, last.api_key, to_instant(last.timestamp), last.batch_id, last.seq)
