"""A copy of a store on servers, which they make and put back themselves (ClickHouse's `BACKUP` and `RESTORE`).

Nobody stores meanwhile, so that raw rows, rollups and the ledger agree as of one moment. On a cluster every node writes
its part to the same place.
"""

import re
import time
import uuid
from typing import Final

from keytrail.errors import RequestError, StoreError
from keytrail.store.client import Engine
from keytrail.store.writer import Writer

_DISK: Final = re.compile(r"disk:(\w[\w.-]*)/(\S+)")
_BUCKET: Final = re.compile(r"https?://[^\s?#]+")
_LOOK_EVERY: Final = 0.2
_FAILED: Final = frozenset({"BACKUP_FAILED", "BACKUP_CANCELLED", "RESTORE_FAILED", "RESTORE_CANCELLED"})
_DONE: Final = frozenset({"BACKUP_CREATED", "RESTORED"})


def place_of(text: str) -> str:
    """A place as the servers call it, from `disk:NAME/PATH` or the address of a folder of an S3 bucket.

    Raises:
        RequestError: It is neither.
    """
    if found := _DISK.fullmatch(text):
        return f"Disk({_quoted(found[1])}, {_quoted(found[2])})"
    if _BUCKET.fullmatch(text):
        return f"S3({_quoted(text)})"
    raise RequestError(
        f"{text!r} is no place that ClickHouse servers can copy to: give disk:NAME/PATH, a disk that their setting "
        "backups.allowed_disk names, or the address of a folder of an S3 bucket, https://…"
    )


def back_up(engine: Engine, writer: Writer, place: str) -> None:
    """Copy the store; nothing is stored until that is done.

    Args:
        engine: The servers.
        writer: The way into the store.
        place: Where to; see `place_of`.

    Raises:
        StoreError: The servers refuse; with their reason.
    """
    database = _database(engine)
    with writer.paused():
        # Who had a turn when the copy was made has none in a store made from it.
        _run(engine, f"BACKUP DATABASE {database} EXCEPT TABLES turns{engine.layout.on_cluster} TO {place}")


def restore(engine: Engine, place: str) -> None:
    """Make the store from a copy of a database of the same name.

    Args:
        engine: The servers; the database is empty.
        place: Where the copy is; see `place_of`.

    Raises:
        StoreError: The database holds something already, or the servers refuse; with their reason.
    """
    database = _database(engine)
    if engine.query("SELECT count() FROM system.tables WHERE database = currentDatabase()").rows[0][0]:
        raise StoreError(f"database {database} holds a store already; restore into an empty one")
    _run(engine, f"RESTORE DATABASE {database}{engine.layout.on_cluster} FROM {place}")


def _database(engine: Engine) -> str:
    return str(engine.query("SELECT currentDatabase()").rows[0][0])


def _run(engine: Engine, statement: str) -> None:
    """Let the servers work in the background, as a connection may not last as long, and wait for all of them."""
    number = str(uuid.uuid4())
    engine.command(f"{statement} SETTINGS id = '{number}' ASYNC")
    seen = f"SELECT status, error FROM {engine.layout.system_of_all('backups')} WHERE id = {{id:String}}"
    while True:
        states = engine.query(seen, {"id": number}).rows
        for status, error in states:
            if status in _FAILED:
                raise StoreError(f"{statement.split(maxsplit=1)[0]}: {error or status}")
        if states and all(status in _DONE for status, _ in states):
            return
        time.sleep(_LOOK_EVERY)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
