"""Records as msgpack: by msgspec, and what that refuses by the `msgpack` library."""

from typing import Any, Final

import msgpack
import msgspec

from keytrail.collect.lenient import Mend, text, whole
from keytrail.collect.reader import NO_TIME, Reader, UnreadableError, Values, in_order, tree_of
from keytrail.collect.shared import Known, Part
from keytrail.collect.structs import struct_of, turn_of, type_of
from keytrail.record import FIELDS, GO_ORDER, Field, Reason

# In the order in which gateways write: msgspec looks for the next name first, a seventh less work.
_TREE: Final = in_order(tree_of({field: field.go for field in FIELDS}), GO_ORDER)
_TIMES: Final = (tuple[int, int], (NO_TIME, 0))
_SHARED: Final = frozenset({"Geo", "Network", "GraphQLStats", "MCPStats", "Tags"})
"""What is mostly the same from record to record."""
_RECORD: Final = struct_of("MsgpackRecord", _TREE, _TIMES, _SHARED)
_WHOLE: Final = struct_of("WholeMsgpackRecord", _TREE, _TIMES)


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


def _unpacked(data: bytes) -> Any:
    try:
        return msgpack.unpackb(
            data,
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


def _mend(blob: bytes) -> Any:
    found = msgspec.convert(_clean(_unpacked(blob)), _WHOLE)
    values = zip(_TREE, msgspec.structs.astuple(found), strict=True)
    return _RECORD(*(Known(value) if name in _SHARED else value for name, value in values))


def _part(name: str, inner: Any) -> Part:
    kind, zero = type_of(f"MsgpackRecord{name}", inner, _TIMES)

    def mend(data: bytes) -> Any:
        clean = _clean({name: _unpacked(data)})
        return msgspec.convert(clean[name], kind) if name in clean else zero

    if isinstance(inner, Field):
        return Part(kind, zero, mend, lambda values: {inner.column: values})
    return Part(kind, zero, mend, turn_of(inner, _milliseconds))


READER: Final = Reader(
    read=msgspec.msgpack.Decoder(_RECORD).decode,
    mend=_mend,
    columns=turn_of(_TREE, _milliseconds, {name: _part(name, _TREE[name]) for name in _SHARED}),
)
