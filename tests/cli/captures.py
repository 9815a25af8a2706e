"""Lines of the captures, as files to import."""

import base64
import gzip
import json
from pathlib import Path

CAPTURES = Path(__file__).parents[1] / "captures"
ORG = "5e9d9544a1dcd60001d0ed20"
OTHER_ORG = "61f2b7c0a1dcd60001aa11b2"
API = b"41351a6a94094da05f75146a695a16f6"


def path_of(name: str = "msgpack") -> Path:
    """The records of a capture."""
    return CAPTURES / name / "records.ndjson.gz"


def lines_of(name: str = "msgpack") -> list[bytes]:
    """The lines of a capture."""
    return gzip.decompress(path_of(name).read_bytes()).splitlines()


def text(lines: list[bytes]) -> bytes:
    """Lines as a file."""
    return b"".join(line + b"\n" for line in lines)


def varied(lines: list[bytes], copies: int) -> list[bytes]:
    """Copies of the lines of a capture that differ in the id of an API, so that each has other content."""
    found = []
    for copy in range(copies):
        for line in lines:
            item = json.loads(line)
            blob = base64.b64decode(item["record"]).replace(API, f"{copy:032x}".encode())
            found.append(json.dumps({**item, "record": base64.b64encode(blob).decode()}).encode())
    return found
