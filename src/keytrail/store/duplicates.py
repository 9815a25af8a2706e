"""What came again though it was stored: a chunk that was taken once more after a kill, a body that was sent again.

Such records are not stored again, and the ledger says so: of all that was taken, each record is stored, rejected or a
duplicate. They have a table of their own, as nothing in here may make a chunk known that the table of batches lacks.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from keytrail.record import Kind
from keytrail.store.client import Engine
from keytrail.store.tables import DUPLICATES


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A chunk that was found stored.

    Attributes:
        batch_id: The batch.
        offset: The chunk's place in it.
        source: Kind of source: `redis`, `file` or `http`.
        origin: The list or the file, or whoever sent it.
        records: Its records.
        attempt: Which attempt found it.
        sealed_at: When the source was frozen, or the body came.
    """

    batch_id: str
    offset: int
    source: str
    origin: str
    records: int
    attempt: int
    sealed_at: datetime


def note_duplicate(engine: Engine, found: Duplicate) -> None:
    """Keep it in the ledger, before the chunk is let go of.

    Raises:
        StoreError: It could not be kept: the chunk must not be let go of.
    """
    columns: dict[str, tuple[Any, pa.DataType]] = {
        "batch_id": (found.batch_id, pa.string()),
        "offset": (found.offset, pa.uint64()),
        "source": (found.source, pa.string()),
        "origin": (found.origin, pa.string()),
        "records": (found.records, pa.uint32()),
        "attempt": (found.attempt, pa.uint16()),
        "sealed_at": (found.sealed_at, Kind.INSTANT.arrow),
        "found_at": (datetime.now(UTC), Kind.INSTANT.arrow),
    }
    row = pa.table({name: pa.array([value], kind) for name, (value, kind) in columns.items()})
    # Each time counts; the token only tells them from the driver's own retries.
    engine.insert(DUPLICATES, row, f"{found.batch_id}:{found.offset}:duplicate:{uuid.uuid4().hex}")
