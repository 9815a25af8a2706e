"""One record in several forms: any record, in any of them, is the same row or rejected for the same reason."""

import json
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keytrail.collect import decode_json, decode_msgpack
from keytrail.collect.analytics_pb2 import AnalyticsRecord
from keytrail.collect.decode import Wire, decode, wire_of_list
from keytrail.record import FIELDS, Kind, Reason, Rejected
from tests.collect.expected import NOW, decode_all, differences, reason_of, row_of, rows
from tests.oracle.clock import instant_of
from tests.oracle.record import SECOND, Record
from tests.oracle.records import to_json, to_msgpack, to_protobuf
from tests.oracle.strategies import any_record

AT = instant_of(NOW)


def go_json(record: Record) -> bytes:
    """JSON by the gateway's own names."""
    told = json.loads(to_json(record))
    wire = msgpack.unpackb(to_msgpack(record)) | {"TimeStamp": told["timestamp"], "ExpireAt": told["expireAt"]}
    return json.dumps(wire).encode()


FORMS = {
    "msgpack": (Wire.MSGPACK, to_msgpack, {"time_zone": ""}),
    "protobuf": (Wire.PROTOBUF, to_protobuf, {"latency_gateway": 0}),
    "json": (Wire.JSON, lambda record: to_json(record).encode(), {"time_zone": ""}),
    "go json": (Wire.JSON, go_json, {"time_zone": ""}),
}
"""Wire, encoder, and what that form can't carry."""


@st.composite
def near_records(draw: st.DrawFn) -> Record:
    """Any record, most often one that has a row."""
    record = draw(any_record())
    if draw(st.integers(0, 9)):
        record = replace(record, timestamp=AT + draw(st.integers(-(10**18) // 2, 86_400 * SECOND + 2)))
    if draw(st.integers(0, 9)):
        record = replace(record, response_code=draw(st.integers(-(2**15) - 1, 2**15)))
    return record


@settings(deadline=None)
@given(st.lists(near_records(), max_size=4))
def test_any_record(records: list[Record]) -> None:
    """In each form at once: to make the records up takes longest."""
    reasons = {n: reason for n, record in enumerate(records) if (reason := reason_of(record))}
    for form, (wire, encode, lost) in FORMS.items():
        found = decode_all(list(map(encode, records)), wire)
        carried = [replace(record, **lost) for record in records]  # type: ignore[arg-type]
        expected = [row_of(record) for record in carried if reason_of(record) is None]
        faults = [differences(*pair) for pair in zip(found.table.to_pylist(), expected, strict=True)]
        assert [fault for fault in faults if fault] == [], form
        assert {rejected.index: rejected.reason for rejected in found.rejected} == reasons, form


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("instant", "reason"),
    [
        (946_684_800 * SECOND, None),
        (946_684_800 * SECOND - 1, Reason.BAD_TIMESTAMP),
        (AT + 86_400 * SECOND - 1, None),
        (AT + 86_400 * SECOND, Reason.BAD_TIMESTAMP),
        (0, Reason.BAD_TIMESTAMP),
        (-62_135_596_800 * SECOND, Reason.BAD_TIMESTAMP),
    ],
)
def test_edges_of_time(form: str, instant: int, reason: Reason | None) -> None:
    wire, encode, _ = FORMS[form]
    blob = encode(Record(timestamp=instant))
    alone = [rejected.reason for rejected in decode_all([blob], wire).rejected]
    assert alone == ([reason] if reason else [])
    # Beside one that is rejected, each row is looked at.
    found = decode_all([encode(Record()), blob], wire)
    assert [rejected.reason for rejected in found.rejected] == [Reason.BAD_TIMESTAMP, *alone]


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_of_many_pieces_keeps_its_order(form: str) -> None:
    wire, encode, _ = FORMS[form]
    # Some pieces have a list, some names and numbers, others nothing at all.
    records = [
        Record(timestamp=AT + n * 10**6, alias=str(n) if n > 700 else "", tags=(f"t{n % 5}",) * (n // 600))
        for n in range(2_300)
    ]
    blobs = [encode(record) if n % 9 else b"\xff" for n, record in enumerate(records)]
    found = decode_all(blobs, wire)
    assert [rejected.index for rejected in found.rejected] == list(range(0, 2_300, 9))
    assert found.table.to_pylist() == [row_of(record) for n, record in enumerate(records) if n % 9]


def test_a_batch_may_hold_json_of_both_names() -> None:
    records = [Record(timestamp=AT, path=f"/{n}", city_names=(("en", "Oslo"),)) for n in range(4)]
    blobs = [go_json(record) if n % 2 else to_json(record).encode() for n, record in enumerate(records)]
    assert rows(blobs, Wire.JSON) == list(map(row_of, records))


def test_fields_have_both_names_of_json_or_none() -> None:
    """On this rests that rows of both forms have the same parts."""
    assert [field.column for field in FIELDS if bool(field.go) != bool(field.json)] == []
    assert [field.column for field in FIELDS if field.go.count(".") != field.json.count(".")] == []
    paths = [(field.go.split("."), field.json.split(".")) for field in FIELDS if field.go]
    above = {(go[n], snake[n]) for go, snake in paths for n in range(len(go) - 1)}
    assert len({go for go, _ in above}) == len({snake for _, snake in above}) == len(above)


def test_fields_are_in_the_protobuf_schema() -> None:
    kinds = {"TEXT": "bytes", "NAME": "bytes", "NAMES": "bytes", "FLAG": "bool", "FLOAT": "double"}
    for field in FIELDS:
        message: Any = AnalyticsRecord.DESCRIPTOR
        for name in field.proto.split(".") if field.proto else ():
            assert name in message.fields_by_name, field.proto
            found = message.fields_by_name[name]
            message = found.message_type
        if field.proto and field.shape.name == "PLAIN":
            names = {number: name[5:].lower() for name, number in vars(type(found)).items() if name[:5] == "TYPE_"}
            expected = kinds.get(field.kind.name, "int")
            assert names[found.type].lstrip("u").startswith(expected), field.proto
            assert found.is_repeated == (field.kind is Kind.NAMES), field.proto


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("analytics-tyk-system-analytics", Wire.MSGPACK),
        ("analytics-tyk-system-analytics_7", Wire.MSGPACK),
        ("analytics-tyk-system-analytics_protobuf", Wire.PROTOBUF),
        ("analytics-tyk-system-analytics_7_protobuf", Wire.PROTOBUF),
        ("protobuf_analytics", Wire.MSGPACK),
    ],
)
def test_wire_of_a_list(name: str, wire: Wire) -> None:
    assert wire_of_list(name) is wire


@settings(deadline=None)
@given(record=any_record())
def test_the_slow_way_reads_what_the_quick_way_reads(record: Record) -> None:
    # Without a time stamp there is nothing to agree on: such a record is looked at by its other names, too.
    record = replace(record, timestamp=AT)
    blobs = (decode_msgpack.READER, to_msgpack(record)), (decode_json.READER, to_json(record).encode())
    for reader, blob in blobs:
        assert reader.columns([reader.mend(blob)])["raw_path"] == (record.raw_path,)
        try:
            quick = reader.read(blob)
        except ValueError:
            # Of a city without an English name: the quick way leaves that to the other.
            assert "en" not in dict(record.city_names)
            continue
        assert reader.columns([quick]) == reader.columns([reader.mend(blob)])


def test_nothing_to_decode() -> None:
    for wire in Wire:
        found = decode_all([], wire)
        assert (found.table.num_rows, found.rejected) == (0, [])


def test_a_record_may_be_as_large_as_allowed() -> None:
    blob = to_msgpack(Record(timestamp=AT))
    assert decode([blob], Wire.MSGPACK, now=NOW, largest=len(blob)).table.num_rows == 1
    found = decode([blob, b"\xc1"], Wire.MSGPACK, now=NOW, largest=len(blob) - 1)
    assert found.rejected[0] == Rejected(0, Reason.TOO_LARGE, f"{len(blob)} bytes")
    assert found.rejected[1].reason is Reason.NOT_A_RECORD
