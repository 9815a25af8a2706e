"""Lines of files: a capture (list and bytes of a record) or a record as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec
import pybase64

from keytrail.collect.decode import Wire, wire_of_list
from keytrail.collect.pumped import record_of
from keytrail.record import Reason, Rejected

LONGEST_LINE: Final = 32 * 1024 * 1024
"""Bytes of the longest line: twice the largest record, as bytes grow by a third in a capture."""


class Format(Enum):
    """What the lines of a file hold."""

    AUTO = "auto"
    CAPTURE = "capture"
    NDJSON = "ndjson"


class _Captured(msgspec.Struct, gc=False):
    record: str
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
    # By the name of the list, as each record names it.
    listed: dict[str, tuple[list[bytes], list[int]]] = {}
    rejected = []
    # The JSON library would undo base64 as well, at half the speed.
    decode, unpack = _captured.decode, pybase64.b64decode
    look = form is Format.AUTO
    captured = form is Format.CAPTURE
    for place, line in enumerate(lines):
        if len(line) >= LONGEST_LINE:
            rejected.append(Rejected(place, Reason.TOO_LARGE, "longer than a line may be"))
            continue
        if captured or (look and b'"record"' in line):
            try:
                item = decode(line)
                blob = unpack(item.record, None, True)
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                rejected.append(Rejected(place, Reason.BAD_LINE, _without_content(error)))
                continue
            try:
                group = listed[item.list]
            except KeyError:
                group = listed[item.list] = blobs.setdefault(wire_of_list(item.list), ([], []))
        else:
            if not line.lstrip().startswith(b"{"):
                rejected.append(Rejected(place, Reason.BAD_LINE, "not a JSON object"))
                continue
            blob, group = record_of(line), blobs.setdefault(Wire.JSON, ([], []))
        group[0].append(blob)
        group[1].append(place)
    return Parsed(blobs, rejected)


def _without_content(error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError | msgspec.DecodeError):
        return str(error)
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else "the record is not base64"
