"""The reference codecs, against each other and against what gateways wrote."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path

import msgpack
import pytest
from hypothesis import given

from tests.oracle.clock import instant_of
from tests.oracle.records import (
    CAPTURES,
    ZERO_TIME,
    Record,
    from_msgpack,
    from_protobuf,
    read_capture,
    to_json,
    to_msgpack,
    to_protobuf,
)
from tests.oracle.strategies import any_record


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_codecs_keep_captured_records(path: Path) -> None:
    for name, data, record in read_capture(path):
        if name.endswith("_protobuf"):
            assert from_protobuf(to_protobuf(record)) == record
            assert to_protobuf(record) == data
        else:
            assert to_msgpack(record) == data


@given(any_record())
def test_msgpack_round_trip(record: Record) -> None:
    assert from_msgpack(to_msgpack(record)) == replace(record, time_zone="")


@given(any_record())
def test_protobuf_round_trip(record: Record) -> None:
    assert from_protobuf(to_protobuf(record)) == replace(record, latency_gateway=0)


@given(any_record())
def test_forms_agree(record: Record) -> None:
    common = replace(record, time_zone="", latency_gateway=0)
    assert from_msgpack(to_msgpack(common)) == from_protobuf(to_protobuf(common))


@given(any_record())
def test_json_is_one_line_that_tells_the_same(record: Record) -> None:
    line = to_json(record)
    assert "\n" not in line
    told = json.loads(line)
    assert told["path"] == record.path
    assert told["tags"] == list(record.tags)
    assert told["latency"]["gateway"] == record.latency_gateway
    assert told["geo"]["city"]["names"] == dict(record.city_names)
    whole, _, part = told["timestamp"].removesuffix("Z").partition(".")
    second = datetime.combine(date.fromisoformat(whole[:10]), time.fromisoformat(whole[11:]), UTC)
    assert instant_of(second) + int((part or "0").ljust(9, "0")) == record.timestamp


def test_bad_utf8_is_replaced() -> None:
    assert from_msgpack(msgpack.packb({"Path": b"/\xff", "Tags": [b"a\xfe"]}, use_bin_type=False)) == Record(
        path="/\ufffd", tags=("a\ufffd",)
    )
    assert from_protobuf(b"\x1a\x02/\xff\xca\x01\x02a\xfe") == Record(path="/\ufffd", tags=("a\ufffd",))


def test_what_is_missing_is_zero() -> None:
    assert from_msgpack(b"\x80") == from_protobuf(b"") == Record(timestamp=ZERO_TIME)
