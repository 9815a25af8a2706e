"""Whatever the bytes are: nothing raises, and each blob becomes one row or one rejection."""

import gc
import random
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keytrail.collect import decode as module
from keytrail.collect.decode import Wire, decode
from keytrail.collect.reader import Columns, Reader
from keytrail.collect.structs import LONGEST_TYPES
from keytrail.errors import KeytrailError, UsageError
from keytrail.record import Reason, Rejected
from tests.collect.expected import NOW, decode_all, row_of
from tests.collect.test_decode_forms import AT
from tests.oracle.record import Record
from tests.oracle.records import CAPTURES, read_capture, to_json, to_msgpack, to_protobuf

ENCODE: dict[Wire, Callable[[Record], bytes]] = {
    Wire.MSGPACK: to_msgpack,
    Wire.PROTOBUF: to_protobuf,
    Wire.JSON: lambda record: to_json(record).encode(),
}
GOOD = Record(timestamp=AT, path="/good", tags=("a", "b"), city_names=(("en", "Oslo"),))
wires = pytest.mark.parametrize("wire", Wire)


def real(wire: Wire) -> list[bytes]:
    """Some real records, and one that has everything."""
    captured = [record for path in CAPTURES for _, _, record in read_capture(path)[::97]]
    full = Record(
        timestamp=AT,
        graphql_types=(("A", ("x",)),),
        graphql_errors=("no",),
        graphql_root_fields=("f",),
        is_mcp=True,
        original_path="/ö",
        city_names=(("de", "Köln"),),
    )
    return [ENCODE[wire](record) for record in [*captured, full]]


REAL = {wire: real(wire) for wire in Wire}


@wires
@settings(deadline=None)
@given(blobs=st.lists(st.binary(max_size=200), max_size=8))
def test_random_bytes(wire: Wire, blobs: list[bytes]) -> None:
    decode_all(blobs, wire)


@st.composite
def damaged(draw: st.DrawFn, wire: Wire) -> bytes:
    """A real record with some bits flipped, cut, or with bytes of others in it."""
    blob = bytearray(draw(st.sampled_from(REAL[wire])))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(blob) - 1, 0)))
        match draw(st.sampled_from(("flip", "cut", "insert", "splice", "nest", "set"))):
            case "flip" if blob:
                blob[place] ^= 1 << draw(st.integers(0, 7))
            case "set" if blob:
                blob[place] = draw(st.integers(0, 255))
            case "cut":
                del blob[place : place + draw(st.integers(1, len(blob) + 1))]
            case "insert":
                blob[place:place] = draw(st.binary(max_size=9))
            case "splice":
                other = draw(st.sampled_from(REAL[wire]))
                begin = draw(st.integers(0, len(other)))
                blob[place : place + draw(st.integers(0, 20))] = other[begin : begin + draw(st.integers(0, 60))]
            case "nest":
                blob[place:place] = draw(st.sampled_from((b"\x91", b"\x81\xa1a", b"[", b'{"a":'))) * 3_000
    return bytes(blob)


@wires
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_records_cost_no_good_ones(wire: Wire, data: st.DataObject) -> None:
    good = ENCODE[wire](GOOD)
    bad = data.draw(st.lists(damaged(wire), min_size=1, max_size=5))
    blobs = [good, *(each for one in bad for each in (one, good))]
    found = decode_all(blobs, wire)
    rows = dict(zip(found.positions.to_pylist(), found.table.to_pylist(), strict=True))
    assert [rows.get(place) for place in range(0, len(blobs), 2)] == [row_of(GOOD)] * (len(bad) + 1)


@pytest.mark.parametrize("wire", [Wire.MSGPACK, Wire.JSON])
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_both_ways_agree_on_damaged_records(wire: Wire, data: st.DataObject) -> None:
    """What both can read, they read alike. Not each other's limits: depth, or what an ignored field holds."""
    reader: Reader = module._READERS[wire]
    blob = data.draw(damaged(wire))
    try:
        quick, slow = reader.read(blob), reader.mend(blob)
    except Exception:
        return
    # As text, as NaN is not equal to itself.
    assert repr(reader.columns([quick])) == repr(reader.columns([slow]))


def test_most_damage_is_found() -> None:
    """So that the tests above are known to see both outcomes."""
    chance = random.Random(2)
    for wire in Wire:
        blobs = []
        for _ in range(400):
            blob = bytearray(chance.choice(REAL[wire]))
            blob[chance.randrange(len(blob))] ^= 1 << chance.randrange(8)
            blobs.append(bytes(blob))
        found = decode_all(blobs, wire)
        assert 20 < len(found.rejected) < 380


@pytest.mark.parametrize("depth", [10, 300, 900, 1_010, 1_100, 5_000, 1_000_000])
@pytest.mark.parametrize("name", [b"Newer", b"Geo"])
def test_deep_nesting(depth: int, name: bytes) -> None:
    time = b"\xa9TimeStamp\x92\xce" + (AT // 10**9).to_bytes(4) + b"\x00"
    of_lists = b"\x82" + time + bytes([0xA0 + len(name)]) + name + b"\x91" * depth + b"\xc0"
    of_maps = b"\x82" + time + bytes([0xA0 + len(name)]) + name + b"\x81\xa1a" * depth + b"\xc0"
    as_json = b'{"timestamp":"2026-11-23T12:28:31Z","%s":%s%s}' % (name.lower(), b"[" * depth, b"]" * depth)
    as_group = b"\x6a\x06\x08\xef\xee\x8f\xd8\x06" + b"\xfb\x07" * depth + b"\xfc\x07" * depth
    for wire, blob in (
        (Wire.MSGPACK, of_lists),
        (Wire.MSGPACK, of_maps),
        (Wire.JSON, as_json),
        (Wire.PROTOBUF, as_group),
    ):
        found = decode_all([blob, ENCODE[wire](GOOD)], wire)
        assert found.positions.to_pylist()[-1] == 1
        if depth == 1_000_000:
            assert [rejected.reason for rejected in found.rejected] == [Reason.NOT_A_RECORD]


@pytest.mark.parametrize("size", [4, 2**16, 2**31 - 1, 2**32 - 1])
@pytest.mark.parametrize("header", [b"\xdf", b"\xdd", b"\xdb", b"\xc6", b"\xc9"])
@pytest.mark.parametrize("name", ["Tags", "Host", "Geo", "Newer"])
def test_lengths_that_are_not_there(size: int, header: bytes, name: str) -> None:
    blob = b"\x81" + bytes([0xA0 + len(name)]) + name.encode() + header + size.to_bytes(4) + b"\xa1a"
    tracemalloc.start()
    found = decode_all([blob], Wire.MSGPACK)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [rejected.reason for rejected in found.rejected] == [Reason.NOT_A_RECORD]
    assert peak < 4 * 2**20


def test_an_error_that_nobody_thought_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(blob: bytes) -> None:
        raise ZeroDivisionError(blob)

    monkeypatch.setitem(module._READERS, Wire.MSGPACK, Reader(fail, fail, module._READERS[Wire.MSGPACK].columns))
    (rejected,) = decode([b"secret"], Wire.MSGPACK).rejected
    assert (rejected.reason, rejected.detail) == (Reason.NOT_A_RECORD, "unexpected ZeroDivisionError")


def test_a_row_that_no_column_takes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where building columns fails in a way that nobody thought of, the other rows are stored."""
    reader = module._READERS[Wire.MSGPACK]

    def columns(rows: Sequence[Any]) -> Columns:
        found = reader.columns(rows)
        if found and "/bad" in found["path"]:
            raise ZeroDivisionError
        return found

    monkeypatch.setitem(module._READERS, Wire.MSGPACK, replace(reader, columns=columns))
    bad = {0, 7, 8, 499, 500, 700}
    blobs = [to_msgpack(Record(timestamp=AT, path="/bad" if n in bad else f"/{n}")) for n in range(701)]
    found = decode(blobs, Wire.MSGPACK, now=NOW)
    assert {rejected.index for rejected in found.rejected} == bad
    assert {rejected.detail for rejected in found.rejected} == {"unexpected ZeroDivisionError"}
    assert found.table["path"].to_pylist() == [f"/{n}" for n in range(701) if n not in bad]


@wires
def test_types_that_would_swell(wire: Wire) -> None:
    """A name of half a record and a field for each other byte would be its square."""
    name, fields = "x" * 20_000, ("",) * 20_000
    swollen = replace(GOOD, graphql_types=((name, fields),))
    fitting = replace(GOOD, graphql_types=(("y" * 16, ("z",) * (LONGEST_TYPES // 16)),))
    over = replace(GOOD, graphql_types=(("y" * 16, ("z",) * (LONGEST_TYPES // 16)), ("A", ("b",))))
    found = decode_all([ENCODE[wire](record) for record in (GOOD, swollen, fitting, over, GOOD)], wire)
    detail = f"graphql_types: more than {LONGEST_TYPES} characters"
    assert found.rejected == [Rejected(place, Reason.TOO_LARGE, detail) for place in (1, 3)]
    assert found.table.to_pylist() == [row_of(record) for record in (GOOD, fitting, GOOD)]


def test_more_text_than_an_array_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    def concat(arrays: Sequence[Any]) -> Any:
        if len(arrays[0]) and isinstance(arrays[0][0].as_py(), str | list):
            raise pa.ArrowInvalid("offset overflow while concatenating arrays")
        return pa.chunked_array(arrays).combine_chunks()

    monkeypatch.setattr("keytrail.collect.columns.pa", SimpleNamespace(**vars(pa) | {"concat_arrays": concat}))
    found = decode([to_msgpack(GOOD)] * 1_200, Wire.MSGPACK, now=NOW)
    assert (found.table["tags"].num_chunks, found.table["time"].num_chunks) == (3, 1)
    assert found.table.to_pylist() == [row_of(GOOD)] * 1_200


@wires
def test_details_tell_no_content(wire: Wire) -> None:
    secret = b"S3cr3tPassphrase"
    told = secret.decode()
    blobs = [
        secret,
        ENCODE[wire](GOOD)[:-1] + secret,
        to_msgpack(GOOD)[:-1] + secret,
        b'{"timestamp":"%s"}' % secret,
        b'{"timestamp":"2026-11-23T12:28:31Z","%s":\x01' % secret,
        b'{"timestamp":"2026-11-23T12:28:31Z","response_code":"%s"}' % secret,
        b"\x81\xa9TimeStamp\xb0" + secret,
        b"\x81\xb0" + secret + b"\xc1",
    ]
    found = decode_all(blobs, wire)
    assert found.rejected
    assert [each for each in found.rejected if told[:5] in each.detail] == []


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_as_it_was(enabled: bool) -> None:
    try:
        (gc.enable if enabled else gc.disable)()
        decode([to_msgpack(GOOD), b"\xc1"], Wire.MSGPACK)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()


def test_wrong_use_has_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert issubclass(UsageError, KeytrailError)
    with pytest.raises(UsageError, match="zone"):
        decode([], Wire.JSON, now=datetime(2026, 1, 1))
    with pytest.raises(UsageError, match="bytes only"):
        decode([b"", "{}"], Wire.JSON)  # type: ignore[list-item]
    monkeypatch.setattr(module, "LARGEST_BATCH", 9)
    assert decode([b"12345", b"1234"], Wire.JSON).table.num_rows == 0
    with pytest.raises(UsageError, match="More than 9 bytes"):
        decode([b"12345", b"12345"], Wire.JSON)


def test_now_is_the_present_by_default() -> None:
    late = to_msgpack(Record(timestamp=4_102_444_800 * 10**9))
    assert decode([late], Wire.MSGPACK).rejected[0].reason is Reason.BAD_TIMESTAMP
    assert decode([late], Wire.MSGPACK, now=NOW.replace(year=2100)).rejected == []
