"""The lock on a data directory: one process holds it, and says who it is."""

import fcntl
import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import structlog

from keytrail.errors import StoreBusy, StoreError

log = structlog.get_logger("keytrail.store")

FILE_NAME: Final = "lock"
_LOOK_EVERY: Final = 0.1


class DirectoryLock:
    """Held by the one process that may use a data directory; the system lets go of it if that process dies.

    Args:
        directory: The data directory; made (mode 0700) if missing.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._file: IO[str] | None = None

    def acquire(self, *, wait: float = 0) -> None:
        """Take the lock.

        Args:
            wait: Seconds to wait for the holder to let go.

        Raises:
            StoreBusy: Another process holds it; the message says host, process id and since when.
            StoreError: The folder can't be made or written.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self._path.open("a+", encoding="utf-8")
        except OSError as error:
            raise StoreError(f"data directory {self._path.parent}: {error.strerror}") from error
        deadline = time.monotonic() + wait
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    file.close()
                    raise StoreBusy(f"data directory {self._path.parent} is held by {self.holder()}") from None
                if not told:
                    log.info("waiting for the data directory", held_by=self.holder(), seconds=wait)
                    told = True
                time.sleep(_LOOK_EVERY)
        file.truncate(0)
        json.dump(
            {"host": socket.gethostname(), "pid": os.getpid(), "since": datetime.now(UTC).isoformat("T", "seconds")},
            file,
        )
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let go of the lock; safe to call twice."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def holder(self) -> str:
        """Who holds it, for people."""
        try:
            held = json.loads(self._path.read_text(encoding="utf-8"))
            return f"process {held['pid']} on {held['host']} since {held['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"
