"""Changes of rows that are there. The engine goes on with one by itself when whoever asked for it was killed."""

import time
from typing import Final

from keytrail.errors import StoreAway
from keytrail.store.client import Engine

_PATIENCE: Final = 600.0
_LOOK_EVERY: Final = 0.5
_UNDER_WAY: Final = (
    "SELECT count() FROM {mutations} WHERE database = currentDatabase() AND table = {{table:String}} "
    "AND NOT is_done AND position(command, {{part:String}}) > 0"
)


def wait_for_mutations(engine: Engine, table: str, part: str = "", *, reachable: bool = False) -> None:
    """Return once no change of a table is under way.

    Args:
        engine: The engine.
        table: The table.
        part: Only changes whose statement has this text; "" for all.
        reachable: On a cluster, ask only the nodes that answer; else each has to.

    Raises:
        StoreAway: One takes too long.
    """
    sql = _UNDER_WAY.format(mutations=engine.layout.system_of_all("mutations"))
    deadline = time.monotonic() + _PATIENCE
    limits = {"skip_unavailable_shards": 1} if reachable and engine.layout.cluster else {}
    while engine.query(sql, {"table": engine.layout.local(table), "part": part}, limits).rows[0][0]:
        if time.monotonic() > deadline:
            raise StoreAway(f"an earlier change of {table} does not end for {_PATIENCE:.0f} s: see system.mutations")
        time.sleep(_LOOK_EVERY)
