"""Records to measure with: the demo's traffic, without what makes a record large, and all of it."""

import base64
import gzip
import json
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from keytrail.collect.decode import Wire
from keytrail.demo.traffic import history
from keytrail.demo.world import build_world

CAPTURES = Path(__file__).parents[1] / "tests" / "captures"
NOW = datetime.now(UTC)


def with_geo(records: int, days: int = 30) -> Iterator[bytes]:
    """Made-up traffic as a gateway with a GeoIP database writes it, about 1 kB a record."""
    return history(build_world(), end=NOW, days=days, records=records)


def slim(records: int, days: int = 30) -> Iterator[bytes]:
    """The same without geo and recorded requests, about 600 bytes a record."""
    nowhere = {
        "Country": {"ISOCode": ""},
        "City": {"GeoNameID": 0, "Names": None},
        "Location": {"Latitude": 0.0, "Longitude": 0.0, "TimeZone": ""},
    }
    for blob in with_geo(records, days):
        record = msgspec.msgpack.decode(blob)
        record["Geo"] = nowhere
        record["RawRequest"] = record["RawResponse"] = ""
        yield msgspec.msgpack.encode(record)


def recent(records: int, seconds: float = 3600) -> list[bytes]:
    """Slim records as they wait in a gateway's list: of the last so many seconds, in the order of time."""
    began = NOW.timestamp() - seconds
    waiting = []
    for number, blob in enumerate(slim(records)):
        record = msgspec.msgpack.decode(blob)
        whole, part = divmod(began + seconds * number / records, 1)
        record["TimeStamp"] = [int(whole), int(part * 1e9)]
        waiting.append(msgspec.msgpack.encode(record))
    return waiting


def captured_records(name: str) -> list[bytes]:
    """The records of one of the captures of a real gateway."""
    with gzip.open(CAPTURES / name / "records.ndjson.gz") as lines:
        return [base64.b64decode(json.loads(line)["record"]) for line in lines]


def detailed(records: int) -> Iterator[bytes]:
    """Records with recorded requests and responses: the capture of a real gateway, over and over."""
    blobs = captured_records("msgpack-detailed-graphql-tcp")
    return (blobs[number % len(blobs)] for number in range(records))


def protobuf(records: int) -> Iterator[bytes]:
    """Records as protobuf with geo: the capture of a real gateway, over and over."""
    blobs = captured_records("protobuf-many-lists")
    return (blobs[number % len(blobs)] for number in range(records))


def write_capture(path: Path, blobs: Iterable[bytes], wire: Wire = Wire.MSGPACK) -> None:
    """A file for `keytrail import`."""
    encoder = msgspec.json.Encoder()
    name = "analytics-tyk-system-analytics" + ("_protobuf" if wire is Wire.PROTOBUF else "")
    with path.open("wb") as file:
        for blob in blobs:
            file.write(encoder.encode({"list": name, "record": blob}) + b"\n")


def recorded(records: int, days: int = 30) -> Iterator[bytes]:
    """Records with geo whose requests and responses were recorded, each with an id of its own, about 2 kB each."""
    for blob in with_geo(records, days):
        record = msgspec.msgpack.decode(blob)
        names = f"Host: api.example.com\r\nUser-Agent: {record['UserAgent']}\r\nAccept: application/json\r\n"
        told = f"X-Request-Id: {uuid.uuid4()}\r\nContent-Type: application/json\r\n"
        request = f"GET {record['RawPath']} HTTP/1.1\r\n{names}{told}Authorization: Bearer {uuid.uuid4().hex}\r\n\r\n"
        response = f"HTTP/1.1 {record['ResponseCode']} OK\r\n{told}Content-Length: 40\r\n\r\n{uuid.uuid4()}"
        record["RawRequest"], record["RawResponse"] = (
            base64.b64encode(text.encode()).decode() for text in (request, response)
        )
        yield msgspec.msgpack.encode(record)
