"""What keeps a store sound: copies, holding it against its ledger, taking away what is not to be kept, erasing."""

import contextlib
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from keytrail.config import Retention
from keytrail.errors import RequestError, StoreError
from keytrail.memory import give_back
from keytrail.metrics import Metrics
from keytrail.store.backup import Backups
from keytrail.store.client import EmbeddedEngine, Engine
from keytrail.store.cold import Nowhere
from keytrail.store.erased import Remembered, Subject
from keytrail.store.erasing import Erasing, Receipt
from keytrail.store.kept import RAW_ROWS, RECORDED, ROLLUP_ROWS, kept_since, shown_since
from keytrail.store.raw_rows import cold_days
from keytrail.store.rejected_files import drop_lines_with
from keytrail.store.retention import Pruning, Step
from keytrail.store.verify import Verified, verify
from keytrail.store.writer import Writer

log = structlog.get_logger("keytrail.store")

FIRST_PRUNE: Final = 300.0
"""Seconds after the start: what was under way when the process before ended has been tried again by then."""
PRUNE_EVERY: Final = 3600.0
COLD_UNSET: Final = (
    "single records are in cold storage, and store.cold does not say where: no days are moved or dropped"
)
LOOK_EVERY: Final = 60.0
"""Seconds from one look at the disk to the next."""


class Upkeep:
    """The upkeep of one store, in the process that writes to it.

    Args:
        engine: Its engine.
        writer: The way into it.
        retention: What to keep.
        metrics: The metrics of this process.
    """

    def __init__(self, engine: Engine, writer: Writer, retention: Retention, metrics: Metrics) -> None:
        self._engine = engine
        self._writer = writer
        self._retention = retention
        embedded = engine if isinstance(engine, EmbeddedEngine) else None
        self._backups = Backups(embedded, writer) if embedded else None
        self._pruning = Pruning(engine, writer, retention, embedded.directory if embedded else None, metrics)
        self._erasing = Erasing(engine, writer)
        self._one_at_a_time = threading.Lock()
        self._stop = threading.Event()
        if embedded:
            metrics.cold_bytes.set_function(lambda: (self._cold_told() or {"bytes": 0})["bytes"])
            metrics.disk_free.set_function(lambda: disk.free if (disk := self._pruning.disk()) else 0)

    def backup(self) -> Generator[bytes]:
        """A copy of the store as a tar file, piece by piece; see `backup.py`.

        Raises:
            RequestError: The store is a server, which has its own way.
            Conflict: Another copy is being made.
            StoreError: The engine or the disk refuses.
        """
        if self._backups is None:
            raise RequestError("the store is a ClickHouse server, which copies itself: keytrail backup disk:NAME/PATH")
        return self._backups.make()

    def verify(self) -> Verified:
        """Hold the store against its ledger; see `verify.py`.

        Raises:
            StoreError: The engine can't.
        """
        return verify(self._engine, self._writer)

    def to_prune(self) -> list[Step]:
        """What there is to take away now.

        Raises:
            StoreError: The engine can't tell.
        """
        return self._pruning.plan(datetime.now(UTC))

    def prune(self) -> list[Step]:
        """Take away what is not to be kept; see `retention.py`.

        Raises:
            StoreError: The engine refuses.
        """
        with self._one_at_a_time:
            return self._pruning.run(datetime.now(UTC), go_on=lambda: not self._stop.is_set())

    def subjects_of(self, kind: str, values: Sequence[str], org: str) -> list[Subject]:
        """Whom somebody means.

        Args:
            kind: `key`, `ip` or `consumer`.
            values: The forms in which the key may be stored; else one value.
            org: The only organisation; "" for all.

        Raises:
            NotFound: There is no such consumer.
        """
        if kind == "consumer":
            return self._erasing.subjects_of(values[0], org)
        return [Subject(kind, value, org) for value in values]

    def erase(self, subjects: Sequence[Subject], *, keep_counts: bool) -> Receipt:
        """Erase somebody; see `erasing.py`.

        Args:
            subjects: Whom.
            keep_counts: Keep the records for their counts, without what says whose they are.

        Raises:
            StoreError: The engine refuses; the same again does the rest.
        """
        with self._one_at_a_time:
            return self._erasing.erase(subjects, keep_counts=keep_counts)

    def drop_rejected_lines_with(self, texts: Sequence[bytes]) -> int:
        """Take the lines with some texts out of the files of lines that could not be imported; how many.

        Raises:
            StoreError: A file can't be written.
        """
        if not isinstance(self._engine, EmbeddedEngine):
            return 0
        return drop_lines_with(self._engine.directory / "rejects", texts)

    def is_erased(self, kind: str, value: str, org: str) -> bool:
        """Whether a value of an organisation was erased for all time."""
        return self._writer.erased.is_erased(kind, value, org)

    def erase_again(self, those: Sequence[Remembered]) -> Receipt:
        """Carry out an erasure of another store here; see `erasing.py`.

        Raises:
            StoreError: The engine refuses; the same again does the rest.
        """
        with self._one_at_a_time:
            return self._erasing.again(those)

    def troubles(self) -> list[str]:
        """Why it can't keep what it should; empty if it can."""
        unset = [COLD_UNSET] if isinstance(self._engine.cold, Nowhere) else []
        return unset + ([why] if (why := self._pruning.short_of_room()) else [])

    def told(self) -> dict[str, Any]:
        """From when on what is kept, for how long, and the room on the disk."""
        disk = self._pruning.disk()
        since = {what: kept_since(self._engine, what) for what in (RAW_ROWS, ROLLUP_ROWS, RECORDED)}
        return {
            "kept_since": {what: shown_since(day) for what, day in since.items()},
            "retention": self._retention.model_dump(),
            "cold": self._cold_told(),
            "disk": {"free": disk.free, "total": disk.total} if disk else None,
            "troubles": self.troubles(),
        }

    def _cold_told(self) -> dict[str, Any] | None:
        """The cold days, their rows and bytes; None where there is no place for such."""
        if self._engine.cold is None:
            return None
        days = cold_days(self._engine)
        return {
            "days": len(days),
            "from": days[0].day.isoformat() if days else None,
            "rows": sum(one.rows for one in days),
            "bytes": sum(one.size for one in days),
        }

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Keep up in a thread until the block is left.

        Prune from time to time, at once when the disk is short of room; give freed memory back every minute.
        """
        self._stop.clear()
        thread = threading.Thread(target=self._keep_up, name="upkeep")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _keep_up(self) -> None:
        due = time.monotonic() + FIRST_PRUNE
        while not self._stop.wait(min(LOOK_EVERY, max(due - time.monotonic(), 0.0))):
            give_back()
            try:
                if time.monotonic() >= due or self.troubles():
                    self.prune()
                    due = time.monotonic() + PRUNE_EVERY
            except (StoreError, OSError) as error:
                log.error("pruning failed", error=str(error))
                due = time.monotonic() + LOOK_EVERY
            except Exception:
                # A fault of ours must not end pruning for good: the disk would fill in silence.
                log.exception("pruning failed")
                due = time.monotonic() + LOOK_EVERY
