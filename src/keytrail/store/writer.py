"""Write batches so that each counts exactly once, whatever was killed and whenever.

A chunk of a batch (its id and offset) goes in under a deduplication token, so a plain retry changes nothing. That is
not enough: the engine logs a token before the part is in place, and a kill in between makes the retry a silent loss.
So where there may have been an earlier attempt, the rows are compared afterwards, mended, and the rollups of the
touched months compared with the raw rows.

On a server other processes write too, so what compares or rebuilds takes a turn (`turns.py`), and every insert waits
for whoever has one. On a cluster a chunk goes in through the distributed table, each shard's part under the same token.
"""

import hashlib
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute

from keytrail.record import Reason, Rejected
from keytrail.store.client import Engine
from keytrail.store.cold import Nowhere
from keytrail.store.duplicates import Duplicate, note_duplicate
from keytrail.store.erased import Erased
from keytrail.store.rebuild import differing, mend_months, months_of_raw, rebuild_month
from keytrail.store.tables import BATCHES, RAW, REJECTS, ROLLUPS
from keytrail.store.turns import Turns

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
        phantom: A token was logged, but not exactly its rows were there.
        rebuilt: Months of rollups that had to be made again.
        erased: Places in the batch of records that were rejected, as those whose they were have been erased.
    """

    stored: int
    rejected: int
    duplicate: int
    phantom: bool = field(default=False, compare=False)
    rebuilt: int = field(default=0, compare=False)
    erased: tuple[int, ...] = field(default=(), compare=False)


class Writer:
    """The one way into the store.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.erased = Erased(engine)
        # The comparison of rollups with raw rows must not see half of another insert.
        self._one_at_a_time = threading.Lock()
        self._turns = Turns(engine)

    def seen(self, batch_id: str, offset: int) -> list[dict[str, Any]]:
        """What the table of batches says of a chunk: an empty list if it was never confirmed."""
        return self._engine.query(
            f"SELECT taken, stored, rejected, next FROM {BATCHES} "
            "WHERE batch_id = {batch:String} AND offset = {offset:UInt64} ORDER BY written_at",
            {"batch": batch_id, "offset": offset},
        ).dicts()

    def has_rows(self, chunk: Chunk) -> bool:
        """Whether any row stands in a chunk's place, as after an attempt that was killed before it was confirmed."""
        if not chunk.rows.num_rows:
            return False
        place, values = _place_of(chunk)
        return bool(self._engine.query(f"SELECT 1 FROM {RAW} WHERE {place} LIMIT 1", values).rows)

    def write(self, chunk: Chunk, *, token: str = "", record_token: Callable[[str], None] = lambda _: None) -> Written:
        """Store a chunk and confirm it.

        Args:
            chunk: The chunk; the same batch, offset and rows each time it is tried.
            token: A token that an earlier attempt has recorded instead of the usual one.
            record_token: Told of a token before the chunk is inserted under it instead of the usual one.

        Raises:
            StoreError: It could not be written; trying again with a higher `attempt` is safe.
        """
        with self._one_at_a_time:
            if any(row["taken"] == chunk.taken and row["next"] == chunk.next for row in self._repeats(chunk)):
                return self.duplicate(chunk)
            # Who has a turn may be erasing somebody, so who that is can be asked only afterwards.
            self._turns.wait()
            whole = chunk
            chunk, erased = self._without_erased(whole)
            token = token or f"{chunk.batch_id}:{chunk.offset}"
            phantom, rebuilt = False, 0
            # What was stored together with others went in under another token.
            if chunk.rows.num_rows and (chunk.attempt == 1 or self._stored(whole) != _places(chunk)):
                self._engine.insert(RAW, chunk.rows, token)
            if whole.rows.num_rows and chunk.attempt > 1:
                token, phantom = self._make_sure(chunk, whole, token, record_token)
                rebuilt = len(self._mend(_days(whole.rows)))
            if chunk.digests:
                self._engine.insert(REJECTS, _reject_rows(chunk), f"{token}:rejected")
            self._engine.insert(BATCHES, _ledger_row(chunk, token), f"{token}:confirmed")
            return Written(chunk.rows.num_rows, len(chunk.rejected) + len(erased), 0, phantom, rebuilt, tuple(erased))

    def write_together(self, chunks: Sequence[Chunk]) -> list[Written]:
        """Store chunks of several batches in one insert, each confirmed by itself.

        Args:
            chunks: Chunks that nobody can have tried to write before, without rejected records.

        Raises:
            StoreError: They could not be written; write each by itself, with a higher `attempt`.
        """
        with self._one_at_a_time:
            self._turns.wait()
            cleared = [self._without_erased(chunk) for chunk in chunks]
            chunks = [chunk for chunk, _ in cleared]
            names = "|".join(f"{chunk.batch_id}:{chunk.offset}" for chunk in chunks)
            token = f"together:{hashlib.sha256(names.encode()).hexdigest()}"
            rows = pa.concat_tables([chunk.rows for chunk in chunks]).unify_dictionaries().combine_chunks()
            if rows.num_rows:
                self._engine.insert(RAW, rows, token)
            ledger = pa.concat_tables([_ledger_row(chunk, token) for chunk in chunks]).combine_chunks()
            self._engine.insert(BATCHES, ledger, f"{token}:confirmed")
        return [Written(chunk.rows.num_rows, len(erased), 0, erased=tuple(erased)) for chunk, erased in cleared]

    def duplicate(self, chunk: Chunk) -> Written:
        """Note in the ledger that a chunk came again which is stored already; nothing of it is stored.

        Raises:
            StoreError: It could not be noted; the chunk must not be let go of.
        """
        note_duplicate(
            self._engine,
            Duplicate(
                chunk.batch_id, chunk.offset, chunk.source, chunk.origin, chunk.taken, chunk.attempt, chunk.sealed_at
            ),
        )
        return Written(0, 0, chunk.taken)

    def rebuild(self, months: Iterable[int], tables: Collection[str] = ()) -> list[str]:
        """Make rollups from the raw rows again; nothing is written meanwhile, and a kill leaves the old ones in place.

        Args:
            months: Months as YYYYMM; one without raw rows is left alone, as its rollups are all that there is of it.
            tables: Only these rollups; empty means all.

        Returns:
            What was rebuilt: `table month`.

        Raises:
            StoreError: It could not be done; what was rebuilt before stays.
        """
        rebuilt = []
        with self.paused():
            kept = set(months_of_raw(self._engine))
            for month in sorted(set(months) & kept):
                for rollup in ROLLUPS:
                    if not tables or rollup.table in tables:
                        rebuild_month(self._engine, rollup, month)
                        rebuilt.append(f"{rollup.table} {month}")
        return rebuilt

    def drift(self, months: Iterable[int], *, cold: Collection[date] | None = ()) -> list[str]:
        """Rollups that differ from the raw rows: `table month`.

        What seems to differ may be an insert under way, so that is looked at again while nothing is written.

        Args:
            months: Months as YYYYMM.
            cold: Cold days to compare, too, which reads their files; None for all.
        """
        suspects = [month for month in months if differing(self._engine, month, cold=cold)]
        if not suspects:
            return []
        with self.paused():
            return [f"{table} {month}" for month in suspects for table in differing(self._engine, month, cold=cold)]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is written meanwhile: raw rows, rollups and the table of batches agree."""
        with self._one_at_a_time, self._turns.hold():
            yield

    def _without_erased(self, chunk: Chunk) -> tuple[Chunk, list[int]]:
        """A chunk without those who were erased, and the places of their records in the batch."""
        rows, erased = self.erased.drop_erased(chunk.rows)
        return replace(chunk, rows=rows, erased=len(erased)), erased

    def _repeats(self, chunk: Chunk) -> list[dict[str, Any]]:
        return self.seen(chunk.batch_id, chunk.offset) if chunk.attempt > 1 else []

    def _mend(self, days: list[date]) -> list[str]:
        """Rebuild the rollups that differ from raw rows in the months of days; this process writes nothing meanwhile.

        Records may have come late, for a cold day: the files of these days are read, too.
        """
        months = sorted({day.year * 100 + day.month for day in days})
        cold = () if isinstance(self._engine.cold, Nowhere) else days
        if self._engine.layout.shared:
            # What seems to differ may be an insert of another process under way: only what still does takes a turn.
            months = [month for month in months if differing(self._engine, month)]
            if months:
                time.sleep(_UNDER_WAY)
            months = [month for month in months if differing(self._engine, month)]
        if not months:
            return []
        with self._turns.hold():
            return mend_months(self._engine, months, cold=cold)

    def _make_sure(
        self, chunk: Chunk, whole: Chunk, token: str, record_token: Callable[[str], None]
    ) -> tuple[str, bool]:
        """Look for the chunk's rows, and replace them if they are not exactly what they should be.

        As many rows are not enough: an insert has a part for each day, so two kills can leave one day twice and another
        not at all. They are looked for where those of the whole chunk are: an earlier attempt may have stored somebody
        who was erased after it.
        """
        expected = _places(chunk)
        stored = self._settled(whole, expected)
        if stored == expected:
            return token, False
        if stored:
            place, values = _place_of(whole)
            deletion = f"{self._engine.layout.alter(RAW)} DELETE WHERE {place} SETTINGS mutations_sync = 2"
            self._engine.command(deletion, values)
        if not chunk.rows.num_rows:
            return token, False
        token = f"{chunk.batch_id}:{chunk.offset}:{uuid.uuid4().hex}"
        record_token(token)
        self._engine.insert(RAW, chunk.rows, token)
        return token, True

    def _settled(self, chunk: Chunk, expected: list[int]) -> list[int]:
        """Which of the chunk's rows are there; on a cluster the replica that is asked may be a little behind."""
        deadline = time.monotonic() + (_REPLICAS_AGREE if self._engine.layout.cluster else 0)
        while (stored := self._stored(chunk)) != expected and time.monotonic() < deadline:
            time.sleep(_UNDER_WAY)
        return stored

    def _stored(self, chunk: Chunk) -> list[int]:
        """Places in the batch of the rows that stand where the chunk's do, in order, as often as they are there."""
        place, values = _place_of(chunk)
        found = self._engine.query(f"SELECT seq FROM {RAW} WHERE {place} ORDER BY seq", values)
        return [int(seq) for (seq,) in found.rows]


_UNDER_WAY: Final = 0.5
"""Seconds after which what was under way has mostly ended."""
_REPLICAS_AGREE: Final = 10.0
"""Seconds until a replica that is alive has what the others have."""

_PLACE: Final = (
    "batch_id = {batch:String} AND seq >= {first:UInt32} AND seq < {last:UInt32} "
    "AND time >= fromUnixTimestamp64Milli({oldest:Int64}, 'UTC') "
    "AND time <= fromUnixTimestamp64Milli({newest:Int64}, 'UTC')"
)


def _place_of(chunk: Chunk) -> tuple[str, Mapping[str, Any]]:
    """Condition that picks exactly the chunk's rows; the time bounds keep the engine from reading everything."""
    oldest, newest = _time_range(chunk.rows)
    return _PLACE, {
        "batch": chunk.batch_id,
        "first": chunk.offset,
        "last": chunk.offset + chunk.taken,
        "oldest": oldest,
        "newest": newest,
    }


def _places(chunk: Chunk) -> list[int]:
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


def _days(rows: pa.Table) -> list[date]:
    """The days of rows in UTC."""
    return sorted(pc.unique(rows.column("time").cast(pa.date32())).to_pylist())


_MILLIS: Final = pa.timestamp("ms", "UTC")


def _reject_rows(chunk: Chunk) -> pa.Table:
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
            "rejected_at": pa.array([now] * count, _MILLIS),
        }
    )


def _ledger_row(chunk: Chunk, token: str) -> pa.Table:
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
        "oldest": (oldest, _MILLIS),
        "newest": (newest, _MILLIS),
        "sealed_at": (chunk.sealed_at, _MILLIS),
        "written_at": (datetime.now(UTC), _MILLIS),
        "attempt": (chunk.attempt, pa.uint16()),
        "next": (chunk.next, pa.string()),
    }
    return pa.table({name: pa.array([value], kind) for name, (value, kind) in columns.items()})
