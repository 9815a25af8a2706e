"""Records as msgpack: by msgspec, and what that refuses by the `msgpack` library."""

from typing import Any, Final

import msgpack
import msgspec

from keytrail.collect.lenient import Mend, text, whole
from keytrail.collect.reader import NO_TIME, Reader, UnreadableError, Values, tree_of
from keytrail.collect.structs import struct_of, turn_of
from keytrail.record import FIELDS, Reason

_TREE: Final = tree_of({field: field.go for field in FIELDS})
_RECORD: Final = struct_of("MsgpackRecord", _TREE, (tuple[int, int], (NO_TIME, 0)))


def _milliseconds(values: Values) -> list[int]:
    return [seconds * 1000 + nanoseconds // 1_000_000 for seconds, nanoseconds in values]


def _time(value: Any) -> tuple[int, int]:
    if isinstance(value, msgpack.Timestamp):
        return value.seconds, value.nanoseconds
    if isinstance(value, list) and len(value) == 2:
        return whole(value[0]), whole(value[1])
    raise ValueError("a time")


_clean: Final = Mend(_TREE, _time)


def _pairs(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """A map by its names; a key that is no text, as which anything may come, can't be a name of ours."""
    if {type(key) for key, _ in pairs} <= {str}:
        return dict(pairs)
    return {text(key): value for key, value in pairs if isinstance(key, str | bytes)}


def _mend(blob: bytes) -> Any:
    try:
        found = msgpack.unpackb(
            blob,
            unicode_errors="replace",
            strict_map_key=False,
            object_pairs_hook=_pairs,
            timestamp=0,
        )
    except msgpack.ExtraData:
        raise UnreadableError(Reason.NOT_A_RECORD, "bytes after the end of the msgpack value") from None
    except Exception:
        # Its errors are of many types and quote the bytes.
        raise UnreadableError(Reason.NOT_A_RECORD, "not one whole msgpack value") from None
    return msgspec.convert(_clean(found), _RECORD)


READER: Final = Reader(
    read=msgspec.msgpack.Decoder(_RECORD).decode,
    mend=_mend,
    columns=turn_of(_TREE, _milliseconds),
)
