"""Cells of tables become the values that stood in them, whoever wrote the table."""

import csv
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keytrail.collect.decode import Wire, decode
from keytrail.collect.flat import csv_rows, fields_of, is_table, line_of, of_text, parquet_rows
from keytrail.errors import FileError
from keytrail.query.export import COLUMNS, neutral_column
from keytrail.record import BY_COLUMN, FIELDS, Reason

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.text("'=+-@\t\r\na", max_size=5)


@given(TEXTS)
@example("'=x")
@example("''=x")
@example("'x")
def test_what_was_made_harmless_is_read_as_it_was(text: str) -> None:
    (cell,) = neutral_column(pa.array([text])).to_pylist()
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert of_text(BY_COLUMN["alias"], cell) == text


def records(data: str) -> list[Any]:
    return [json.loads(line) for _, line in csv_rows(iter(data.splitlines(keepends=True)), "x")]


TIME = "2026-11-20T12:00:00Z"


@pytest.mark.parametrize(
    "header",
    [
        "time,api_id,code,latency,tags",
        "timestamp,api_id,response_code,latency.total,tags",
        "TimeStamp,APIID,ResponseCode,Latency.Total,Tags",
    ],
)
def test_columns_by_each_of_their_names(header: str) -> None:
    assert records(f'\ufeff{header},other\n{TIME},a,404,7,"[""x"",""y""]",z\n') == [
        {"timestamp": TIME, "api_id": "a", "response_code": 404, "latency": {"total": 7}, "tags": ["x", "y"]}
    ]


def test_every_column_of_an_export_is_known() -> None:
    known = [field.column for field in fields_of(COLUMNS) if field]
    assert known == [field.column for field in FIELDS]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("", {}), ("a,b", {"tags": ["a", "b"]}), ("[]", {}), ("[1", {"tags": "[1"}), ("'=x,y", {"tags": ["=x", "y"]})],
)
def test_lists(cell: str, expected: dict[str, Any]) -> None:
    assert records(f'time,tags\n{TIME},"{cell}"\n') == [{"timestamp": TIME, **expected}]


@pytest.mark.parametrize("cell", ["x", "1.5.0", "9" * 5000, "nan", "1e999"])
def test_what_is_no_number_stays_what_it_is(cell: str) -> None:
    """So that its record is rejected with the field's name, and not taken for 0."""
    (record,) = records(f"time,code,latitude\n{TIME},{cell},{cell}\n")
    assert (record["response_code"], record["geo"]["location"]["latitude"]) == (cell, cell)


def test_cells_over_several_lines_and_short_rows() -> None:
    found = list(csv_rows(iter(["time,path,alias\n", f'{TIME},"/a\n', 'b"\n', "\n", f"{TIME}\n"]), "x"))
    assert [(number, json.loads(line).get("path")) for number, line in found] == [(3, "/a\nb"), (5, None)]


@pytest.mark.parametrize("header", ["", "a,b", "time", "api_id,code", '{"time":1}'])
def test_what_is_no_table(header: str) -> None:
    assert not is_table(header.split(",")), header
    if header:
        with pytest.raises(FileError, match="names no column time"):
            list(csv_rows(iter([header + "\n", "1,2\n"]), "x"))


def parquet(table: pa.Table) -> list[Any]:
    out = io.BytesIO()
    pq.write_table(table, out)
    out.seek(0)
    return [json.loads(line) for line in parquet_rows(out, "x")]


def test_parquet_of_others() -> None:
    instants = pa.array([1_780_000_000_123_456_789, None], pa.timestamp("ns"))
    table = pa.table({"TimeStamp": instants, "Tags": [["a"], None], "ResponseCode": [200, None], "more": [1, 2]})
    assert parquet(table) == [
        {"timestamp": "2026-05-28T20:26:40.123000+00:00", "tags": ["a"], "response_code": 200},
        {},
    ]
    with pytest.raises(FileError, match="no column time"):
        parquet(pa.table({"a": [1], "b": [2]}))
    with pytest.raises(FileError, match="no Parquet file"):
        list(parquet_rows(io.BytesIO(b"PAR1" + bytes(100)), "x"))


def test_an_instant_that_no_calendar_has_does_not_take_the_others_along() -> None:
    # The third is the gateway's zero time, which has a line of its own in files that were imported before.
    numbers = [2**60, 1_780_000_000_123_000, -62_135_596_800_000_000, -(2**60)]
    for zone in ("UTC", "America/New_York", None):
        instants = pa.array(numbers, pa.timestamp("us", zone))
        assert parquet(pa.table({"time": instants, "org_id": list("abcd")})) == [
            {"org_id": "a"},
            {"timestamp": "2026-05-28T20:26:40.123000+00:00", "org_id": "b"},
            {"timestamp": "0001-01-01T00:00:00+00:00", "org_id": "c"},
            {"org_id": "d"},
        ]


def test_a_row_without_values() -> None:
    assert line_of({BY_COLUMN["path"]: "", BY_COLUMN["code"]: None}) == b"{}"


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("tags", "[" * 100_000 + "]" * 100_000, Reason.BAD_FIELD),
        ("latitude", "9" * 400, Reason.BAD_FIELD),
        ("tags", '["half \\ud800 a character"]', None),
    ],
    ids=["nested", "huge", "surrogate"],
)
def test_a_cell_does_not_take_the_others_along(column: str, cell: str, reason: Reason | None) -> None:
    out = io.StringIO()
    csv.writer(out).writerows(
        [["time", "org_id", column], ["2026-01-01T00:00:00Z", "o", cell], ["2026-01-02T00:00:00Z", "o", ""]]
    )
    lines = [line for _, line in csv_rows(iter(out.getvalue().splitlines(keepends=True)), "f")]
    found = decode(lines, Wire.JSON)
    assert [one.reason for one in found.rejected] == ([reason] if reason else [])
    if reason is None:
        assert found.table.column("tags").to_pylist() == [["half \ufffd a character"], []]
