"""Records as the vendor's pump leaves them elsewhere, made the JSON records that they stand for.

Its standard output has each record in a line of a log. An export of its MongoDB or SQL tables has the struct's names in
lower case, MongoDB's with times and numbers as extended JSON. Kafka has one name of its own. Read as they are, they
would lose their key, organisation and code without a word. Names are from the pump's open source code.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from keytrail.instants import moment_of
from keytrail.record import FIELDS

_LOGGED: Final = "tyk-analytics-record"
"""The field of a log line that has the record, if the pump's `log_field_name` says nothing else."""
_LOG_MARK: Final = f'"{_LOGGED}"'.encode()
_LOWER_MARK: Final = b'"responsecode"'
_KAFKA_TIME: Final = "request_time_ms"
_KAFKA_MARK: Final = f'"{_KAFKA_TIME}"'.encode()

Names = dict[str, tuple[str, "Names"]]
"""Name of a field in lower case to its name in the pump's JSON and the names below it."""


class _Line(msgspec.Struct):
    record: msgspec.Raw = msgspec.field(name=_LOGGED)


_line: Final = msgspec.json.Decoder(_Line)


def _names() -> Names:
    names: Names = {_KAFKA_TIME: ("request_time", {})}
    for field in FIELDS:
        below = names
        for lower, name in zip(field.go.lower().split("."), field.json.split("."), strict=True):
            below = below.setdefault(lower, (name, {}))[1]
    return names


_NAMES: Final = _names()


def record_of(line: bytes) -> bytes:
    """The JSON record of a line; the line itself where it is one, or nothing that is known."""
    try:
        if _LOG_MARK in line:
            line = bytes(_line.decode(line).record)
        if _LOWER_MARK in line or _KAFKA_MARK in line:
            found = msgspec.json.decode(line)
            if isinstance(found, dict):
                return msgspec.json.encode(_renamed(found, _NAMES))
    except (msgspec.DecodeError, RecursionError):
        # What is wrong with it is found again where records are read.
        return line
    return line


def _renamed(found: dict[str, Any], names: Names) -> dict[str, Any]:
    renamed = {}
    for key, value in found.items():
        name, below = names.get(key, (key, {}))
        renamed[name] = _renamed(value, below) if below and isinstance(value, dict) else _plain(value)
    return renamed


def _plain(value: Any) -> Any:
    """A value of MongoDB's extended JSON, of either form, as plain JSON; another as it is."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if len(value) == 1:
            ((kind, inner),) = value.items()
            if kind in _EXTENDED:
                return _read(_EXTENDED[kind], inner, value)
        return {key: _plain(item) for key, item in value.items()}
    return value


def _read(read: Callable[[Any], Any], inner: Any, value: Any) -> Any:
    try:
        return read(inner)
    except (TypeError, ValueError, OverflowError):
        # Left to be refused by the name of its field.
        return value


def _moment(inner: Any) -> Any:
    moment = _plain(inner)
    return moment_of(moment).isoformat() if isinstance(moment, int) else moment


_EXTENDED: Final[dict[str, Callable[[Any], Any]]] = {
    "$date": _moment,
    "$numberInt": int,
    "$numberLong": int,
    "$numberDouble": float,
}
