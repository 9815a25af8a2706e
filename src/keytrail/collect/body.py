"""The body of a request to the bytes of its records: unpacked within bounds, and split where one record ends."""

import re
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import msgpack
import msgspec
import zstandard

from keytrail.collect.decode import Wire
from keytrail.errors import RequestError, TooLarge, Unsupported

MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of a body, packed and unpacked."""
MOST_RECORDS: Final = 100_000
"""Records of a body."""

_PIECE: Final = 1 << 20
_ZSTD_INPUT: Final = 1 << 10
"""Compressed bytes that are unpacked at once: they may become 30,000 times as many."""
_ZSTD_WINDOW: Final = MOST_BYTES
_VARINT_BYTES: Final = 5
"""Bytes of the longest length before a protobuf message."""

_SURROGATES: Final = re.compile(
    # An escape's own backslash comes after pairs of them: those are backslashes of the text.
    rb"(?<!\\)((?:\\\\)*)(?:(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_MOST_MENDED: Final = 100_000
"""Escaped surrogates of a body that are looked at: millions of them would take hundreds of megabytes."""

Split = Callable[[bytes], Iterator[bytes]]


def unpack(body: bytes, encoding: str) -> bytes:
    """A body without its content encoding.

    Args:
        body: The body.
        encoding: Value of `Content-Encoding`; "" for none.

    Raises:
        Unsupported: An encoding that is not understood.
        TooLarge: It is larger than `MOST_BYTES`; no more than a few times that is ever held.
        RequestError: It is damaged or ends too early.
    """
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        pieces: Iterator[bytes] = iter((body,))
    elif name in {"gzip", "x-gzip"}:
        pieces = _gunzip(body)
    elif name == "zstd":
        pieces = _unzstd(body)
    else:
        raise Unsupported("Content-Encoding: one of gzip, zstd, identity")
    whole = bytearray()
    try:
        for piece in pieces:
            whole += piece
            if len(whole) > MOST_BYTES:
                raise TooLarge(f"body: at most {MOST_BYTES} bytes when unpacked")
    except (zlib.error, zstandard.ZstdError):
        raise RequestError(f"body: it is not {name} data, or damaged") from None
    except EOFError:
        raise RequestError(f"body: the {name} data ends too early") from None
    return bytes(whole)


def _gunzip(body: bytes) -> Iterator[bytes]:
    while body:
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        while not member.eof:
            piece = member.decompress(body, _PIECE)
            body = member.unconsumed_tail
            if not piece and not body and not member.eof:
                raise EOFError
            yield piece
        body = member.unused_data


def _unzstd(body: bytes) -> Iterator[bytes]:
    frame: zstandard.ZstdDecompressionObj | None = None
    for start in range(0, len(body), _ZSTD_INPUT):
        packed = body[start : start + _ZSTD_INPUT]
        while packed:
            frame = frame or zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
            yield frame.decompress(packed)
            frame, packed = (None, frame.unused_data) if frame.eof else (frame, b"")
    if frame:
        raise EOFError


def split(body: bytes, content_type: str) -> tuple[list[bytes], Wire]:
    """The bytes of each record of an unpacked body, and their form.

    Args:
        body: The body.
        content_type: Value of `Content-Type`; parameters are ignored.

    Raises:
        Unsupported: A type that is not understood.
        TooLarge: It has more than `MOST_RECORDS`; no more of them than that are ever held.
        RequestError: It can't be told where one record ends; the message names the first that is at fault.
    """
    name = content_type.partition(";")[0].strip().lower()
    if name not in _TYPES:
        raise Unsupported(f"Content-Type: one of {', '.join(_TYPES)}")
    wire, parts = _TYPES[name]
    blobs: list[bytes] = []
    for blob in parts(body):
        blobs.append(blob)
        if len(blobs) > MOST_RECORDS:
            raise TooLarge(f"body: at most {MOST_RECORDS} records")
    return blobs, wire


def _lines(body: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        if line := body[start:end].strip(b" \t\r"):
            yield line
        start = end + 1


class _Room(threading.local):
    """How many more records of an array this thread takes."""

    left = 0


_room: Final = _Room()


class _Counted(msgspec.Struct, gc=False):
    """An object of an array, of which nothing is kept."""

    def __post_init__(self) -> None:
        _room.left -= 1
        if _room.left < 0:
            raise TooLarge(f"body: at most {MOST_RECORDS} records")


_array: Final = msgspec.json.Decoder(list[msgspec.Raw])
_count: Final = msgspec.json.Decoder(list[_Counted])


def _json_array(body: bytes) -> Iterator[bytes]:
    try:
        return _items(body)
    except RequestError:
        # A caller of the gateway chose such a path, and must not keep away what others did.
        mended = _SURROGATES.sub(_whole, body, count=_MOST_MENDED)
        if mended == body:
            raise
        return _items(mended)


def _whole(found: re.Match[bytes]) -> bytes:
    """A pair of surrogates as it is; the replacement character for one alone, which no text can hold."""
    return found[0] if found[2] else found[1] + rb"\ufffd"


def _items(body: bytes) -> Iterator[bytes]:
    try:
        # 64 MiB of `{},` are 22 million items, whose places alone would take gigabytes: what may be too many is counted
        # first. There, each has to be an object.
        if body.count(b",") >= MOST_RECORDS:
            _room.left = MOST_RECORDS
            _count.decode(body)
        items = _array.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = str(error) if isinstance(error, msgspec.DecodeError) else type(error).__name__
        raise RequestError(f"body: not a JSON array of records: {why}") from None
    return (bytes(item) for item in items)


def _msgpack(body: bytes) -> Iterator[bytes]:
    """An array of maps, or maps one after the other, as in a gateway's list."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(body) or 1)
    unpacker.feed(body)
    count = -1
    place = 0
    try:
        if body and (body[0] & 0xF0 == 0x90 or body[0] in {0xDC, 0xDD}):
            count = unpacker.read_array_header()
        start = unpacker.tell()
        while start < len(body) and place != count:
            unpacker.skip()
            end = unpacker.tell()
            yield body[start:end]
            start, place = end, place + 1
    except Exception:
        # Its errors are of many types and quote the bytes.
        raise RequestError(f"body: record {place} is not one whole msgpack value") from None
    if place < count:
        raise RequestError(f"body: the array of {count} records ends after {place}")
    if start < len(body):
        raise RequestError("body: bytes after the end of the array")


def _delimited(body: bytes) -> Iterator[bytes]:
    """Messages, each after its length as a varint: what protobuf's libraries call delimited."""
    start, place = 0, 0
    while start < len(body):
        size = shift = 0
        for position in range(start, min(start + _VARINT_BYTES, len(body))):
            size |= (body[position] & 0x7F) << shift
            shift += 7
            if body[position] < 0x80:
                start = position + 1
                break
        else:
            raise RequestError(f"body: the length before record {place} is no varint")
        if start + size > len(body):
            raise RequestError(f"body: record {place} is longer than what is left")
        yield body[start : start + size]
        start, place = start + size, place + 1


_TYPES: Final[dict[str, tuple[Wire, Split]]] = {
    "application/x-ndjson": (Wire.JSON, _lines),
    "application/ndjson": (Wire.JSON, _lines),
    "application/jsonl": (Wire.JSON, _lines),
    "application/json": (Wire.JSON, _json_array),
    "application/msgpack": (Wire.MSGPACK, _msgpack),
    "application/vnd.msgpack": (Wire.MSGPACK, _msgpack),
    "application/x-msgpack": (Wire.MSGPACK, _msgpack),
    "application/protobuf": (Wire.PROTOBUF, _delimited),
    "application/x-protobuf": (Wire.PROTOBUF, _delimited),
    "application/vnd.google.protobuf": (Wire.PROTOBUF, _delimited),
}
"""What a body may be: the form of its records, and how they are told from each other."""
