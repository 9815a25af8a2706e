import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keytrail.collect.decode import Wire
from keytrail.collect.decoded_chunk import SCHEMA, DecodedChunk, decode_chunk
from keytrail.collect.privacy import Privacy
from keytrail.errors import UsageError
from keytrail.record import DERIVED, FIELDS, Reason
from tests.collect.tables import leaks
from tests.oracle.records import SECOND, Record, to_json, to_msgpack, to_protobuf

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
AT = int(NOW.timestamp()) * SECOND
SECRET = "5e9d9544a1dcd60001d0ed20b9f3c2d1e0a94c5f8d7e6b5a4c3d2e1f"
HASHED = hashlib.sha256(SECRET.encode()).hexdigest()
REQUEST = f"GET /?a=b HTTP/1.1\r\nHost: h\r\nAuthorization: {SECRET}\r\n\r\n"
GOOD = Record(
    timestamp=AT,
    org_id="org",
    api_key=SECRET,
    path=f"/items/{SECRET}",
    response_code=502,
    tags=("key-" + SECRET, "gold"),
    raw_request=base64.b64encode(REQUEST.encode()).decode(),
)
JUNK = b"\xc1"
LATE = to_msgpack(Record(timestamp=AT + 2 * 86_400 * SECOND, org_id="org"))
FOREIGN = to_msgpack(Record(timestamp=AT, org_id="other", alias="a stranger's"))


def chunk_of(*blobs: bytes, offset: int = 0, org: str | None = None, wire: Wire = Wire.MSGPACK) -> DecodedChunk:
    return decode_chunk(blobs, wire, privacy=Privacy(), batch_id="b1", offset=offset, org=org, now=NOW)


def test_a_chunk_has_the_columns_of_the_store() -> None:
    expected = [field.column for field in FIELDS] + [derived.column for derived in DERIVED]
    for blobs in ([], [JUNK], [to_msgpack(GOOD)] * 3):
        chunk = chunk_of(*blobs)
        assert chunk.table.column_names == expected
        assert chunk.table.schema == SCHEMA
        assert all(column.num_chunks == 1 for column in chunk.table.columns if len(blobs) > 1)
    assert SCHEMA.field("seq").type == pa.uint32()


@pytest.mark.parametrize(
    ("wire", "blob"),
    [(Wire.MSGPACK, to_msgpack(GOOD)), (Wire.PROTOBUF, to_protobuf(GOOD)), (Wire.JSON, to_json(GOOD))],
    ids=["msgpack", "protobuf", "json"],
)
def test_a_record_is_decoded_and_passes_the_steps(wire: Wire, blob: bytes | str) -> None:
    chunk = chunk_of(blob.encode() if isinstance(blob, str) else blob, wire=wire)
    assert not leaks(chunk.table, SECRET)
    (row,) = chunk.table.to_pylist()
    derived = {name: row[name] for name in ("kind", "code_class", "error_origin", "cut", "batch_id", "seq")}
    assert derived == {
        "kind": "rest", "code_class": "5xx", "error_origin": "gateway", "cut": [], "batch_id": "b1", "seq": 0,
    }  # fmt: skip
    assert (row["time"], row["api_key"], row["path"]) == (NOW, HASHED, f"/items/{HASHED}")
    assert row["tags"] == ["key-" + HASHED, "gold"]
    assert row["raw_request"] == "GET /?a=*** HTTP/1.1\r\nHost: h\r\n\r\n"


def test_every_blob_is_a_row_or_a_rejection_that_names_it() -> None:
    good = to_msgpack(GOOD)
    blobs = (FOREIGN, good, JUNK, FOREIGN, good, LATE, good, FOREIGN)
    chunk = chunk_of(*blobs, offset=1000, org="org")
    assert (chunk.batch_id, chunk.offset, chunk.taken) == ("b1", 1000, 8)
    assert chunk.table.column("seq").to_pylist() == [1001, 1004, 1006]
    assert [(each.index, each.reason) for each in chunk.rejected] == [
        (0, Reason.FOREIGN_ORG),
        (2, Reason.NOT_A_RECORD),
        (3, Reason.FOREIGN_ORG),
        (5, Reason.BAD_TIMESTAMP),
        (7, Reason.FOREIGN_ORG),
    ]
    assert not leaks(chunk.table, "a stranger's")
    everyone = chunk_of(*blobs, offset=1000)
    assert everyone.table.column("seq").to_pylist() == [1000, 1001, 1003, 1004, 1006, 1007]
    assert set(everyone.table.column("batch_id").to_pylist()) == {"b1"}


@given(
    st.lists(st.sampled_from([to_msgpack(GOOD), FOREIGN, JUNK, LATE, b""])),
    st.integers(0, 2**31),
    st.sampled_from([None, "org", ""]),
)
def test_nothing_is_lost_or_counted_twice(blobs: list[bytes], offset: int, org: str | None) -> None:
    chunk = chunk_of(*blobs, offset=offset, org=org)
    places = [row["seq"] - offset for row in chunk.table.select(["seq"]).to_pylist()] + [
        each.index for each in chunk.rejected
    ]
    assert sorted(places) == list(range(len(blobs)))
    assert chunk.taken == len(blobs) == chunk.table.num_rows + len(chunk.rejected)
    again = chunk_of(*blobs, offset=offset, org=org)
    assert again.table.equals(chunk.table)
    assert again.rejected == chunk.rejected


def test_the_split_of_a_batch_does_not_change_its_rows() -> None:
    blobs = [to_msgpack(Record(timestamp=AT, alias=str(number))) for number in range(10)]
    whole = chunk_of(*blobs).table
    parts = [chunk_of(*blobs[:3]).table, chunk_of(*blobs[3:], offset=3).table]
    assert [row for part in parts for row in part.to_pylist()] == whole.to_pylist()


def test_a_place_that_no_column_can_hold_is_refused() -> None:
    blob = to_msgpack(GOOD)
    assert chunk_of(blob, offset=2**32 - 1).table.column("seq").to_pylist() == [2**32 - 1]
    for offset in (-1, 2**32):
        with pytest.raises(UsageError, match=str(offset)):
            chunk_of(blob, offset=offset)
    with pytest.raises(UsageError):
        chunk_of(blob, blob, offset=2**32 - 1)


def test_the_caller_says_what_the_present_is() -> None:
    blob = to_msgpack(Record(timestamp=int(datetime(2005, 1, 1, tzinfo=UTC).timestamp()) * SECOND))
    for year, taken in ((2004, 0), (2006, 1)):
        now = datetime(year, 1, 1, tzinfo=UTC)
        assert decode_chunk([blob], Wire.MSGPACK, privacy=Privacy(), batch_id="b", now=now).table.num_rows == taken


def test_the_present_is_the_default() -> None:
    ahead = datetime.now(UTC) + timedelta(hours=23)
    blobs = [
        to_msgpack(Record(timestamp=int((ahead + more).timestamp()) * SECOND))
        for more in (timedelta(0), timedelta(hours=2))
    ]
    chunk = decode_chunk(blobs, Wire.MSGPACK, privacy=Privacy(), batch_id="b")
    assert [each.index for each in chunk.rejected] == [1]
