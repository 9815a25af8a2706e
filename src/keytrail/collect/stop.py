"""Stopping when a signal asks for it: what is under way is finished, nothing new is begun."""

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Final, TypeVar

T = TypeVar("T")

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
INTERRUPTED: Final = 130
"""Exit status of a process that was asked to stop before it was done."""


class _Left(Exception):
    """Raised by a signal where leaving at once loses nothing."""


class Stop:
    """Within it SIGINT and SIGTERM only set `asked`; the second ends the process. For the main thread."""

    def __init__(self) -> None:
        self.asked = False
        self._may_leave = False

    def __enter__(self) -> "Stop":
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def leave(self, work: Callable[[], T]) -> T | None:
        """Do what may wait for ever and loses nothing if it is left in the middle; None if a signal came."""
        try:
            try:
                self._may_leave = True
                return None if self.asked else work()
            finally:
                self._may_leave = False
        except _Left:
            return None

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            # Somebody insists. What is half written now is mended by the next run.
            os._exit(INTERRUPTED)
        self.asked = True
        if self._may_leave:
            self._may_leave = False
            raise _Left
