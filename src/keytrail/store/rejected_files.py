"""Files of lines that could not be imported, in the data directory: take out what is about somebody."""

import base64
import binascii
import json
import os
from collections.abc import Sequence
from pathlib import Path

from keytrail.errors import StoreError


def drop_lines_with(folder: Path, texts: Sequence[bytes]) -> int:
    """Take the lines out of all files of a folder in which one of some texts stands, plainly or in a captured record.

    Returns:
        How many there were.

    Raises:
        StoreError: A file can't be written.
    """
    dropped = 0
    try:
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            lines = file.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if not any(text in line or text in _record(line) for text in texts)]
            if len(kept) < len(lines):
                part = file.with_name(f"{file.name}.part")
                with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as new:
                    new.writelines(kept)
                part.replace(file)
                dropped += len(lines) - len(kept)
    except OSError as error:
        raise StoreError(f"{error.filename or folder}: {error.strerror or error}") from error
    return dropped


def _record(line: bytes) -> bytes:
    """The bytes of a record of a list, as a line of a capture has it; none of another line."""
    try:
        return base64.b64decode(json.loads(line)["record"])
    except (ValueError, KeyError, TypeError, binascii.Error):
        return b""
