"""What keeps a store sound: copies of it, and holding it against its ledger."""

from collections.abc import Generator

from keytrail.errors import RequestError
from keytrail.store.backup import Backups
from keytrail.store.client import EmbeddedEngine, Engine
from keytrail.store.verify import Verified, verify
from keytrail.store.writer import Writer


class Upkeep:
    """The upkeep of one store, in the process that writes to it.

    Args:
        engine: Its engine.
        writer: The way into it.
    """

    def __init__(self, engine: Engine, writer: Writer) -> None:
        self._engine = engine
        self._writer = writer
        self._backups = Backups(engine, writer) if isinstance(engine, EmbeddedEngine) else None

    def backup(self) -> Generator[bytes]:
        """A copy of the store as a tar file, piece by piece; see `backup.py`.

        Raises:
            RequestError: The store is a server, which has its own way.
            Conflict: Another copy is being made.
            StoreError: The engine or the disk refuses.
        """
        if self._backups is None:
            raise RequestError("the store is a ClickHouse server: back it up there")
        return self._backups.make()

    def verify(self) -> Verified:
        """Hold the store against its ledger; see `verify.py`.

        Raises:
            StoreError: The engine can't.
        """
        return verify(self._engine, self._writer)
