"""Records as protobuf, by the code that `make proto` generates from `analytics.proto`."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

from keytrail.collect.analytics_pb2 import AnalyticsRecord
from keytrail.collect.lenient import city_name, text
from keytrail.collect.reader import Parts, Reader, Turn, UnreadableError, Values, tree_of
from keytrail.collect.structs import type_fields
from keytrail.record import FIELDS, Reason, Shape


def _parts(names: Sequence[str]) -> Parts:
    take = attrgetter(*names)
    return take if len(names) > 1 else lambda message: (take(message),)


def _milliseconds(values: Values) -> list[int]:
    return [time.seconds * 1000 + time.nanos // 1_000_000 for time in values]


def _cities(values: Values) -> Values:
    return [city_name({entry.key: entry.value for entry in names}, b"en") if names else "" for names in values]


def _types(values: Values) -> Values:
    return [
        type_fields((text(kind), list(map(text, fields))) for kind, fields in _last(types).items()) if types else ()
        for types in values
    ]


def _last(types: Any) -> dict[bytes, Any]:
    """A map of protobuf may have a key several times: the last one counts."""
    return {entry.key: entry.value.fields for entry in types}


def _mend(_: bytes) -> Any:
    # Nothing to be lenient about: text is bytes, and a field of another type than ours is an unknown one.
    raise UnreadableError(Reason.NOT_A_RECORD, "not one whole protobuf message")


READER: Final = Reader(
    read=AnalyticsRecord.FromString,
    mend=_mend,
    columns=Turn(
        tree_of({field: field.proto for field in FIELDS}),
        {Shape.TIME: _milliseconds, Shape.CITY: _cities, Shape.TYPES: _types},
        _parts,
    ),
)
