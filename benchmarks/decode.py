"""Decoding: records per second from bytes to the Arrow table, one thread, against bare msgspec on the same records.

The baseline is `msgspec.msgpack.decode` of the same records as msgpack to plain dicts, one after the other in the same
run, so that a ratio means something on any machine. Records are captured ones, over and over.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from benchmarks.measure import say, times
from keytrail.collect.decode import Wire, decode
from tests.oracle.record import Record
from tests.oracle.records import CAPTURES, read_capture, to_json, to_msgpack, to_protobuf

COUNT = 20_000
RUNS = 9
NO_GEO = {
    "country": "",
    "city_geoname_id": 0,
    "city_names": (),
    "latitude": 0.0,
    "longitude": 0.0,
    "location_time_zone": "",
}


def run() -> dict[str, Any]:
    """Measure each form."""
    geo = captured("msgpack")
    slim = [replace(record, raw_request="", raw_response="", **NO_GEO) for record in geo]  # type: ignore[arg-type]
    detailed = captured("msgpack-detailed-graphql-tcp")
    odd = [replace(record, user_agent="\ufffd") for record in geo]
    return {
        "slim": measure("msgpack without geo and recorded messages", slim, Wire.MSGPACK, to_msgpack),
        "geo": measure("msgpack with geo", geo, Wire.MSGPACK, to_msgpack),
        "detailed": measure("msgpack with recorded messages", detailed, Wire.MSGPACK, to_msgpack),
        "bad_utf8": measure("msgpack with bad UTF-8 in every record", odd, Wire.MSGPACK, bad_utf8),
        "protobuf": measure("protobuf with geo", captured("protobuf-many-lists"), Wire.PROTOBUF, to_protobuf),
        "json": measure("JSON with geo", geo, Wire.JSON, pump_json),
    }


def measure(name: str, records: Sequence[Record], wire: Wire, encode: Callable[[Record], bytes]) -> dict[str, float]:
    """The best of some runs, of decoding and of the baseline in turn."""
    blobs, plain = repeated(map(encode, records)), repeated(map(to_msgpack, records))
    assert decode(blobs, wire).table.num_rows == COUNT
    taken, baseline = [], []
    for _ in range(RUNS):
        taken += times(lambda: decode(blobs, wire), 1)
        baseline += times(lambda: [msgspec.msgpack.decode(blob) for blob in plain], 1)
    rate, ratio = COUNT / min(taken), min(baseline) / min(taken)
    size = sum(map(len, blobs)) // COUNT
    say(name, f"{rate:,.0f} records/s of {size} bytes", f"{ratio:.2f} of bare msgspec to dicts")
    return {"records_per_second": rate, "bytes_per_record": size, "ratio": ratio}


def captured(name: str) -> list[Record]:
    """Records of one capture."""
    (path,) = [path for path in CAPTURES if path.name == name]
    return [record for _, _, record in read_capture(path)]


def repeated(blobs: Any) -> list[bytes]:
    """So many, each an object of its own, as they come from Redis."""
    kept = list(blobs)
    return [bytes(bytearray(kept[place % len(kept)])) for place in range(COUNT)]


def bad_utf8(record: Record) -> bytes:
    """A record whose user agent is the byte of no character."""
    return to_msgpack(record).replace(b"\xa9UserAgent\xa3\xef\xbf\xbd", b"\xa9UserAgent\xa1\xff")


def pump_json(record: Record) -> bytes:
    """JSON as Go writes it: of a map that is nil, null."""
    return to_json(record).replace('"names":{}', '"names":null').encode()
