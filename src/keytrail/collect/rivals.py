"""Other readers of the same lists: what they took is missing here, and must look like it."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from keytrail.collect.frozen_batch import ForeignBatches, ListBacklog, Sealed
from keytrail.collect.gaps import Cause, GapKeeper
from keytrail.collect.source import Source

log = structlog.get_logger("keytrail.collect")

LOOK_FOR_RIVALS_EVERY: Final = 60.0


class Rivals:
    """Notices who else takes records from the lists; what they took is a gap. For one thread.

    Args:
        source: The lists.
        gaps: Where the gaps go.
        alone: No other process collects for the same store. Else a list that shrank tells nothing: another may have
            sealed it.
    """

    def __init__(self, source: Source, gaps: GapKeeper, *, alone: bool = True) -> None:
        self._source = source
        self._gaps = gaps
        self._alone = alone
        self._lengths: dict[str, int] = {}
        self._looked_at: datetime | None = None
        self._found: tuple[datetime, datetime] | None = None
        self._asked = 0.0
        self._asked_at: datetime | None = None
        self._warned: set[str] = set()

    def looked(self, lists: Sequence[ListBacklog], at: datetime) -> None:
        """Compare the lists' lengths with those that sealing has left."""
        lengths = {one.list_name: one.length for one in lists}
        # A list that is gone altogether may have expired, which the radar warns of.
        shrunk = [name for name, length in self._lengths.items() if 0 < lengths.get(name, 0) < length]
        self._suspect_somebody(at, shrunk)
        self._lengths, self._looked_at = lengths, at

    def sealed(self, outcomes: Sequence[Sealed], at: datetime) -> None:
        """Compare what was sealed with what was seen just before."""
        taken = {one.list_name: one.records for one in outcomes if one.outcome == "sealed"}
        shrunk = [name for name, count in taken.items() if count < self._lengths.get(name, 0)]
        self._suspect_somebody(at, shrunk)
        for name in taken:
            self._lengths.pop(name, None)

    def ask(self) -> tuple[ForeignBatches, ...] | None:
        """Once a minute: the other stores that have sealed from the lists; None in between.

        Raises:
            SourceError: Redis can't be asked.
        """
        if time.monotonic() - self._asked < LOOK_FOR_RIVALS_EVERY and self._asked_at is not None:
            return None
        self._asked = time.monotonic()
        found = tuple(self._source.foreign_batches())
        now, clock_ms = datetime.now(UTC), self._source.time_ms() if found else 0
        since = self._asked_at or now - timedelta(seconds=LOOK_FOR_RIVALS_EVERY)
        for one in found:
            sealed = now - timedelta(milliseconds=clock_ms - one.last_seal_ms)
            self._suspect(f"the store {one.store_id}", max(since, sealed - timedelta(seconds=1)), now, sealed > since)
        self._asked_at = now
        self.note()
        return found

    def _suspect_somebody(self, at: datetime, shrunk: Sequence[str]) -> None:
        if self._looked_at is not None and self._alone:
            self._suspect("something that reads the same lists", self._looked_at, at, bool(shrunk))

    def _suspect(self, who: str, start: datetime, end: datetime, guilty: bool) -> None:
        if not guilty:
            return
        if who not in self._warned:
            self._warned.add(who)
            log.warning("something else takes records from the lists", source=self._source.name, who=who)
        self._found = (min(start, self._found[0]), max(end, self._found[1])) if self._found else (start, end)

    def note(self) -> None:
        """Keep what was found as one gap."""
        if self._found:
            self._gaps.note(Cause.COMPETING_READER, *self._found)
            self._found = None
