"""Bytes of any wire to an Arrow table: every blob becomes one row or one rejection, whatever it holds."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

import pyarrow as pa

from keytrail.collect import decode_json, decode_msgpack, decode_protobuf
from keytrail.collect.columns import Fault, Made, Piece, UnfitError, to_piece, to_table, unfit
from keytrail.collect.reader import FaultyRowsError, Reader, UnreadableError
from keytrail.errors import UsageError
from keytrail.instants import to_instant
from keytrail.record import Reason, Rejected

LARGEST: Final = 16 * 2**20
"""Bytes of the largest record, where the caller does not say."""
LARGEST_BATCH: Final = 512 * 2**20
"""Bytes of all records of one call: an Arrow column holds 2 GiB, and a bad byte becomes three."""
PIECE: Final = 500
"""Rows that are Python objects at one time. They and their columns fit the processor's cache, which makes decoding
half as fast again as with all rows of a large batch at once."""
AHEAD: Final = timedelta(days=1)
"""How far a gateway's clock may be ahead."""

Rows = list[tuple[int, Any]]
"""Place among the blobs, and what a `Reader` read."""


class Wire(Enum):
    """The form in which records come."""

    MSGPACK = "msgpack"
    PROTOBUF = "protobuf"
    JSON = "json"


_READERS: Final = {
    Wire.MSGPACK: decode_msgpack.READER,
    Wire.PROTOBUF: decode_protobuf.READER,
    Wire.JSON: decode_json.READER,
}


def wire_of_list(name: str) -> Wire:
    """The form of the records of a gateway's Redis list."""
    return Wire.PROTOBUF if name.endswith("_protobuf") else Wire.MSGPACK


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of some blobs: `table.num_rows + len(rejected)` is how many they were.

    Attributes:
        table: The columns of `record.FIELDS`, in that order and of their Arrow types, without nulls, each in one
            chunk (in several only where its text is more than 2 GiB). `time` is cut to the ms; an `expire_at` that is
            missing, or outside 1900 to 2299, is the epoch.
        positions: uint32: where among the blobs each row was, ascending.
        rejected: The others, by index.
    """

    table: pa.Table
    positions: Made
    rejected: list[Rejected]


def decode(blobs: Sequence[bytes], wire: Wire, *, now: datetime | None = None, largest: int = LARGEST) -> Decoded:
    """Decode records, all of one wire.

    Fields that are unknown are ignored, those that are missing take their zero value, bad UTF-8 is replaced.

    Args:
        blobs: Bytes of one record each; in all at most `LARGEST_BATCH`.
        wire: Their form.
        now: An aware datetime, by default the present one. Time stamps from a day after it on are rejected.
        largest: Bytes of the largest record.

    Raises:
        UsageError: The arguments are wrong. Nothing that blobs hold raises.
    """
    decoding = Decoding(wire, now=now, largest=largest)
    decoding.add(blobs)
    return decoding.done()


class Decoding:
    """Records, decoded as they come: of a long file, a piece is decoded while it is still in the processor's cache.

    Args:
        wire: Form of the records.
        now: An aware datetime, by default the present one. Time stamps from a day after it on are rejected.
        largest: Bytes of the largest record.

    Raises:
        UsageError: `now` has no zone.
    """

    def __init__(self, wire: Wire, *, now: datetime | None = None, largest: int = LARGEST) -> None:
        self._reader = _READERS[wire]
        self._until = _until(now)
        self._largest = largest
        self._bytes = 0
        self._count = 0
        self._pieces: list[Piece] = []
        self._positions: list[int] = []
        self._rejected: list[Rejected] = []

    def add(self, blobs: Sequence[bytes]) -> None:
        """Decode more records.

        Raises:
            UsageError: They are not bytes, or too many. Nothing that blobs hold raises.
        """
        if not set(map(type, blobs)) <= {bytes}:
            raise UsageError("Records are decoded from bytes only")
        self._bytes += sum(map(len, blobs))
        if self._bytes > LARGEST_BATCH:
            raise UsageError(f"More than {LARGEST_BATCH} bytes to decode at once")
        with uncollected():
            for start in range(0, len(blobs), PIECE):
                self._add(blobs[start : start + PIECE])

    def _add(self, blobs: Sequence[bytes]) -> None:
        rows, faults = _rows(blobs, self._reader, self._largest)
        for piece, places in _pieces(rows, self._reader, self._until, faults):
            self._pieces.append(piece)
            self._positions += [self._count + place for place in places]
        self._rejected += [Rejected(self._count + place, *faults[place]) for place in sorted(faults)]
        self._count += len(blobs)

    def done(self) -> Decoded:
        """All that was added, as one."""
        return Decoded(to_table(self._pieces), pa.array(self._positions, pa.uint32()), self._rejected)


def _rows(blobs: Sequence[bytes], reader: Reader, largest: int) -> tuple[Rows, dict[int, Fault]]:
    """What can be read of each blob by itself; for the others, what is wrong with them."""
    rows: Rows = []
    faults: dict[int, Fault] = {}
    read, keep = reader.read, rows.append
    for place, blob in enumerate(blobs):
        if len(blob) > largest:
            faults[place] = Reason.TOO_LARGE, f"{len(blob)} bytes"
            continue
        try:
            keep((place, read(blob)))
        except Exception:
            try:
                keep((place, reader.mend(blob)))
            except Exception as error:
                faults[place] = _fault(error)
    return rows, faults


def _pieces(rows: Rows, reader: Reader, until: int, faults: dict[int, Fault]) -> Iterator[tuple[Piece, Sequence[int]]]:
    """Rows as Arrow arrays, and their places; adds to `faults` those of rows that can't be."""
    try:
        try:
            columns = reader.columns([row for _, row in rows])
        except FaultyRowsError as error:
            faults |= {rows[row][0]: fault for row, fault in error.faults.items()}
            rows = [each for row, each in enumerate(rows) if row not in error.faults]
            columns = reader.columns([row for _, row in rows])
        try:
            piece = to_piece(columns, len(rows), until)
        except UnfitError:
            found = unfit(columns, until)
            faults |= {rows[row][0]: fault for row, fault in found.items()}
            rows = [each for row, each in enumerate(rows) if row not in found]
            piece = to_piece(reader.columns([row for _, row in rows]), len(rows), until)
    except Exception as error:
        # Some row is at fault that can only be told from the others by trying.
        if len(rows) == 1:
            faults[rows[0][0]] = _fault(error)
            return
        half = len(rows) // 2
        yield from _pieces(rows[:half], reader, until, faults)
        yield from _pieces(rows[half:], reader, until, faults)
    else:
        yield piece, [place for place, _ in rows]


def _fault(error: Exception) -> Fault:
    if isinstance(error, UnreadableError):
        return error.reason, error.detail
    # One record, of bytes that nobody thought of, must not stop all that come after it.
    return Reason.NOT_A_RECORD, f"unexpected {type(error).__name__}"


def _until(now: datetime | None) -> int:
    if now is None:
        now = datetime.now(UTC)
    if now.tzinfo is None:
        raise UsageError("The present time needs a zone")
    return to_instant(now) + AHEAD // timedelta(milliseconds=1)


@contextmanager
def uncollected() -> Iterator[None]:
    """No cyclic garbage collection in the block: it would walk all rows again and again, and they have no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
