"""A body of records comes apart into exactly the records that were put together, or is refused as a whole."""

import contextlib
import gzip
import json
import re
import tracemalloc
from collections.abc import Callable

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from keytrail.collect import body
from keytrail.collect.body import MOST_BYTES, split, unpack
from keytrail.collect.decode import Wire
from keytrail.errors import RequestError, TooLarge, Unsupported

PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstandard.compress, "": bytes}


@pytest.mark.parametrize("encoding", PACK)
@given(pieces=st.lists(st.binary(max_size=3000), max_size=4))
def test_what_was_packed_in_any_number_of_parts(encoding: str, pieces: list[bytes]) -> None:
    assert unpack(b"".join(map(PACK[encoding], pieces)), encoding) == b"".join(pieces)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_cut_anywhere_it_is_refused(encoding: str) -> None:
    packed = PACK[encoding](b"some records" * 50)
    for end in range(1, len(packed)):
        with pytest.raises(RequestError, match=f"body: .*{encoding}"):
            unpack(packed[:end], encoding)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_what_is_not_packed(encoding: str) -> None:
    with pytest.raises(RequestError, match="damaged"):
        unpack(b'[{"a": 1}]', encoding)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, zstd", "gzip,gzip"])
def test_unknown_encoding(encoding: str) -> None:
    with pytest.raises(Unsupported, match="Content-Encoding"):
        unpack(b"", encoding)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_not_unpacked(encoding: str) -> None:
    """Half a gigabyte of zeros, of which little more than the limit may ever be held."""
    zeros = bytes(32 * 2**20)
    bomb = PACK[encoding](zeros) * 16
    del zeros
    assert len(bomb) < 2**20
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            unpack(bomb, encoding)
        assert tracemalloc.get_traced_memory()[1] < 3 * MOST_BYTES
    finally:
        tracemalloc.stop()


def test_the_limit_itself_is_taken() -> None:
    assert len(unpack(gzip.compress(bytes(MOST_BYTES), 1), "gzip")) == MOST_BYTES
    with pytest.raises(TooLarge):
        unpack(gzip.compress(bytes(MOST_BYTES + 1), 1), "gzip")


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
MAPS = st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), max_size=20)


@given(MAPS)
def test_json(values: list[object]) -> None:
    blobs, wire = split(json.dumps(values, indent=2).encode(), "application/json; charset=utf-8")
    assert ([json.loads(blob) for blob in blobs], wire) == (values, Wire.JSON)
    lines = "\r\n\n".join(map(json.dumps, values)).encode()
    blobs, wire = split(lines, "Application/X-NDJSON")
    assert ([json.loads(blob) for blob in blobs], wire) == (values, Wire.JSON)


@given(st.lists(st.text(st.sampled_from('\\ud80c"\ud800\udbff\udc00\udfffé\N{KEY}'), max_size=12), max_size=4))
def test_half_a_character_in_json_keeps_no_record_away(values: list[str]) -> None:
    """What it becomes is `decode`'s matter; in an array the replacement character stands there already."""
    data = json.dumps(values).encode()
    blobs, _ = split(data, "application/json")
    whole = [re.sub("[\ud800-\udfff]", "\ufffd", text) for text in json.loads(data)]
    assert [json.loads(blob) for blob in blobs] == whole


@given(MAPS)
def test_msgpack(values: list[object]) -> None:
    packed = [msgpack.packb(value) for value in values]
    assert split(b"".join(packed), "application/msgpack") == (packed, Wire.MSGPACK)
    assert split(msgpack.packb(values), "application/msgpack") == (packed, Wire.MSGPACK)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_protobuf(blobs: list[bytes]) -> None:
    delimited = b"".join(varint(len(blob)) + blob for blob in blobs)
    assert split(delimited, "application/x-protobuf") == (blobs, Wire.PROTOBUF)


@given(st.binary(max_size=60), st.sampled_from(sorted(body._TYPES)))
def test_any_bytes_are_split_whole_or_refused(data: bytes, kind: str) -> None:
    with contextlib.suppress(RequestError):
        blobs, _ = split(data, kind)
        assert sum(map(len, blobs)) <= len(data)


@pytest.mark.parametrize(
    ("kind", "data", "part"),
    [
        ("application/json", b'[{"a": 1}, {"b": ]', "array"),
        ("application/json", b'{"a": 1}', "array"),
        ("application/json", b"", "array"),
        ("application/json", b"[" * 100_000, "array"),
        ("application/msgpack", msgpack.packb({"a": 1}) + b"\x81", "record 1 "),
        ("application/msgpack", b"\x93" + msgpack.packb({"a": 1}), "3 records ends after 1"),
        ("application/msgpack", b"\x91" + msgpack.packb({"a": 1}) * 2, "after the end"),
        ("application/msgpack", b"\x91" * 100_000, "record 0 "),
        ("application/protobuf", b"\x02ab\x05ab", "record 1 is longer"),
        ("application/protobuf", b"\x80\x80\x80\x80\x80\x80", "record 0 "),
        ("application/protobuf", b"\x01a\x80", "record 1 "),
    ],
)
def test_the_bad_part_is_named(kind: str, data: bytes, part: str) -> None:
    with pytest.raises(RequestError, match=f"^body: .*{part}"):
        split(data, kind)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/octet-stream", "application/jsonp"])
def test_unknown_type(kind: str) -> None:
    with pytest.raises(Unsupported, match="Content-Type"):
        split(b"[]", kind)


def test_too_many_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MOST_RECORDS", 3)
    assert len(split(b"[1,2,3]", "application/json")[0]) == 3
    with pytest.raises(TooLarge, match="at most 3 records"):
        split(b"[{},{},{},{}]", "application/json")


@pytest.mark.parametrize("item", ["{}", "0", "[]", '"",""'])
def test_a_bomb_of_records_is_not_told_apart(item: str) -> None:
    """Hundreds of thousands of tiny items, none of which may be held beside the body."""
    bomb = b"[" + f"{item},".encode() * 400_000 + b"{}]"
    tracemalloc.start()
    try:
        with pytest.raises(RequestError, match=r"^body: "):
            split(bomb, "application/json")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_as_many_records_as_may_be_are_taken() -> None:
    """However many commas stand in them."""
    most = b"[" + b'{"a":[1,2,3]},' * (body.MOST_RECORDS - 1) + b'{"b":","}]'
    assert split(most, "application/json")[0][-2:] == [b'{"a":[1,2,3]}', b'{"b":","}']
    with pytest.raises(TooLarge, match="at most 100000 records"):
        split(most[:-1] + b",{}]", "application/json")
