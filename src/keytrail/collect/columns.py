"""Columns of Python values to an Arrow table, and the rows that no table can hold."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from keytrail.collect.lenient import text
from keytrail.collect.reader import Columns, Values
from keytrail.collect.shared import Repeated
from keytrail.record import FIELDS, Field, Kind, Reason

SCHEMA: Final = pa.schema([(field.column, field.kind.arrow) for field in FIELDS])

EARLIEST: Final = 946_684_800_000
"""2000-01-01 UTC in ms: no gateway wrote a record before it."""
NOT_SET: Final = 0
"""`expire_at` of a record that has none, or one that the store can't hold: the epoch."""
_STORABLE: Final = -2_208_988_800_000, 10_413_792_000_000 - 1
"""ms from 1900 to the end of 2299, which is what the store's DateTime64 holds."""
_BITS: Final = {Kind.INT: 64, Kind.CODE: 16}


Made: TypeAlias = Any
"""An Arrow array: its class can not be subscripted when the code runs, and the stubs know few of its methods."""
Fault = tuple[Reason, str]
"""Why a record is rejected, and a detail without content."""


class UnfitError(Exception):
    """Some row has a value that its column can't hold."""


Piece: TypeAlias = tuple[int, list[Made | None]]
"""Some rows: how many, and for each field an array, or None where every value is zero. Names are plain strings yet."""


def to_piece(columns: Columns, rows: int, until: int) -> Piece:
    """Columns of some rows as Arrow arrays.

    Args:
        columns: Values as a `Reader` gives them.
        rows: How many each column has.
        until: ms since the epoch; times from here on are unfit.

    Raises:
        UnfitError: `unfit` tells which rows these are.
    """
    times = columns.get("time", ())
    if rows and not EARLIEST <= min(times) <= max(times) < until:
        raise UnfitError
    # Most columns of most pieces hold nothing, and telling so is far quicker than converting them.
    return rows, [_made(field.kind, columns.get(field.column, ())) for field in FIELDS]


def _made(kind: Kind, values: Values) -> Made | None:
    if isinstance(values, Repeated):
        distinct = _made(kind, values.distinct)
        return None if distinct is None else distinct.take(values.places)
    return _BUILD[kind](values) if any(values) else None


def to_table(pieces: Sequence[Piece]) -> pa.Table:
    """All pieces, one after the other, in the columns of `SCHEMA`."""
    arrays = []
    for place, field in enumerate(FIELDS):
        arrays.append(_joined(field, [(rows, made[place]) for rows, made in pieces]))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def unfit(columns: Columns, until: int) -> dict[int, Fault]:
    """Rows that made `to_piece` raise, each with its reason and a detail without content."""
    found: dict[int, Fault] = {}
    for field in FIELDS:
        for row, fault in _faults(field, columns.get(field.column, ()), until):
            found.setdefault(row, fault)
    return found


def _faults(field: Field, values: Values, until: int) -> Iterator[tuple[int, Fault]]:
    if field.column == "time":
        for row, value in enumerate(values):
            if not EARLIEST <= value < until:
                yield row, (Reason.BAD_TIMESTAMP, _when(value))
    elif field.kind in _BITS:
        limit = 2 ** (_BITS[field.kind] - 1)
        for row, value in enumerate(values):
            if not -limit <= value < limit:
                yield row, (Reason.OUT_OF_RANGE, f"{field.column}: more than {_BITS[field.kind]} bits")
    elif field.kind is Kind.FLOAT:
        for row, value in enumerate(values):
            if not math.isfinite(value):
                yield row, (Reason.BAD_FIELD, f"{field.column}: not a finite number")


def _when(milliseconds: int) -> str:
    # Year 1 in any zone, and the epoch: how msgpack or JSON, and protobuf, say that there is none.
    if milliseconds <= _STORABLE[0] or milliseconds == 0:
        return "no time stamp"
    return "before 2000" if milliseconds < EARLIEST else "more than a day ahead"


def _joined(field: Field, pieces: Sequence[tuple[int, Made | None]]) -> Made:
    plain = _ZEROS[field.kind]
    if all(made is None for _, made in pieces):
        return _repeated(_encoded(field.kind, plain), sum(rows for rows, _ in pieces))
    arrays = [_repeated(plain, rows) if made is None else made for rows, made in pieces]
    try:
        return _encoded(field.kind, pa.concat_arrays(arrays))
    except pa.ArrowInvalid:
        # More text than one array can hold.
        return pa.chunked_array([_encoded(field.kind, array) for array in arrays])


def _repeated(one: Made, rows: int) -> Made:
    return one.take(pa.repeat(pa.scalar(0, pa.int32()), rows))


def _encoded(kind: Kind, plain: Made) -> Made:
    if kind is Kind.NAME:
        return plain.dictionary_encode()
    if kind is Kind.NAMES:
        return pa.ListArray.from_arrays(plain.offsets, plain.values.dictionary_encode())
    return plain


def _texts(values: Values) -> Made:
    try:
        # Of bytes, Arrow checks that they are UTF-8.
        return pa.array(values, pa.string())
    except (pa.ArrowInvalid, UnicodeEncodeError):
        return pa.array(list(map(text, values)), pa.string())


def _lists(values: Values) -> Made:
    lists: Sequence[Any] = [value or () for value in values]
    offsets: Made = pa.array(list(accumulate(map(len, lists), initial=0)), pa.int32())
    return pa.ListArray.from_arrays(offsets, _texts(list(chain.from_iterable(lists))))


def _numbers(kind: Kind) -> Callable[[Values], Made]:
    def build(values: Values) -> Made:
        try:
            return pa.array(values, kind.arrow)
        except (pa.ArrowInvalid, OverflowError):
            raise UnfitError from None

    return build


def _floats(values: Values) -> Made:
    made = pa.array(values, pa.float64())
    if not pc.all(pc.is_finite(made)).as_py():
        raise UnfitError
    return made


def _instants(values: Values) -> Made:
    first, last = _STORABLE
    if not first <= min(values) <= max(values) <= last:
        values = [value if first <= value <= last else NOT_SET for value in values]
    return pa.array(values, pa.int64()).cast(Kind.INSTANT.arrow)


_BUILD: Final[dict[Kind, Callable[[Values], Made]]] = {
    Kind.TEXT: _texts,
    Kind.NAME: _texts,
    Kind.NAMES: _lists,
    Kind.INT: _numbers(Kind.INT),
    Kind.CODE: _numbers(Kind.CODE),
    Kind.FLOAT: _floats,
    Kind.FLAG: lambda values: pa.array(values, pa.bool_()),
    Kind.INSTANT: _instants,
}


_ZEROS: Final[dict[Kind, Made]] = {
    kind: _BUILD[kind]([NOT_SET if kind is Kind.INSTANT else kind.zero]) for kind in Kind
}
