"""What real gateways wrote, against the oracle's reading of it by other means."""

import random
from pathlib import Path

import pytest

from keytrail.collect.decode import Wire, wire_of_list
from tests.collect.expected import decode_all, differences, row_of, rows
from tests.oracle.records import CAPTURES, Record, read_capture, to_json, to_msgpack, to_protobuf


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_every_record_is_read_as_the_oracle_reads_it(path: Path) -> None:
    captured = read_capture(path)
    assert captured
    (wire,) = {wire_of_list(name) for name, _, _ in captured}
    found = rows([data for _, data, _ in captured], wire)
    faults = [differences(row, row_of(record)) for row, (_, _, record) in zip(found, captured, strict=True)]
    assert [fault for fault in faults if fault] == []


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_a_capture_is_the_same_in_every_form(path: Path) -> None:
    records = [record for _, _, record in read_capture(path)]
    expected = [row_of(record) | {"timezone": ""} for record in records]
    assert rows([to_msgpack(record) for record in records], Wire.MSGPACK) == expected
    assert rows([to_json(record).encode() for record in records], Wire.JSON) == expected
    assert rows([to_protobuf(record) for record in records], Wire.PROTOBUF) == list(map(row_of, records))


def test_what_captures_do_not_hold() -> None:
    """These columns are only tested by made-up records; for all others the captures count."""
    records = [record for path in CAPTURES for _, _, record in read_capture(path)]
    never = {name for name in Record.__annotations__ if not any(getattr(record, name) for record in records)}
    newer = {"original_path", "listen_path", "latency_gateway"}
    newer |= {"is_mcp", "mcp_method", "mcp_primitive_type", "mcp_primitive_name"}
    none = {"graphql_errors", "graphql_has_errors", "graphql_variables", "bytes_in", "bytes_out"}
    assert never == newer | none | {"open_connections", "closed_connections"}


@pytest.mark.parametrize("wire", [Wire.MSGPACK, Wire.PROTOBUF])
def test_bad_records_cost_no_good_ones(wire: Wire) -> None:
    picked = [
        (data, record) for path in CAPTURES for name, data, record in read_capture(path) if wire_of_list(name) is wire
    ]
    chance = random.Random(1)
    mixed: list[tuple[bytes, Record | None]] = []
    for data, record in picked:
        mixed.append((data, record))
        if chance.random() < 0.3:
            mixed.append((chance.choice([b"\xc1", data[:-1] + b"\xff\xff", b"\x0a\xff", data + b"\x07"]), None))
    found = decode_all([data for data, _ in mixed], wire)
    assert [rejected.index for rejected in found.rejected] == [n for n, (_, record) in enumerate(mixed) if not record]
    assert found.positions.to_pylist() == [n for n, (_, record) in enumerate(mixed) if record]
    assert found.table.to_pylist() == [row_of(record) for _, record in mixed if record]
