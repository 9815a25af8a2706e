"""The records of the oracle, their wire forms, and the captures of real ones."""

import base64
import gzip
import json
from pathlib import Path

from tests.oracle.json_form import to_json
from tests.oracle.msgpack_form import from_msgpack, to_msgpack
from tests.oracle.protobuf_form import from_protobuf, to_protobuf
from tests.oracle.record import SECOND, ZERO_TIME, Record

__all__ = [
    "CAPTURES",
    "SECOND",
    "ZERO_TIME",
    "Record",
    "from_msgpack",
    "from_protobuf",
    "read_capture",
    "to_json",
    "to_msgpack",
    "to_protobuf",
]

CAPTURES = sorted(found.parent for found in Path(__file__).parents[1].glob("captures/*/records.ndjson.gz"))


def read_capture(path: Path) -> list[tuple[str, bytes, Record]]:
    """(Redis list, exact bytes, record) of each record of a capture's folder, in the order of the lists."""
    found = []
    with gzip.open(path / "records.ndjson.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            data = base64.b64decode(entry["record"])
            decode = from_protobuf if entry["list"].endswith("_protobuf") else from_msgpack
            found.append((entry["list"], data, decode(data)))
    return found
