"""Insert what must be there once, and be sure that it is, where an earlier attempt may have been killed.

The engine logs a token before it puts the rows in place, so a kill in between makes it take no second insert under that
token, though nothing is there. On a cluster Keeper has both at once.
"""

import uuid
from collections.abc import Callable

import pyarrow as pa

from keytrail.store.client import Engine


def insert_surely(engine: Engine, table: str, token: str, missing: Callable[[], pa.Table]) -> None:
    """Insert what is missing, and look whether it came to be there.

    Args:
        engine: The engine.
        table: The table.
        token: The name under which an earlier attempt may have inserted the same.
        missing: Looks for what is not there yet.

    Raises:
        StoreError: It could not be inserted.
    """
    fresh = () if engine.layout.cluster else (f"{token}:{uuid.uuid4().hex}",)
    for name in (token, *fresh):
        rows = missing()
        if not rows.num_rows:
            return
        engine.insert(table, rows, name)
