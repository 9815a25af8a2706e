"""Write what comes in pieces to a file that is there when it is whole, or to standard output."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from keytrail.errors import FileError, KeytrailError


def write_out(out: str, pieces: Iterator[bytes]) -> int:
    """Write pieces.

    Args:
        out: The file, which has the ending `.part` until it is whole; "-" is standard output.
        pieces: What to write.

    Returns:
        Bytes written.

    Raises:
        FileError: The file can't be written; names it.
    """
    return _to_standard_output(pieces) if out == "-" else _to_file(Path(out), pieces)


def _to_standard_output(pieces: Iterator[bytes]) -> int:
    size = 0
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        size += len(piece)
    sys.stdout.buffer.flush()
    return size


def _to_file(path: Path, pieces: Iterator[bytes]) -> int:
    part = path.with_name(path.name + ".part")
    size = 0
    try:
        # Records are nobody else's business.
        file = os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        try:
            with file:
                for piece in pieces:
                    file.write(piece)
                    size += len(piece)
            part.replace(path)
        except (KeytrailError, OSError, KeyboardInterrupt):
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    return size
