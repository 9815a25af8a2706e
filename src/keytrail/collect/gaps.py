"""Gaps: intervals in which nothing was sealed, each with its cause: "no traffic" must not look like "not collected"."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final, Protocol

SHORTEST: Final = timedelta(seconds=5)
"""Shorter pauses are the ordinary rhythm, and far from the least time that a record lives in Redis."""
RESTORED_AFTER: Final = timedelta(seconds=60)
"""By so much Redis's note of our last sealing must be ahead of the store's to show that the store is an older copy."""
_HEARTBEAT_EVERY: Final = timedelta(seconds=10)


class Cause(Enum):
    """Why nothing was sealed."""

    DOWN = "down"
    """No collector was running."""
    SOURCE_AWAY = "source_away"
    """Redis could not be reached."""
    CAP = "cap"
    """As much was held in Redis as may be."""
    COMPETING_READER = "competing_reader"
    """Something else took records from the same lists."""
    RESTORED = "restored"
    """The store is an older copy: what was stored after it was made is missing."""


@dataclass(frozen=True, slots=True)
class Gap:
    """An interval in which nothing was sealed.

    Attributes:
        source: Name of the Redis.
        start: Its start.
        end: Its end; None while it lasts.
        cause: Why.
    """

    source: str
    start: datetime
    end: datetime | None
    cause: Cause


class Book(Protocol):
    """Where gaps and heartbeats are kept."""

    def last_heartbeat(self, source: str) -> datetime | None:
        """When a source was last known to be sealed."""

    def heartbeat(self, source: str, at: datetime) -> None:
        """Note that a source was sealed."""

    def add_gap(self, gap: Gap) -> None:
        """Keep a gap that has ended."""


class GapKeeper:
    """Turns what sealing says into gaps. Safe to use from several threads.

    What sealing says is only remembered; `flush` writes it into the book. So whoever seals never waits for the store.

    Args:
        source: Name of the Redis.
        book: Where gaps are kept.
        clock: Now, in UTC.
    """

    def __init__(self, source: str, book: Book, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._source = source
        self._book = book
        self._clock = clock
        self._lock = threading.Lock()
        self._cause = Cause.DOWN
        self._since = book.last_heartbeat(source)
        """When sealing was last known to work; None for a source that was never sealed, which can have no gap."""
        self._noted = self._since
        self._ended: list[Gap] = []
        self._working = False

    def known_from_source(self, last_seal: datetime, oldest_held: datetime | None) -> None:
        """Tell, before the first `sealed`, what Redis itself knows of our earlier sealing.

        Args:
            last_seal: When this store last sealed anything.
            oldest_held: Since when the oldest batch waits there that is not stored yet; None where none does.
        """
        with self._lock:
            if self._working or self._since is None or last_seal <= self._since:
                return
            # What was sealed before the oldest that is held was let go of, so a store must have confirmed it.
            gone_until = last_seal if oldest_held is None else min(last_seal, oldest_held)
            if gone_until - self._since > RESTORED_AFTER:
                self._ended.append(Gap(self._source, self._since, gone_until, Cause.RESTORED))
            self._since = last_seal

    def sealed(self) -> None:
        """Every list that had to be sealed was."""
        now = self._clock()
        with self._lock:
            if not self._working and self._since is not None and now - self._since >= SHORTEST:
                self._ended.append(Gap(self._source, self._since, now, self._cause))
            self._working = True
            self._since = now

    def not_sealed(self, cause: Cause) -> None:
        """Something that had to be sealed was not."""
        with self._lock:
            if self._working:
                self._cause = cause
            self._working = False
            if self._since is None:
                self._since = self._clock()
                self._cause = cause

    def note(self, cause: Cause, start: datetime, end: datetime) -> None:
        """Keep a gap that was found in another way."""
        with self._lock:
            self._ended.append(Gap(self._source, start, end, cause))

    def flush(self, *, last: bool = False) -> None:
        """Write down what has ended, and from time to time that sealing works. For one thread only.

        Args:
            last: Collection ends: note the last moment at which sealing worked, so that the next start knows exactly.

        Raises:
            StoreError: It stays to be written the next time.
        """
        with self._lock:
            ended, since = list(self._ended), self._since
            due = last or (
                self._working
                and (self._noted is None or (since is not None and since - self._noted >= _HEARTBEAT_EVERY))
            )
        for gap in ended:
            self._book.add_gap(gap)
            with self._lock:
                self._ended.remove(gap)
        if due and since is not None and since != self._noted:
            self._book.heartbeat(self._source, since)
            self._noted = since

    def present(self) -> Gap | None:
        """The gap that lasts now, if one does."""
        with self._lock:
            if self._working or self._since is None or self._clock() - self._since < SHORTEST:
                return None
            return Gap(self._source, self._since, None, self._cause)
