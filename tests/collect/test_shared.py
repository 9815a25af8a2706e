"""Parts of records that repeat are decoded once, and yet each record gets its own and pays only for its own faults."""

from typing import Any

import msgpack

from keytrail.collect.decode import Wire, decode
from keytrail.record import Reason

SECONDS = 1_795_436_911


def record(**parts: Any) -> bytes:
    return bytes(msgpack.packb({"TimeStamp": [SECONDS, 0], "OrgID": "o", **parts}))


def place(zone: str, latitude: Any = 1.5) -> dict[str, Any]:
    return {"Country": {"ISOCode": "IN"}, "Location": {"Latitude": latitude, "Longitude": 2.0, "TimeZone": zone}}


def test_each_record_has_its_own_part() -> None:
    zones = ["Asia/Kolkata", "Asia/Thimphu", "Asia/Kolkata", ""]
    blobs = [record(Geo=place(zone), Tags=[zone, "edge"]) for zone in zones]
    blobs.append(record())
    found = decode(blobs, Wire.MSGPACK).table
    assert found["geo_zone"].to_pylist() == [*zones, ""]
    assert found["country"].to_pylist() == ["IN"] * 4 + [""]
    assert found["latitude"].to_pylist() == [1.5] * 4 + [0.0]
    assert found["tags"].to_pylist() == [[zone, "edge"] for zone in zones] + [[]]


def test_a_faulty_part_costs_only_the_records_that_have_it() -> None:
    good, bad = record(Geo=place("UTC")), record(Geo=place("UTC", latitude="north"))
    found = decode([good] * 300 + [bad] + [good] * 300 + [bad], Wire.MSGPACK)
    assert [(one.index, one.reason, one.detail) for one in found.rejected] == [
        (300, Reason.BAD_FIELD, "Geo.Location.Latitude: not a number"),
        (601, Reason.BAD_FIELD, "Geo.Location.Latitude: not a number"),
    ]
    assert found.table["geo_zone"].to_pylist() == ["UTC"] * 600
    assert found.positions.to_pylist() == [n for n in range(602) if n not in {300, 601}]


def test_what_is_read_the_slow_way_stands_beside_what_is_not() -> None:
    # Not UTF-8: in a tag, which only its part has to be read again for, and in the path, which the whole record has.
    blobs = [
        record(Path="/a", Tags=["x"], Network={"BytesIn": 7}),
        record(Path="/b", Tags=[b"\xff"], Network={"BytesIn": 7}),
        record(Path=b"/\xff", Tags=["y"], Network={"BytesIn": 7.0}),
        record(Path="/d", Tags=None, Network=None),
    ]
    # As a gateway does, whose texts need not be UTF-8.
    blobs = [blob.replace(b"\xc4\x01\xff", b"\xa1\xff").replace(b"\xc4\x02/\xff", b"\xa2/\xff") for blob in blobs]
    found = decode(blobs, Wire.MSGPACK)
    assert found.rejected == []
    assert found.table["path"].to_pylist() == ["/a", "/b", "/\ufffd", "/d"]
    assert found.table["tags"].to_pylist() == [["x"], ["\ufffd"], ["y"], []]
    assert found.table["network_bytes_in"].to_pylist() == [7, 7, 7, 0]


def test_the_few_that_differ_keep_their_own_part_among_many_that_are_the_same() -> None:
    same = record(Network={"BytesIn": 7})
    slow = record(Path=b"/\xff", Network={"BytesIn": 9}).replace(b"\xc4\x02/\xff", b"\xa2/\xff")
    others = {2: record(Network={"BytesIn": 8}), 3: record(), 6: slow, 9: record(Network={"BytesIn": 8})}
    for common in (same, slow):
        found = decode([others.get(row, common) for row in range(20)], Wire.MSGPACK)
        expected = {2: 8, 3: 0, 6: 9, 9: 8}
        usual = 7 if common is same else 9
        assert found.table["network_bytes_in"].to_pylist() == [expected.get(row, usual) for row in range(20)]
