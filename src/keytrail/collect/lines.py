"""Lines of files: a capture (list and bytes of a record) or a record as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from keytrail.collect.decode import Wire, wire_of_list
from keytrail.record import Reason, Rejected

LONGEST_LINE: Final = 32 * 1024 * 1024
"""Bytes of the longest line: twice the largest record, as bytes grow by a third in a capture."""


class Format(Enum):
    """What the lines of a file hold."""

    AUTO = "auto"
    CAPTURE = "capture"
    NDJSON = "ndjson"


class _Captured(msgspec.Struct):
    record: bytes
    list: str = ""


_captured: Final = msgspec.json.Decoder(_Captured)


@dataclass(frozen=True, slots=True)
class Parsed:
    """Lines, sorted by the form of their records.

    Attributes:
        blobs: For each wire form the records' bytes and the places of their lines.
        rejected: Lines that hold no record, by place.
    """

    blobs: dict[Wire, tuple[list[bytes], list[int]]]
    rejected: list[Rejected]


def parse(lines: Sequence[bytes], form: Format = Format.AUTO) -> Parsed:
    """Take the records' bytes out of lines.

    Args:
        lines: The lines, without their ends.
        form: What they hold; AUTO looks at each line.
    """
    blobs: dict[Wire, tuple[list[bytes], list[int]]] = {}
    rejected = []
    for place, line in enumerate(lines):
        if len(line) >= LONGEST_LINE:
            rejected.append(Rejected(place, Reason.TOO_LARGE, "longer than a line may be"))
            continue
        captured = b'"record"' in line if form is Format.AUTO else form is Format.CAPTURE
        if captured:
            try:
                item = _captured.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                rejected.append(Rejected(place, Reason.BAD_LINE, _without_content(error)))
                continue
            wire, blob = wire_of_list(item.list), item.record
        else:
            wire, blob = Wire.JSON, line
            if not line.lstrip().startswith(b"{"):
                rejected.append(Rejected(place, Reason.BAD_LINE, "not a JSON object"))
                continue
        records, places = blobs.setdefault(wire, ([], []))
        records.append(blob)
        places.append(place)
    return Parsed(blobs, rejected)


def _without_content(error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError | msgspec.DecodeError):
        return str(error)
    return "not UTF-8"
