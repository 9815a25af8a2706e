"""Records as JSON: in the pump's snake case, or by the gateway's own names as in msgpack."""

import json
from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

import msgspec

from keytrail.collect.lenient import Mend
from keytrail.collect.reader import NO_TIME, Reader, UnreadableError, tree_of
from keytrail.collect.structs import struct_of, turn_of
from keytrail.instants import to_instant
from keytrail.record import BY_COLUMN, FIELDS, Field, Reason

_MOST_DIGITS: Final = 40
"""More than the digits of any number that a column holds."""


class Instant(int):
    """ms since the epoch, UTC."""


_NO_INSTANT: Final = Instant(NO_TIME * 1000)


def instant(value: Any) -> Instant:
    """An RFC 3339 time as an instant; "" is none.

    msgspec's own datetimes won't do: it rounds what is below a microsecond, which carries the last nanoseconds of a day
    into the next. Python's cuts it off.

    Raises:
        ValueError: Not such a time, or without an offset.
    """
    if value == "":
        return _NO_INSTANT
    try:
        when = datetime.fromisoformat(value.upper())
    except (AttributeError, ValueError):
        when = None
    if when is None or when.tzinfo is None:
        raise ValueError("an RFC 3339 time")
    return Instant(to_instant(when))


class _Form:
    """One of the two sets of names.

    Attributes:
        tree: The fields by these names.
        struct: The type that a record is decoded to.
        decode: Bytes to that type.
        clean: A plain object, as a lenient library read it, to what the type takes.
    """

    def __init__(self, name: str, paths: dict[Field, str]) -> None:
        self.tree = tree_of(paths)
        self.struct = struct_of(name, self.tree, (Instant, _NO_INSTANT))
        self.decode = msgspec.json.Decoder(self.struct, dec_hook=lambda _, value: instant(value)).decode
        self.clean = Mend(self.tree, instant)
        self._time = attrgetter(paths[BY_COLUMN["time"]])

    def has_time(self, record: msgspec.Struct) -> bool:
        """Whether a record has a time stamp by these names."""
        return bool(self._time(record) != _NO_INSTANT)


# Both are names of one and the same struct of the gateway: a field has the two, or none. So rows of both forms have the
# same parts in the same order, and a batch may hold both.
_SNAKE: Final = _Form("JsonRecord", {field: field.json for field in FIELDS if field.go})
_GO: Final = _Form("GoJsonRecord", {field: field.go for field in FIELDS if field.json})


def _either(record_as: Callable[[_Form], msgspec.Struct]) -> msgspec.Struct:
    record = record_as(_SNAKE)
    return record if _SNAKE.has_time(record) else record_as(_GO)


def _read(blob: bytes) -> msgspec.Struct:
    return _either(lambda form: form.decode(blob))


def _mend(blob: bytes) -> msgspec.Struct:
    try:
        found = json.loads(
            # Without the signature that some editors put before the first line of a file.
            blob.decode("utf-8-sig", "replace"),
            # msgspec takes control characters in text, too.
            strict=False,
            # Python refuses to read numbers of thousands of digits. Cut, they are still too large for any column.
            parse_int=lambda digits: int(digits[:_MOST_DIGITS]),
            parse_constant=_refuse,
        )
    except (ValueError, RecursionError):
        raise UnreadableError(Reason.NOT_A_RECORD, "not one whole JSON value") from None
    return _either(lambda form: msgspec.convert(form.clean(found), form.struct))


def _refuse(_: str) -> Any:
    raise ValueError("no JSON")


READER: Final = Reader(read=_read, mend=_mend, columns=turn_of(_SNAKE.tree, lambda values: values))
