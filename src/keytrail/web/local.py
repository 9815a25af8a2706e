"""The socket in the data directory, by which commands reach the server that holds it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from keytrail.errors import KeytrailError

SOCKET_NAME: Final = "keytrail.sock"
LOCAL_STATE: Final = "keytrail.local"
"""Marks in a request's scope that it came through the socket."""

_LONGEST_SOCKET_PATH: Final = 100
"""The system's limit is 104 to 108 bytes."""


class Local:
    """What comes through the socket in the data directory is from somebody who may read the data anyway."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._app({**scope, LOCAL_STATE: True}, receive, send)


@contextlib.contextmanager
def socket_address(directory: Path) -> Iterator[str]:
    """A path of the socket in a data directory that is short enough for the system, however deep it lies.

    Raises:
        KeytrailError: The system has no way to shorten it.
    """
    path = str(directory.resolve() / SOCKET_NAME)
    if len(path.encode()) <= _LONGEST_SOCKET_PATH:
        yield path
        return
    if not Path("/proc/self/fd").is_dir():
        raise KeytrailError(f"the path of the data directory {directory} is too long for a socket on this system")
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET_NAME}"
    finally:
        os.close(folder)
