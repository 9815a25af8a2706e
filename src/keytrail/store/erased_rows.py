"""How many rows an erasure took out of which batch, so that the ledger still adds up without them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from keytrail.store.client import Engine
from keytrail.store.erased import Remembered
from keytrail.store.kept import days_of
from keytrail.store.raw_rows import Bound, rows_of_days
from keytrail.store.surely import insert_surely
from keytrail.store.tables import BATCHES, ERASED_ROWS, RAW

HERE: Final = "_partition_id = {partition:String}"
"""The condition of the rows of a partition."""
EVERY_SHARD: Final = {"optimize_skip_unused_shards": 0}
"""Asks every shard: what stands where it does not belong has to go, too."""


@dataclass(frozen=True, slots=True)
class Held:
    """Rows of somebody in a batch.

    Attributes:
        batch_id: The batch.
        rows: The rows.
        confirmed: Those of them that the table of batches has.
    """

    batch_id: str
    rows: int
    confirmed: int


def count_of_partition(engine: Engine, partition: str, match: str, values: dict[str, Any]) -> list[Held]:
    """The rows of somebody in a partition of the raw table, but those that the file of a cold day has as well.

    A chunk that was killed before it was confirmed is tried again without somebody who was erased meanwhile, so the
    table of batches will never have these rows. That can be known where there is one process: on a server another one
    may be about to confirm its chunk, and all count as confirmed.

    Args:
        engine: The engine; nobody else may be writing.
        partition: The partition.
        match: The condition of the rows.
        values: Its bound values.

    Returns:
        What each batch has, in the order of their ids.
    """
    bound = Bound()
    # A day that was being moved when the process was killed is in both places, and counted in its file.
    in_table = rows_of_days(engine, *days_of(partition)).of_table(bound)
    theirs = f"SELECT batch_id, seq FROM {RAW} WHERE {HERE} AND {match} AND {in_table}"
    if engine.layout.shared:
        sql = f"SELECT batch_id, count(), count() FROM ({theirs}) AS theirs GROUP BY batch_id"
    else:
        # Chunks of a batch are confirmed in order.
        sql = (
            f"SELECT batch_id, count(), countIf(seq < end) FROM ({theirs}) AS theirs LEFT JOIN ("
            f"SELECT batch_id, max(offset + taken) AS end FROM {BATCHES} "
            f"WHERE batch_id IN (SELECT batch_id FROM ({theirs})) GROUP BY batch_id"
            ") AS ends USING batch_id GROUP BY batch_id"
        )
    found = engine.query(f"{sql} ORDER BY batch_id", {**values, **bound.values, "partition": partition}, EVERY_SHARD)
    return [Held(str(batch), int(rows), int(confirmed)) for batch, rows, confirmed in found.rows]


def note_erased_rows(engine: Engine, one: Remembered, place: str, counts: Sequence[tuple[str, int]]) -> None:
    """Note what is going to be taken out of batches; once, however often that is tried again after a kill.

    Args:
        engine: The engine.
        one: Who is erased.
        place: The partition or the file.
        counts: Batches, and the rows of each; the same each time that it is tried.
    """
    found = [(batch, rows) for batch, rows in counts if rows]
    if not found:
        return
    note = f"{one.digest}:{one.org}:{one.start}:{one.end}:{place}:{found}"
    # Not the id of the erasure, which is another when it is tried again.
    name = hashlib.sha256(note.encode()).hexdigest()
    rows = pa.table(
        {
            "erasure": [name] * len(found),
            "batch_id": [batch for batch, _ in found],
            "rows": pa.array([count for _, count in found], pa.uint64()),
        }
    )

    def missing() -> pa.Table:
        noted = engine.query(f"SELECT 1 FROM {ERASED_ROWS} WHERE erasure = {{name:String}} LIMIT 1", {"name": name})
        return rows.slice(0, 0) if noted.rows else rows

    insert_surely(engine, ERASED_ROWS, note, missing)
