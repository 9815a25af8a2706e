"""One process at a time: what others that write to the same server must not do, or not see half done, meanwhile.

The embedded engine has one process and needs nothing of this. On a server the processes know of each other only by
the store, which has no locks. So whoever wants a turn says so in a table, waits until everybody must have seen it, and
goes on if nobody asked before. A turn ends by itself if its process dies, and everybody's clock is a server's.
"""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Final

import structlog

from keytrail.errors import StoreAway, StoreError
from keytrail.store.client import Engine

log = structlog.get_logger("keytrail.store")

SETTLE: Final = 2.0
"""Seconds until everybody sees that somebody asks for a turn: more than the servers' clocks differ and replicas lag."""
_LASTS: Final = 60
_RENEW_EVERY: Final = 20.0
_LOOK_EVERY: Final = 0.2
_PATIENCE: Final = 600.0

_TABLE: Final = """CREATE TABLE turns (
    owner String,
    asked_at DateTime64(3, 'UTC'),
    until DateTime64(3, 'UTC'),
    ended Bool
)
ENGINE = MergeTree
ORDER BY owner
TTL toDateTime(until) + INTERVAL 1 DAY"""

_ASK: Final = (
    "INSERT INTO turns SELECT {owner:String}, now64(3), now64(3) + INTERVAL {seconds:UInt32} SECOND, {ended:Bool}"
)
_OPEN: Final = (
    "SELECT owner FROM turns GROUP BY owner HAVING max(until) > now64(3) AND NOT max(ended) "
    "ORDER BY min(asked_at), owner"
)


class Turns:
    """The turns of one process; does nothing where the process has the store alone.

    Args:
        engine: The engine.
        patience: Seconds to wait for others.
    """

    def __init__(self, engine: Engine, *, patience: float = _PATIENCE) -> None:
        self._engine = engine
        self._patience = patience
        self._made = not engine.layout.shared

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Nobody else has a turn in the block, and nobody writes records: what they had begun has ended.

        Raises:
            StoreAway: Others took too long.
            StoreError: The engine refused.
        """
        if not self._engine.layout.shared:
            yield
            return
        owner, stop = self._ask_in_time(), threading.Event()
        renewing = threading.Thread(target=self._renew, args=(owner, stop), name="turn", daemon=True)
        renewing.start()
        try:
            time.sleep(SETTLE)
            self._until(lambda: self._open()[:1] == [owner], "another process does what only one may do")
            self._until(lambda: not self._inserting(), "an insert does not end")
            yield
        finally:
            stop.set()
            renewing.join()
            with contextlib.suppress(StoreError):
                # Else it ends by its time.
                self._ask(owner, ended=True)

    def wait(self) -> None:
        """Return as soon as nobody has a turn.

        Raises:
            StoreAway: Somebody has it for too long.
            StoreError: The engine refused.
        """
        if self._engine.layout.shared:
            self._until(lambda: not self._open(), "another process does what nobody may write beside")

    def _make(self) -> None:
        if not self._made:
            for statement in self._engine.layout.over(_TABLE):
                self._engine.command(statement)
            self._made = True

    def _ask_in_time(self) -> str:
        """Ask, and ask anew where that took long: others may have looked before they could see it."""
        deadline = time.monotonic() + self._patience
        while True:
            owner, began = uuid.uuid4().hex, time.monotonic()
            self._ask(owner)
            if time.monotonic() - began <= SETTLE / 2:
                return owner
            self._ask(owner, ended=True)
            if time.monotonic() > deadline:
                raise StoreAway(f"the server is too slow to agree on who has a turn, for {self._patience:.0f} s")

    def _ask(self, owner: str, *, ended: bool = False) -> None:
        self._make()
        self._engine.command(_ASK, {"owner": owner, "seconds": _LASTS, "ended": ended})

    def _open(self) -> list[str]:
        self._make()
        return [str(owner) for (owner,) in self._engine.query(_OPEN).rows]

    def _inserting(self) -> bool:
        """Whether any insert of records runs on any node."""
        found = self._engine.query(
            f"SELECT count() FROM {self._engine.layout.system_of_all('processes')} WHERE query_kind = 'Insert' "
            "AND current_database = currentDatabase() AND NOT startsWith(query, 'INSERT INTO turns')"
        )
        return bool(found.rows[0][0])

    def _renew(self, owner: str, stop: threading.Event) -> None:
        while not stop.wait(_RENEW_EVERY):
            try:
                self._ask(owner)
            except StoreError as error:
                log.warning("a turn could not be renewed", error=str(error))

    def _until(self, true: Callable[[], bool], why: str) -> None:
        deadline = time.monotonic() + self._patience
        while not true():
            if time.monotonic() > deadline:
                raise StoreAway(f"{why} for {self._patience:.0f} s")
            time.sleep(_LOOK_EVERY)
