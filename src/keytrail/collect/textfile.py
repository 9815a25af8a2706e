"""A file of lines, plain or compressed, read so that nothing of it is lost and nothing of it is guessed."""

import gzip
import io
import sys
import zlib
from io import BufferedIOBase
from itertools import accumulate
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any, Final, Protocol, cast

import zstandard

from keytrail.collect.lines import LONGEST_LINE
from keytrail.errors import FileError

_BUFFER: Final = 1 << 20
_AROUND: Final = b" \t\r\n"
"""What may stand around a line."""
_ZSTD_INPUT: Final = 8 << 10
"""Compressed bytes that are unpacked at once: little, as they may become 30,000 times as many."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_OTHERS: Final = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a zip archive",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ": "xz data",
    b"SQLite format": "an SQLite database",
    b"REDIS0": "a dump of Redis",
}


class Readable(Protocol):
    """A file of bytes that can be asked for no more than it has."""

    def read1(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end."""


class Lines:
    """The lines of a file; blank ones are left out.

    Args:
        file: The file as bytes.
        name: Its name, for messages.
        size: Its length in bytes; None if that can't be known.

    Attributes:
        number: Number of the last line that was read, from 1.
        broken: Why reading ended early; "" if it did not.
        rest: What stood of the line in which it ended.

    Raises:
        FileError: It is plainly something else.
    """

    def __init__(self, file: Readable, name: str, size: int | None = None) -> None:
        self.name = name
        self.size = size
        self.number = 0
        self.broken = ""
        self.rest = b""
        self._file = _Counted(file)
        self._back: list[tuple[int, bytes]] = []
        self._ready: list[tuple[int, bytes]] = []
        self._unended: list[tuple[int, bytes]] = []
        self._tail = b""
        self._skipping = False
        self._source = self._open()

    @property
    def read(self) -> int:
        """Bytes of the file that were read, of `size`."""
        return self._file.count

    def take(self, most_lines: int, most_bytes: int) -> list[tuple[int, bytes]]:
        """The next lines with their numbers, without their ends; at most so many.

        A last line without an end comes alone. It may be the beginning of a line that is still being written: then
        the lines before it can be recognised when the file has grown.
        """
        taken, self._back = self._back, []
        room = most_bytes - sum(len(line) for _, line in taken)
        while len(taken) < most_lines and room > 0:
            if not self._ready and not self._read_on():
                break
            # By the lines alone: where a chunk ends must not depend on how the file happens to be read.
            count = min(most_lines - len(taken), len(self._ready))
            for number, size in enumerate(accumulate(len(line) for _, line in self._ready[:count]), 1):
                if size >= room:
                    count = number
                    break
            taken += self._ready[:count]
            room -= size
            del self._ready[:count]
        if not taken:
            taken, self._unended = self._unended, []
        return taken

    def put_back(self, lines: list[tuple[int, bytes]]) -> None:
        """Lines that were taken too many."""
        self._back = lines + self._back

    def _read_on(self) -> bool:
        """Read until a line is ready; False at the end."""
        while not self._ready:
            block = self._source.read1(_BUFFER)
            if not block:
                self._end()
                return False
            if self._skipping:
                _, ended, block = block.partition(b"\n")
                self._skipping = not ended
                if self._skipping:
                    continue
            lines = block.split(b"\n")
            lines[0] = self._tail + lines[0]
            self._tail = lines.pop()
            self._number(lines)
            if len(self._tail) >= LONGEST_LINE:
                self._number([self._tail])
                self._tail = b""
                self._skipping = True
        return True

    def _number(self, lines: list[bytes]) -> None:
        for line in lines:
            self.number += 1
            if stripped := line[:LONGEST_LINE].strip(_AROUND):
                self._ready.append((self.number, stripped))

    def _end(self) -> None:
        rest, self._tail = self._tail, b""
        self.broken = self.broken or self._file.broken
        if self.broken:
            self.rest = self.rest or rest
        elif rest:
            self.number += 1
            if stripped := rest.strip(_AROUND):
                self._unended = [(self.number, stripped)]

    def _open(self) -> "io.BufferedReader[Any]":
        raw = io.BufferedReader(self._file, _BUFFER)
        start = raw.peek(16)
        unpacked: Readable
        if start.startswith(_GZIP):
            unpacked = gzip.GzipFile(fileobj=raw)
        elif start.startswith(_ZSTD):
            unpacked = _Zstd(raw)
        else:
            for magic, what in _OTHERS.items():
                if start.startswith(magic):
                    raise FileError(f"{self.name}: {what}; captures, JSON lines, CSV and Parquet can be imported")
            return raw
        return io.BufferedReader(_Guarded(unpacked, self._file), _BUFFER)


class _Counted(io.RawIOBase):
    """Any file of bytes as what a buffer can be put on; counts them, and remembers why they ended early."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.count = 0
        self.broken = ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            # What there is, however little: a pipe may not have more for a long time.
            data = self._file.read1(len(buffer))
        except OSError as error:
            self.broken = f"the file can't be read on: {error.strerror or error}"
            return 0
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)


class _Guarded(io.RawIOBase):
    """Unpacked data that ends where unpacking fails, so that everything before that is still had."""

    def __init__(self, unpacked: Readable, file: _Counted) -> None:
        self._unpacked = unpacked
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            # Reading more than is there at once would lose what came before the damage.
            data = self._unpacked.read1(len(buffer))
        except EOFError:
            self._file.broken = self._file.broken or "the compressed data ends too early"
            return 0
        except (zlib.error, gzip.BadGzipFile, zstandard.ZstdError):
            self._file.broken = "the compressed data is damaged"
            return 0
        buffer[: len(data)] = data
        return len(data)


class _Zstd:
    """Frames of zstd. The library's own reader takes a frame that was cut off for a whole one."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._ready = b""

    def read1(self, size: int) -> bytes:
        """At most so many bytes, none at the end.

        Raises:
            EOFError: The data ends within a frame.
        """
        while not self._ready:
            packed = self._raw.read(_ZSTD_INPUT)
            if not packed:
                if self._frame:
                    raise EOFError
                return b""
            self._ready = self._unpack(packed)
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def _unpack(self, packed: bytes) -> bytes:
        pieces = []
        while packed:
            frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            pieces.append(frame.decompress(packed))
            self._frame, packed = (None, frame.unused_data) if frame.eof else (frame, b"")
        return b"".join(pieces)


def open_file(name: str) -> tuple[BufferedIOBase, str, int | None]:
    """A file by its name, `-` for standard input: it, its name for people, and its length in bytes if that is known.

    Raises:
        FileError: It can't be opened.
    """
    if name == "-":
        # It is one, though its type does not say so.
        return cast(BufferedIOBase, sys.stdin.buffer), "standard input", None
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - the caller closes it
        about = Path(name).stat()
    except OSError as error:
        raise FileError(f"{name}: {error.strerror}") from error
    # A name need not be text.
    return file, name.encode(errors="replace").decode(), about.st_size if S_ISREG(about.st_mode) else None
