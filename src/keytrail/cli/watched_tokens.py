"""The tokens of a running server, read again when the settings file changes."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from keytrail.config import Settings, Token, find_file
from keytrail.errors import ConfigError

LOOK_EVERY: Final = 1.0
"""Seconds between looks at the file."""

log = structlog.get_logger("keytrail")

_State = tuple[str, int, int, int] | None


class WatchedTokens:
    """The tokens as the settings file has them now. An edit that breaks the file leaves them as they were.

    Args:
        settings: The settings that the process began with.
        load: Reads them again.
        file: The settings file; None looks in the usual places.
        clock: Seconds that pass.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        file: Path | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._tokens: Sequence[Token] = tuple(settings.tokens)
        self._load = load
        self._file = file
        self._clock = clock
        self._looked = clock()
        self._state = self._look()
        self._one_at_a_time = threading.Lock()

    def __call__(self) -> Sequence[Token]:
        """The tokens; looks at the file if that was not done in the last second."""
        # Who finds another thread at it takes what was there before, and does not wait.
        if self._clock() - self._looked >= LOOK_EVERY and self._one_at_a_time.acquire(blocking=False):
            try:
                self._looked = self._clock()
                self._read_if_changed()
            finally:
                self._one_at_a_time.release()
        return self._tokens

    def _look(self) -> _State:
        path = self._file or find_file()
        try:
            about = path.stat() if path else None
        except OSError:
            return None
        return (str(path), about.st_ino, about.st_mtime_ns, about.st_size) if about else None

    def _read_if_changed(self) -> None:
        state = self._look()
        if state == self._state:
            return
        self._state = state
        try:
            new = self._load()
        except ConfigError as error:
            # Somebody must act: they believe that what they wrote holds.
            text = "the settings have changed and can't be read; the tokens stay as they were"
            log.error(text, error=str(error))
            return
        self._tokens = tuple(new.tokens)
        log.info("the tokens were read again", tokens=len(self._tokens))
        if new.model_copy(update={"tokens": []}) != self._settings.model_copy(update={"tokens": []}):
            log.warning("other settings have changed, too; they take effect after a restart")
