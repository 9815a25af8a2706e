"""A chunk of a batch, what became of it, where its rows stand, and what the ledger says of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute

from keytrail.record import Kind, Reason, Rejected

# Its stubs know only some of its functions, and those too narrowly.
pc: Any = pyarrow.compute


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of one insert, with their place in their batch.

    Attributes:
        batch_id: The batch.
        offset: Place of its first record in the batch.
        taken: Records that were looked at: rows and rejected together.
        rows: The rows, with every column of the raw table.
        rejected: What became no row.
        source: Kind of source: `redis`, `file` or `http`.
        origin: The list or the file.
        attempt: 1 if nobody can have tried to write it before.
        sealed_at: When the source was frozen.
        next: What a source needs to find the chunk after this one.
        digests: SHA-256 of the bytes of each rejected record, in the order of `rejected`; empty where a file keeps
            them.
        erased: Records that are in neither, as those whose they were have been erased; the writer sets it.
    """

    batch_id: str
    offset: int
    taken: int
    rows: pa.Table
    rejected: Sequence[Rejected]
    source: str
    origin: str
    attempt: int
    sealed_at: datetime
    next: str = ""
    digests: Sequence[str] = ()
    erased: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a chunk: the records that were taken are the sum of the first three.

    Attributes:
        stored: Records that are rows now.
        rejected: Records that became none.
        duplicate: Records of a chunk that was confirmed before.
        phantom: A token was logged, but not all of its rows were there.
        rebuilt: Months of rollups that had to be made again.
        erased: Places in the batch of records that were rejected, as those whose they were have been erased.
    """

    stored: int
    rejected: int
    duplicate: int
    phantom: bool = field(default=False, compare=False)
    rebuilt: int = field(default=0, compare=False)
    erased: tuple[int, ...] = field(default=(), compare=False)


_PLACE: Final = (
    "batch_id = {batch:String} AND seq >= {first:UInt32} AND seq < {last:UInt32} "
    "AND time >= fromUnixTimestamp64Milli({oldest:Int64}, 'UTC') "
    "AND time <= fromUnixTimestamp64Milli({newest:Int64}, 'UTC')"
)


def place_of(chunk: Chunk) -> tuple[str, Mapping[str, Any]]:
    """Condition that picks exactly the chunk's rows; the time bounds keep the engine from reading everything."""
    oldest, newest = _time_range(chunk.rows)
    return _PLACE, {
        "batch": chunk.batch_id,
        "first": chunk.offset,
        "last": chunk.offset + chunk.taken,
        "oldest": oldest,
        "newest": newest,
    }


def places(chunk: Chunk) -> list[int]:
    """Places in the batch of a chunk's rows, in order."""
    places: Any = chunk.rows.column("seq").to_pylist()
    return sorted(places)


def _counts(rows: pa.Table, column: str) -> dict[str, int]:
    """How often each value stands in a column."""
    return {item["values"]: item["counts"] for item in pc.value_counts(rows.column(column)).to_pylist()}


def _time_range(rows: pa.Table) -> tuple[int, int]:
    """Least and greatest instant of rows, in ms since the epoch."""
    ends = pc.min_max(rows.column("time").cast(pa.int64())).as_py()
    return ends["min"], ends["max"]


def utc_days(rows: pa.Table) -> list[date]:
    """The days of rows in UTC."""
    return sorted(pc.unique(rows.column("time").cast(pa.date32())).to_pylist())


def reject_rows(chunk: Chunk) -> pa.Table:
    """What the store keeps of the rejected records of a chunk."""
    count, now = len(chunk.rejected), datetime.now(UTC)
    return pa.table(
        {
            "batch_id": [chunk.batch_id] * count,
            "seq": pa.array([chunk.offset + item.index for item in chunk.rejected], pa.uint32()),
            "source": [chunk.source] * count,
            "list": [chunk.origin] * count,
            "reason": [item.reason.value for item in chunk.rejected],
            "detail": [item.detail for item in chunk.rejected],
            "digest": list(chunk.digests),
            "rejected_at": pa.array([now] * count, Kind.INSTANT.arrow),
        }
    )


def ledger_row(chunk: Chunk, token: str) -> pa.Table:
    """What the table of batches says of a chunk that went in under a token."""
    oldest, newest = _time_range(chunk.rows) if chunk.rows.num_rows else (0, 0)
    reasons = Counter(item.reason.value for item in chunk.rejected)
    if chunk.erased:
        reasons[Reason.ERASED.value] += chunk.erased
    orgs = _counts(chunk.rows, "org_id")
    counts = pa.map_(pa.string(), pa.uint32())
    columns: dict[str, tuple[Any, pa.DataType]] = {
        "batch_id": (chunk.batch_id, pa.string()),
        "offset": (chunk.offset, pa.uint64()),
        "source": (chunk.source, pa.string()),
        "origin": (chunk.origin, pa.string()),
        "token": (token, pa.string()),
        "taken": (chunk.taken, pa.uint32()),
        "stored": (chunk.rows.num_rows, pa.uint32()),
        "rejected": (len(chunk.rejected) + chunk.erased, pa.uint32()),
        "reasons": (list(reasons.items()), counts),
        "stored_by_org": (list(orgs.items()), counts),
        "oldest": (oldest, Kind.INSTANT.arrow),
        "newest": (newest, Kind.INSTANT.arrow),
        "sealed_at": (chunk.sealed_at, Kind.INSTANT.arrow),
        "written_at": (datetime.now(UTC), Kind.INSTANT.arrow),
        "attempt": (chunk.attempt, pa.uint16()),
        "next": (chunk.next, pa.string()),
    }
    return pa.table({name: pa.array([value], kind) for name, (value, kind) in columns.items()})
