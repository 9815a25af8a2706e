"""Put a partition of a table in the place of another's, whole or not at all, whenever the process is killed.

The engine puts the new parts in place and then takes the old ones away. Killed in between it would have both when it is
opened again, and every row twice. So the new partition has a table of its own with a name that says so: what is found
under such a name is put in place once more, before anything else is written.
"""

from typing import Final

from keytrail.store.client import Engine
from keytrail.store.kept import partitions

_SUFFIX: Final = "_replacing"


def replace_partition(engine: Engine, table: str, partition: str, spare: str) -> None:
    """Replace a partition by that of a spare table, which is dropped; on one engine, not on a cluster.

    Args:
        engine: The engine; nobody else may be writing.
        table: The table.
        partition: Name of the partition for the engine.
        spare: A table like it, which has this partition only.

    Raises:
        StoreError: The engine refused; the old partition stays.
    """
    replacing = spare
    if not engine.layout.shared:
        # On a server others may have written by the time that somebody finds it.
        replacing = f"{table}{_SUFFIX}"
        engine.command(f"DROP TABLE IF EXISTS {replacing} SYNC")
        engine.command(f"RENAME TABLE {spare} TO {replacing}")
    try:
        engine.command(f"ALTER TABLE {table} REPLACE PARTITION ID '{partition}' FROM {replacing}")
    finally:
        # Also where it failed: what is written from now on must not be replaced at the next start.
        engine.command(f"DROP TABLE {replacing} SYNC")


def finish_replacing(engine: Engine) -> None:
    """Do again what a killed process may have done by half; before anything is written.

    Raises:
        StoreError: The engine refused.
    """
    if engine.layout.shared:
        return
    found = engine.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND endsWith(name, {suffix:String})",
        {"suffix": _SUFFIX},
    )
    for (replacing,) in found.rows:
        table = str(replacing).removesuffix(_SUFFIX)
        for one in partitions(engine, str(replacing)):
            engine.command(f"ALTER TABLE {table} REPLACE PARTITION ID '{one.id}' FROM {replacing}")
        engine.command(f"DROP TABLE {replacing} SYNC")
